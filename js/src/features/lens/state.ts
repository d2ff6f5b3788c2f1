// The logit lens on the map's tiles: which run it is of, what it reads there, and when it is asked for.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { reading } from "../../app/reading";
import { inPercent } from "../../domain/format";
import type { Tile } from "../../domain/geometry";
import type { LensGrid, LensRun, MetricInfo } from "../../kernel/wire";
import { createLecture } from "../lecture/state";
import { createMap } from "../map/state";
import { createSweep } from "../map/sweep";

/** Whose layers are read; `source` is the map's. */
export type LensOf = "base" | "source" | "patched";

export const LENSES: readonly LensOf[] = ["base", "source", "patched"];

const NOTHING = { targets: [], runs: [] } as unknown as LensGrid;

/** What a tile shows of a run. */
export interface Reading {
  label: string;
  probability: number;
  /** The base's best token at this tile, where it is another one. */
  other: string | null;
  /** All of it in words. */
  words: string;
  /** Where the tokens that are followed stand. */
  followed: string;
}

export function createLens(app: App) {
  const { kernel } = app;
  const lecture = app.use(createLecture);
  const sweep = app.use(createSweep);
  const map = app.use(createMap);
  const grid = kernel.trait<LensGrid>("lens");
  const wanted = signal<LensOf | null>(null);
  const nameOf = (one: LensOf | null) => (one === "source" ? sweep.choice.value.source : one);

  const isReadable = computed(() => sweep.choice.value.component === "block_output");
  const of = computed(() => (isReadable.value ? wanted.value : null));
  const targets = computed(() => {
    const { target, other } = map.aim.value;
    const ids = [target, other].map((index) => map.targets.value[index]?.token_id);
    return [...new Set(ids.filter((id) => id !== undefined))];
  });
  // Without a reading the tiles show their metric again, and the legend says why.
  const read = reading<LensGrid>(
    app,
    "lens",
    (isRead) => {
      if (!of.value) return null;
      const [ids, { targets: held, runs: read }] = [targets.value, grid.value ?? NOTHING];
      const has =
        isRead(of.value === "patched") && read.some(({ name }) => name === nameOf(of.value));
      const known = held.map(({ token_id }) => token_id);
      return has && ids.every((id) => known.includes(id)) ? null : { kind: "lens", targets: ids };
    },
    () => {
      wanted.value = null;
    },
  );
  const { note } = read;
  const runOf = (one: LensOf | null): LensRun | undefined =>
    read.plain.value && one ? grid.value?.runs.find(({ name }) => name === nameOf(one)) : undefined;
  /** Whether what is there of a run is of the experiment on the screen, and of its model. */
  const isNew = (one: LensOf) => runOf(one) !== undefined && read.isNew(one === "patched");
  const isOld = computed(() => of.value !== null && !isNew(of.value));

  return {
    /** The run on the tiles; null while they show a metric. */
    of,
    isReadable,
    isOld,
    note,
    /** Whether there is something to show, now or soon. */
    has: (one: LensOf) => (kernel.offline ? isNew(one) : one !== "source" || hasSource()),
    /** Puts a run on the tiles; null: the metric. */
    show(one: LensOf | null): void {
      read.again();
      wanted.value = one;
    },
    /** What is read at a tile; null where nothing is, or a lecture covers it. */
    at({ row, column: position }: Tile): Reading | null {
      const one = of.value;
      const run = runOf(one);
      const { tokens, targets: followed, layers } = grid.value ?? {};
      const isCovered = lecture.isOn.value && (lecture.isCovered.value || !lecture.isMapOpen.value);
      if (!one || !run || !tokens || !layers || isCovered) return null;
      const layer = layers.indexOf(row);
      const place =
        one === "source" ? sweep.place({ row, column: position }).source_position : position;
      const index = layer * run.length + place;
      const base = runOf("base");
      const [mine, its] = [run.best[index], base?.best[layer * base.length + position]];
      const label = tokens[mine ?? -1]?.label;
      const probability = run.probabilities[index];
      if (layer < 0 || place >= run.length || label === undefined || probability === undefined)
        return null;
      const other = its === mine ? null : (tokens[its ?? -1]?.label ?? null);
      return {
        label,
        probability,
        other,
        words: `lens of ${one}: ${label} ${inPercent(probability)}${other === null ? "" : `, base: ${other}`}`,
        followed: (followed ?? [])
          .filter(({ token_id }) => targets.value.includes(token_id))
          .map(({ token_id, label: name }) => {
            const n = followed?.findIndex((two) => two.token_id === token_id) ?? -1;
            return `${name} has rank ${run.ranks[n]?.[index]}, ${inPercent(run.shares[n]?.[index] ?? 0)}`;
          })
          .join("; "),
      };
    },
    /** What the colours mean: the metric of probabilities, of another token at each tile. */
    metric: computed<MetricInfo | null>(() => {
      const found = map.metrics.value.find(({ name }) => name === "probability");
      return found
        ? {
            ...found,
            title: "P(best token)",
            formula: "P(best token), if the state after the block were the last block's output",
            about: "The logit lens: read by the model's own final norm and head.",
            of_target: false,
          }
        : null;
    }),
  };

  function hasSource(): boolean {
    return sweep.choice.value.source !== null;
  }
}
