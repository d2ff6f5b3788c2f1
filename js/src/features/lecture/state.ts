// Lecture mode: few panels, large, and a curtain before each answer until the audience has guessed.
import { computed, type Signal, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { keyOf, type Plain } from "../../domain/experiments";
import { cellOf, keyOfMap } from "../../domain/preview";
import type { Cell, Map as Sweep } from "../../kernel/wire";
import { createWholeMap } from "../map/sweep";
import { createStory } from "../story/state";

/** What outlives a view: a lecturer who moves the output finds everything as it was. */
interface LectureMemory {
  isOn: Signal<boolean>;
  /** Experiments whose answers were shown, by the step and experiment that they are of. */
  revealed: Signal<ReadonlyMap<string, Plain>>;
  /** Maps that were shown whole. */
  maps: Signal<ReadonlySet<string>>;
  /** Index of the answer that was chosen, by step. */
  choices: Signal<ReadonlyMap<number, number>>;
}

/** By the widget, as `Kernel.owner` stands for it. */
const memories = new WeakMap<object, LectureMemory>();

/** All views of a widget share what is kept; the kernel does not know of it. */
export function createLecture(app: App) {
  const { owner } = app.kernel;
  const { now: experiment } = app.use(createExperiment);
  const map = app.use(createWholeMap);
  const story = app.use(createStory);
  const memory = memories.get(owner) ?? {
    isOn: signal(false),
    revealed: signal(new Map()),
    maps: signal(new Set()),
    choices: signal(new Map()),
  };
  memories.set(owner, memory);
  const { isOn, revealed, maps, choices } = memory;

  const key = computed(() => {
    const now = experiment.value;
    if (!now) return "";
    // Two steps may ask different things about one experiment.
    return `${story.isThere.value ? story.at.value : ""} ${keyOf(now)}`;
  });
  const isCovered = computed(() => isOn.value && !revealed.value.has(key.value));
  const mapKey = computed(() => {
    const [now, swept] = [experiment.value, map.value];
    return now && swept ? promptsOf(now) + keyOfMap(swept) + JSON.stringify(swept.held) : "";
  });
  const isMapOpen = computed(() => !isOn.value || maps.value.has(mapKey.value));
  /** The map with the tiles that may be seen: those whose own answers were revealed. */
  const veiled = computed<Sweep | null>(() => {
    const [now, whole] = [experiment.value, map.value];
    if (!whole || !now || isMapOpen.value) return whole;
    // A tile of other prompts may stand at the same place.
    const seen = [...revealed.value.values()].filter(
      (plain) => promptsOf(plain) === promptsOf(now),
    );
    const cells = new Set(seen.map((plain) => placeOf(cellOf(plain, whole))));
    // Another step may have shown this tile already, and this one ask about it anew.
    if (isCovered.value) cells.delete(placeOf(cellOf(now, whole)));
    return { ...whole, cells: whole.cells.filter((cell) => cells.has(placeOf(cell))) };
  });
  const choice = computed(() => choices.value.get(story.at.value) ?? null);

  function coverAll(): void {
    revealed.value = new Map();
    maps.value = new Set();
    choices.value = new Map();
  }

  return {
    isOn,
    isCovered,
    isMapOpen,
    map: veiled,
    choice,
    /**
     * Whether the right choice is marked: beside the step's own result, after the reveal; without a
     * curtain, after choosing.
     */
    isMarked: computed(
      () => story.isThere.value && (isOn.value ? !isCovered.value : choice.value !== null),
    ),
    toggle(): void {
      isOn.value = !isOn.value;
      // What was on the screen before counts as not seen: a lecturer prepares behind the curtain.
      if (isOn.value) coverAll();
    },
    reveal(): void {
      const now = experiment.peek();
      if (now) revealed.value = new Map(revealed.peek()).set(key.peek(), now);
    },
    cover(): void {
      const left = new Map(revealed.peek());
      left.delete(key.peek());
      revealed.value = left;
    },
    /** All steps as they were before the lecture. */
    coverAll,
    toggleMap(): void {
      const next = new Set(maps.peek());
      if (!next.delete(mapKey.peek())) next.add(mapKey.peek());
      maps.value = next;
    },
    /** Guesses; after the reveal a guess stays what it was. Says whether the step has that choice. */
    choose(index: number): boolean {
      const count = story.step.peek()?.choices.length ?? 0;
      if (index >= count) return false;
      if (story.isThere.peek() && !(isOn.peek() && !isCovered.peek()))
        choices.value = new Map(choices.peek()).set(story.at.peek(), index);
      return true;
    },
  };
}

/** Which tile it is: beside held slots its cell is a copy. */
function placeOf(cell: Cell | null): string | null {
  return cell && JSON.stringify([cell.layer, cell.head, cell.position]);
}

function promptsOf({ base, sources }: Plain): string {
  return JSON.stringify([base, sources]);
}
