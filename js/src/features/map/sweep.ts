// Which map is shown: of which component, head, operator and source, and what a tile stands for.

import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import {
  hasSamePrompts,
  isAt,
  type Place,
  positionsOf,
  type Slot,
  sourcePositionsOf,
} from "../../domain/experiments";
import type { Tile } from "../../domain/geometry";
import { isHeld, isMapOf } from "../../domain/held";
import { kindOf, targetOf } from "../../domain/operators";
import { axesOf, keyOfMap, tileOf } from "../../domain/preview";
import { namesOf, tokensOf } from "../../domain/sources";
import type { Map as Sweep } from "../../kernel/wire";
import { createNotices } from "../notices/state";
import { createPairing } from "../prompts/pairing";
import { createStory } from "../story/state";

export type SweepChoice = Pick<
  Sweep,
  "component" | "head" | "layer" | "position" | "source" | "intervention"
>;

/** The map of the prompts and held slots on the screen; a story's own until the kernel's is complete. */
export function createWholeMap(app: App) {
  const swept = app.kernel.trait<Sweep>("map");
  const { now, settled, promptsSince } = app.use(createExperiment);
  const story = app.use(createStory);
  return computed(() => {
    const value = swept.value;
    const [asked, got] = [now.value, settled.value];
    const ofStory = story.map.value;
    if (!value || !asked || !got || !hasSamePrompts(asked, got) || !isMapOf(value, asked))
      return ofStory;
    if (value.revision < promptsSince.value) return ofStory;
    return ofStory && value.done < value.total && isSameSweep(value, ofStory) ? ofStory : value;
  });
}

export function createSweep(app: App) {
  const swept = app.kernel.trait<Sweep>("map");
  const experiment = app.use(createExperiment);
  const map = app.use(createWholeMap);
  const pairing = app.use(createPairing);
  const notices = app.use(createNotices);
  /** What was asked for and has not come yet. */
  const wanted = signal<SweepChoice | null>(null);

  /** A choice that the experiment's sources allow. */
  function allowed(chosen: Partial<SweepChoice> | null): SweepChoice {
    const sources = namesOf(experiment.now.value?.sources ?? []);
    const {
      component = "block_output",
      head = null,
      layer = null,
      position = null,
      intervention = sources.length > 0 ? "vanilla" : "zero",
      source: wish,
    } = chosen ?? {};
    const source = sources.find((name) => name === wish) ?? sources[0] ?? null;
    return { component, head, layer, position, intervention, source };
  }
  /** Of the map on the screen; `choice` may be ahead of it. */
  const shown = computed(() => allowed(map.value ?? swept.value));
  const choice = computed(() => (wanted.value ? allowed(wanted.value) : shown.value));

  app.effect(() => {
    const [got, asked] = [swept.value, wanted.peek()];
    if (got && asked && isSameSweep(got, asked)) wanted.value = null;
    return undefined;
  });

  /** The source position that is paired with one of the base. */
  function partner(position: number): number {
    const { source } = choice.value;
    return (source === null ? undefined : pairing.of(source)[position]) ?? position;
  }

  /** Slots at a tile, by index: those that act on the base's run there. */
  function slotsAt(tile: Tile): number[] {
    const now = experiment.now.value;
    const here = place(tile);
    return (now?.slots ?? []).flatMap((slot, i) =>
      now && isAt(slot, here) && targetOf(now, slot, experiment.kinds.value) === null ? [i] : [],
    );
  }

  /** What a tile stands for. */
  function place({ row, column }: Tile): Place {
    const { component, source, intervention } = shown.value;
    const now = experiment.now.value;
    const axes = axesOf(shown.value);
    const at = { ...shown.value, [axes.rows]: row, [axes.columns]: column };
    const [layer, position] = [at.layer ?? 0, at.position ?? 0];
    const head = at.head === "all" ? 0 : at.head;
    const read = map.value?.source_positions[map.value.positions.indexOf(position)];
    return {
      ...{ component, layer, head, position, intervention },
      source: intervention === "vanilla" ? source : null,
      source_position: intervention === "vanilla" || read === undefined ? partner(position) : read,
      prompts:
        now && intervention === "mean"
          ? [now.base, ...now.sources.map(([, prompt]) => prompt)]
          : [],
    };
  }

  return {
    choice,
    partner,
    place,
    /** The tiles of a slot's positions, whatever else it is. */
    tilesOf: (slot: Slot): Tile[] => {
      const [axes, { position: only }] = [axesOf(shown.value), shown.value];
      return positionsOf(slot)
        .filter((position) => only === null || position === only)
        .map((position) => tileOf({ ...slot, position }, axes));
    },
    /** Whether the map on the screen is of an older state of the model. */
    isOld: computed(
      () =>
        map.value !== null &&
        map.value.revision > 0 &&
        map.value.revision < experiment.modelSince.value,
    ),
    slotsAt,
    /** What a slot reads at a tile where the map reads another token, in words; else null. */
    otherPair(tile: Tile): string | null {
      const { position, source, source_position: mapped } = place(tile);
      const slots = experiment.now.value?.slots ?? [];
      const index = slotsAt(tile).find((i) => slots[i] && !isHeld(slots[i])) ?? -1;
      const slot = slots[index];
      const tokens = tokensOf(app.use(createStory).scene.value?.sources ?? [], source);
      if (!slot || !tokens || !kindOf(experiment.kinds.value, slot.intervention)?.needs_source)
        return null;
      const read = sourcePositionsOf(slot)[positionsOf(slot).indexOf(position)] ?? mapped;
      const name = (at: number) => `${at} ${tokens[at]?.label}`;
      return read === mapped
        ? null
        : `Slot ${index} reads ${name(read)} here, the map ${name(mapped)}.`;
    },
    /** Why a saved page cannot show a map; null where it can. */
    refusal: (next: SweepChoice) => app.kernel.refusal({ kind: "sweep", ...next }),
    async choose(next: SweepChoice): Promise<void> {
      wanted.value = next;
      const source_positions = pairing.byHand(next.source);
      try {
        // Without a source the kernel zeroes by itself, and copies again once there is one.
        const isSaid = next.source !== null || next.intervention !== "zero";
        const intervention = isSaid ? next.intervention : "vanilla";
        await app.kernel.request({ kind: "sweep", ...next, intervention, source_positions });
      } catch (error) {
        notices.refuse((error as Error).message);
        if (wanted.peek() === next) wanted.value = null;
      }
    },
  };
}

function isSameSweep(a: SweepChoice, b: SweepChoice): boolean {
  return keyOfMap(a) === keyOfMap(b);
}
