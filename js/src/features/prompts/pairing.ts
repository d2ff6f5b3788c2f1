// Which source token goes into which base token when a tile is clicked: suggested, or said by hand.

import { signal } from "@preact/signals";
import type { App } from "../../app/app";
import { align, idsOf } from "../../domain/prompts";
import { tokensOf } from "../../domain/sources";
import { createWholeMap } from "../map/sweep";
import { createStory } from "../story/state";

/** Pairs by hand live as long as the prompts they are of, as they do in the kernel. */
export function createPairing(app: App) {
  const { scene } = app.use(createStory);
  const map = app.use(createWholeMap);
  /** By source: one source position per base token. */
  const hand = signal<ReadonlyMap<string, readonly number[]>>(new Map());
  let before = "";
  app.effect(() => {
    const now = scene.value;
    if (!now) return undefined;
    const prompts = JSON.stringify([now.base, now.sources].map((part) => JSON.stringify(part)));
    if (before !== "" && before !== prompts && hand.peek().size > 0) hand.value = new Map();
    before = prompts;
    return undefined;
  });

  function suggested(source: string): number[] {
    const now = scene.value;
    return now ? align(idsOf(now.base), idsOf(tokensOf(now.sources, source) ?? [])) : [];
  }

  function put(source: string, pairs: readonly number[] | null): void {
    const next = new Map(hand.peek());
    if (pairs) next.set(source, pairs);
    else next.delete(source);
    hand.value = next;
  }

  return {
    /** One source position per base token; the map's own where the map is of this source. */
    of(source: string): readonly number[] {
      const said = hand.value.get(source);
      if (said) return said;
      const {
        source: swept,
        source_positions: partners,
        positions,
        intervention,
      } = map.value ?? {};
      const isPaired = swept === source && intervention === "vanilla";
      const isWhole = isPaired && positions?.length === scene.value?.base.length;
      return (isWhole && partners) || suggested(source);
    },
    /** What a request for a sweep carries: null for the kernel's own suggestion. */
    byHand: (source: string | null): number[] | null => {
      const said = source === null ? undefined : hand.peek().get(source);
      return said ? [...said] : null;
    },
    isByHand: (source: string): boolean => hand.value.has(source),
    set(source: string, from: number, to: number): void {
      const pairs = [...this.of(source)];
      pairs[to] = from;
      put(source, String(pairs) === String(suggested(source)) ? null : pairs);
    },
    clear: (source: string): void => put(source, null),
  };
}
