// The controls of the map: the same map where it should show nothing, and what of the real one they explain.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { type Control, measure } from "../../domain/controls";
import { keyOfTile, type Tile } from "../../domain/geometry";
import { changeText } from "../../domain/metrics";
import { axesOf, isOfMap, tileOf } from "../../domain/preview";
import type { MetricInfo, Placebo } from "../../kernel/wire";
import { createEstimate } from "../estimate/state";
import { createMap } from "../map/state";
import { createSweep, createWholeMap } from "../map/sweep";
import { createNotices } from "../notices/state";

/** What each control is, under its map. */
const SAYS: Record<string, string> = {
  random_source: "Any other words in place of the source’s.",
  shuffled_weights: "What a map looks like when the model knows nothing.",
  matched_noise: "Changes as large in random directions.",
};

/** A control as menus and labels say it. */
export const named = (control: string) => control.replace("_", " ");

const drawsOf = (count = 0) => (count === 1 ? "1 draw" : `${count} draws`);

export function createPlacebo(app: App) {
  const { kernel } = app;
  const written = kernel.trait<Placebo>("placebo");
  const whole = app.use(createWholeMap);
  const lens = app.use(createMap);
  const { isOld } = app.use(createSweep);
  const { kinds } = app.use(createExperiment);
  const notices = app.use(createNotices);
  const estimate = app.use(createEstimate);
  /** Which control is shown in place of the map, from 1; 0 is the map. */
  const at = signal(0);
  const isAsked = signal(false);

  /** What has been run of the map on the screen. */
  const found = computed(() =>
    isOfMap(written.value, whole.value) && !isOld.value ? written.value : null,
  );
  /** The controls that the map has, also before they have run. */
  const names = computed(() => {
    const kind = kinds.value.find(({ name }) => name === whole.value?.intervention);
    const first = kind?.needs_source === false ? "matched_noise" : "random_source";
    return found.value?.controls ?? [first, "shuffled_weights"];
  });
  const measured = computed(() => {
    const [got, map, metric] = [found.value, whole.value, lens.metric.value];
    return got && map && metric ? measure(got, map, metric, lens.aim.value) : null;
  });
  const shown = computed(() => (found.value && names.value[at.value - 1]) || null);
  const control = computed<Control | null>(
    () => measured.value?.find(({ name }) => name === shown.value) ?? null,
  );
  const isRunning = computed(() => isAsked.value || found.value?.share != null);
  const indices = computed(
    () =>
      new Map(
        (whole.value?.cells ?? []).map((cell, n) => [
          keyOfTile(tileOf(cell, axesOf(whole.value))),
          n,
        ]),
      ),
  );
  const indexOf = (tile: Tile) => indices.value.get(keyOfTile(tile)) ?? -1;

  const hasResult = computed(
    () => found.value !== null && !found.value.note && !isRunning.value && measured.value !== null,
  );

  // With the map, its controls go.
  app.effect(() => {
    if (!found.value && !isAsked.value) at.value = 0;
    return undefined;
  });

  async function run(): Promise<void> {
    isAsked.value = true;
    try {
      await kernel.request({ kind: "placebo" });
    } catch (error) {
      notices.refuse((error as Error).message);
    } finally {
      isAsked.value = false;
    }
  }

  function show(next: number): void {
    const isFirst = at.peek() === 0;
    at.value = next;
    estimate.isOn.value = false;
    if (next === 0 || isRunning.peek()) return;
    // Also anew for a token that the map did not have then, and after they were stopped.
    if (!found.peek() || !measured.peek() || (isFirst && found.peek()?.note)) void run();
  }

  return {
    found,
    indexOf,
    names,
    at,
    shown,
    isRunning,
    show,
    showEstimate(): void {
      show(0);
      estimate.isOn.value = true;
    },
    /** The map, then each control, then the map again. */
    next: (): void => show((at.peek() + 1) % (names.peek().length + 1)),
    /** Why a saved page cannot run them; null where it can, or holds them. */
    refusal: computed(() => (found.value ? null : kernel.refusal({ kind: "placebo" }))),
    /** The value of a tile in the control that is shown; undefined where the map is. */
    valueAt(tile: Tile): number | null | undefined {
      if (!shown.value) return undefined;
      return control.value?.shown[indexOf(tile)] ?? null;
    },
    /** All values of all controls, for a common scale. */
    values: computed(() => (measured.value ?? []).flatMap((one) => one.shown)),
    /** Whether a control explains a tile of the map; only said when all have run. */
    isWithin(tile: Tile): boolean {
      if (shown.value || !hasResult.value) return false;
      return (measured.value ?? []).some((one) => one.within[indexOf(tile)]);
    },
    hasResult,
    /** What the tiles of the control are, in a sentence. */
    says: computed(() => {
      if (!shown.value) return found.value?.note ?? null;
      if (!measured.value) return "The controls have not run with this token: choose them again.";
      const [first, ...more] = named(shown.value);
      return `${first?.toUpperCase()}${more.join("")}: largest change of ${drawsOf(control.value?.draws)}`;
    }),
    /** What the control is for. */
    about: computed(() => (shown.value ? SAYS[shown.value] : null)),
    /** The changes of each control at a tile. */
    inWords(tile: Tile, metric: MetricInfo): string {
      const n = indexOf(tile);
      const ranges = (measured.value ?? []).flatMap(({ name, draws, least, most }) => {
        const ends = [least[n], most[n]].map((end) => changeText(metric, end ?? Number.NaN));
        return draws ? `${named(name)} ${ends.join(" to ")} in ${drawsOf(draws)}` : [];
      });
      return ranges.length ? `Change in the controls: ${ranges.join("; ")}.` : "";
    },
  };
}
