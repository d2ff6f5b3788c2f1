// Which map is shown: of which component, head and source, and what one of its tiles stands for.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { hasSamePrompts, isAt, type Place } from "../../domain/experiments";
import { targetOf } from "../../domain/operators";
import type { Map as Sweep } from "../../kernel/wire";
import { createNotices } from "../notices/state";
import { createPairing } from "../prompts/pairing";
import { createStory } from "../story/state";

export type SweepChoice = Pick<Sweep, "component" | "head" | "source">;

/** A tile's place on the map's axes. */
export interface Tile {
  layer: number;
  position: number;
}

/** The map of the prompts on the screen; a story's own until the kernel's is complete. */
export function createWholeMap(app: App) {
  const swept = app.kernel.trait<Sweep>("map");
  const { now, settled, promptsSince } = app.use(createExperiment);
  const story = app.use(createStory);
  return computed(() => {
    const value = swept.value;
    const [asked, got] = [now.value, settled.value];
    const ofStory = story.map.value;
    if (!value || !asked || !got || !hasSamePrompts(asked, got)) return ofStory;
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

  const choice = computed<SweepChoice>(() => {
    const sources = Object.keys(experiment.now.value?.sources ?? {});
    const chosen = wanted.value ?? map.value ?? swept.value;
    const source = chosen?.source ?? null;
    return {
      component: chosen?.component ?? "block_output",
      head: chosen?.head ?? null,
      source: source !== null && sources.includes(source) ? source : (sources[0] ?? null),
    };
  });

  app.effect(() => {
    const [got, asked] = [swept.value, wanted.peek()];
    if (got && asked && isSameSweep(got, asked)) wanted.value = null;
    return undefined;
  });

  /** What a tile stands for, with the source position that the map pairs. */
  function place({ layer, position }: Tile): Place {
    const chosen = choice.value;
    const partner = chosen.source === null ? undefined : pairing.of(chosen.source)[position];
    return { ...chosen, layer, position, source_position: partner ?? position };
  }

  return {
    choice,
    place,
    /** Whether the map on the screen is of an older state of the model. */
    isOld: computed(
      () =>
        map.value !== null &&
        map.value.revision > 0 &&
        map.value.revision < experiment.modelSince.value,
    ),
    /** Slots at a tile, by index: those that act on the base's run there. */
    slotsAt(tile: Tile): number[] {
      const now = experiment.now.value;
      const here = place(tile);
      return (now?.slots ?? []).flatMap((slot, i) =>
        now && isAt(slot, here) && targetOf(now, slot, experiment.kinds.value) === null ? [i] : [],
      );
    },
    async choose(next: SweepChoice): Promise<void> {
      wanted.value = next;
      const source_positions = pairing.byHand(next.source);
      try {
        await app.kernel.request({ kind: "sweep", ...next, source_positions });
      } catch (error) {
        notices.refuse((error as Error).message);
        if (wanted.peek() === next) wanted.value = null;
      }
    },
  };
}

function isSameSweep(a: SweepChoice, b: SweepChoice): boolean {
  return a.component === b.component && a.head === b.head && a.source === b.source;
}
