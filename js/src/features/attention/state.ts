// Attention: which layer and head, what its patterns are, and which weights slots are on.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { reading } from "../../app/reading";
import { addEdge, edgeAt, removeSlot } from "../../domain/experiments";
import { tokensOf } from "../../domain/sources";
import type { AttentionGrid, TokenInfo } from "../../kernel/wire";
import { createDrawer } from "../drawer/state";
import { createSweep } from "../map/sweep";
import { createStory } from "../story/state";

/** One run of a layer. */
export interface Pattern {
  name: string;
  tokens: readonly TokenInfo[];
  length: number;
  /** Heads × queries × keys. */
  weights: number[];
  isOld: boolean;
}

export function createAttention(app: App) {
  const drawer = app.use(createDrawer);
  const { now, commit } = app.use(createExperiment);
  const { scene } = app.use(createStory);
  const { choice } = app.use(createSweep);
  const chosen = signal(0);
  const wished = signal(0);
  /** Whether a click copies a weight from the source; else it sets it to zero. */
  const isCopied = signal(false);
  const grid = app.kernel.trait<AttentionGrid>("attention");
  // A saved page has the layer that was read.
  const layer = computed(() => (app.kernel.offline ? (grid.value?.layer ?? 0) : chosen.value));
  const read = reading<AttentionGrid>(app, "attention", (isNew) =>
    drawer.tab.value !== "attention" || (grid.value?.layer === layer.value && isNew(true))
      ? null
      : { kind: "attention", layer: layer.value },
  );
  const { note } = read;
  const heads = computed(() => grid.value?.heads ?? 0);
  const head = computed(() => Math.min(wished.value, Math.max(0, heads.value - 1)));
  const source = computed(() => choice.value.source);

  const patterns = computed<Pattern[]>(() => {
    const held = grid.value;
    const shown = scene.value;
    if (!held || !shown || !read.plain.value || held.layer !== layer.value) return [];
    const runs: [string, string | null, readonly TokenInfo[], boolean][] = [
      ["base", "base", shown.base, !read.isNew(false)],
      [
        source.value ?? "",
        source.value,
        tokensOf(shown.sources, source.value) ?? [],
        !read.isNew(false),
      ],
      ["patched", "intervened", shown.base, !read.isNew(true)],
    ];
    return runs.flatMap(([name, key, tokens, isOld]) => {
      const run = held.runs.find((one) => one.name === key);
      return run ? [{ name, tokens, isOld, length: run.length, weights: run.weights }] : [];
    });
  });

  return {
    layer,
    head,
    heads,
    isCopied: computed(() => isCopied.value && source.value !== null),
    source,
    note,
    patterns,
    /** Whether what is shown is on its way. */
    isWaiting: computed(
      () => note.value === null && !(read.isNew(true) && grid.value?.layer === layer.value),
    ),
    chooseLayer(to: number): void {
      read.again();
      chosen.value = to;
    },
    chooseHead(to: number): void {
      wished.value = to;
    },
    copy(to: boolean): void {
      isCopied.value = to;
    },
    /** The slot on a weight of the head; -1 without one. */
    slotAt: (query: number, key: number): number =>
      now.value ? edgeAt(now.value, layer.value, head.value, query, key) : -1,
    /** Puts a slot on a weight, or takes it off. */
    toggle(query: number, key: number): void {
      const present = now.value;
      if (!present) return;
      const there = edgeAt(present, layer.value, head.value, query, key);
      const where = {
        layer: layer.value,
        head: head.value,
        position: query,
        source_position: key,
        source: isCopied.value ? source.value : null,
      };
      commit(there < 0 ? addEdge(present, where) : removeSlot(present, there));
    },
  };
}
