// A data set of pairs: its map of means, the tile whose pairs are listed, the pair that was opened.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { isSame, type Plain } from "../../domain/experiments";
import { keyOfTile, type Tile } from "../../domain/geometry";
import { limitOf } from "../../domain/metrics";
import type { DataPair, DataProgress, DataSet, DataTile, MetricInfo } from "../../kernel/wire";
import { createNotices } from "../notices/state";

/** One pair behind a tile. */
export interface Drawn {
  pair: DataPair;
  value: number;
}

/** Means this near to the largest are shown first; of several the one in the lowest layer. */
const NEAR = 0.9;

export function createDataSet(app: App) {
  const { kernel } = app;
  const set = kernel.trait<DataSet>("data_set");
  const { settled } = app.use(createExperiment);
  const notices = app.use(createNotices);
  /** Whether a pair, or any other experiment, is on the screen instead. */
  const isLeft = signal(false);
  const picked = signal<Tile | null>(null);
  const hover = signal<Tile | null>(null);
  const head = signal<number | null>(null);
  /** Number of the pair that was opened last. */
  const pair = signal<number | null>(null);

  /** As the map's own metrics: of these, no field that it lacks is read here. */
  const metric = computed(() => (set.value?.metric ?? null) as MetricInfo | null);
  /** With several heads at one place, columns are heads; else places, of one head at a time. */
  const isByHead = computed(
    () => set.value !== null && set.value.places.length === 1 && set.value.heads.length > 1,
  );
  const columns = computed(() =>
    isByHead.value ? (set.value?.heads ?? []).map((n) => `head ${n}`) : (set.value?.places ?? []),
  );
  const tiles = computed(() => {
    const { heads = [], tiles: all = [] } = set.value ?? {};
    const shown = heads.includes(head.value) ? head.value : (heads[0] ?? null);
    const mine = isByHead.value ? all : all.filter((tile) => tile.head === shown);
    return new Map(
      mine.map((tile) => [
        keyOfTile({
          row: tile.layer,
          column: isByHead.value ? heads.indexOf(tile.head) : tile.place,
        }),
        tile,
      ]),
    );
  });
  const at = (spot: Tile | null): DataTile | null =>
    (spot && tiles.value.get(keyOfTile(spot))) ?? null;

  const first = computed<Tile | null>(() => {
    const sizeOf = (tile: DataTile) => (tile.possible ? Math.abs(tile.mean ?? 0) : -1);
    const most = Math.max(0, ...[...tiles.value.values()].map(sizeOf));
    for (const [name, tile] of tiles.value)
      if (sizeOf(tile) >= NEAR * most && tile.possible) {
        const [row = 0, column = 0] = name.split(" ").map(Number);
        return { row, column };
      }
    return null;
  });
  const chosen = computed(() => picked.value ?? first.value);
  const tile = computed(() => at(chosen.value));

  /** On a saved page, which cannot run it, a pair is its values over the map. */
  const own = computed(() => {
    const index = set.value?.shown.findIndex(({ number }) => number === pair.value) ?? -1;
    return kernel.offline && index >= 0 ? index : null;
  });
  const shownIn = (one: DataTile): number | null =>
    own.value === null ? one.mean : (one.values[own.value] ?? null);

  /** The pairs behind the chosen tile, the furthest from the mean first. */
  const drawn = computed<Drawn[]>(() => {
    const { shown = [], spread = 0, ends = 0 } = set.value ?? {};
    const { values = [], mean } = tile.value ?? {};
    const all = shown.flatMap((one, n) => {
      const value = values[n];
      return value == null ? [] : [{ pair: one, value, isSpread: n < spread }];
    });
    all.sort((a, b) => a.value - b.value);
    // The others were sent because they are far out in another tile.
    const mine = all.filter((one, n) => one.isSpread || n < ends || n >= all.length - ends);
    const far = ({ value }: Drawn) => Math.abs(value - (mean ?? 0));
    return mine.sort((a, b) => far(b) - far(a) || a.pair.number - b.pair.number);
  });

  let before: Plain | null = null;
  app.effect(() => {
    const now = settled.value;
    // Another experiment, of this view, of Python or of another view.
    if (now && before && !isSame(now, before)) isLeft.value = true;
    before = now;
    return undefined;
  });

  return {
    set,
    progress: kernel.trait<DataProgress>("data_progress"),
    metric,
    isByHead,
    columns,
    head,
    hover,
    chosen,
    tile,
    at,
    drawn,
    pair,
    own,
    shownIn,
    limit: computed(() => {
      const values = [...tiles.value.values()].map((one) => shownIn(one) ?? 0);
      const most = Math.max(0, ...values.map(Math.abs));
      // A little over the source's run is no reason for a scale half as fine.
      if (set.value?.metric.name === "recovery" && most <= 1.1) return 1;
      return metric.value ? limitOf(metric.value, values) : 1;
    }),
    /** The lowest end of an interval, at most 0: where the tiles' bars of intervals begin. */
    tileLow: computed(() => Math.min(0, ...(set.value?.tiles ?? []).map((one) => one.low ?? 0))),
    isShown: computed(() => set.value !== null && !isLeft.value),
    /** How far the list was scrolled; a plain field, since nothing is drawn from it. */
    scroll: { top: 0 },
    choose(spot: Tile): void {
      picked.value = spot;
    },
    /** Puts a pair on the screen, with the slot of the chosen tile. */
    async open(number: number): Promise<void> {
      pair.value = number;
      const at = tile.peek();
      if (kernel.offline || !at) return;
      const { layer, place, head: of } = at;
      try {
        await kernel.request({ kind: "pair", number, layer, place, head: of });
        isLeft.value = true;
      } catch (error) {
        notices.refuse((error as Error).message);
      }
    },
    back(): void {
      batch(() => {
        isLeft.value = false;
        if (kernel.offline) pair.value = null;
      });
    },
  };
}
