// One view's state: what the kernel said, what this view asked for, and what is to be shown.
import { batch, computed, effect, type Signal, signal } from "@preact/signals";
import {
  addSlot,
  applyTile,
  fromScene,
  type Gesture,
  group,
  hasSamePrompts,
  isAt,
  isSame,
  type Place,
  type Plain,
  setSkip,
  ungroup,
} from "../domain/experiments";
import { kindOf, linkGroup, targetOf, toggleSubspace } from "../domain/operators";
import { paint } from "../domain/paint";
import { cellOf, fromAnswer, fromCell, type Shown } from "../domain/preview";
import { createAnswers } from "../features/answer/answers";
import { createCode } from "../features/code/state";
import { createCompare } from "../features/compare/state";
import { createTake } from "../features/figure/state";
import { createPast, empty, type History, redo, step, undo } from "../features/history/state";
import { createLecture } from "../features/lecture/state";
import { createLens } from "../features/map/state";
import { createDraft } from "../features/prompts/draft";
import { createPairing, createVoice } from "../features/prompts/pairing";
import { createShare } from "../features/share/state";
import { createStory } from "../features/story/state";
import type { Kernel, Request } from "../kernel/kernel";
import type { Answer, Figure, Reply, Map as Sweep } from "../kernel/wire";

/** `exact` and `preview` name the numbers on the screen; `busy`: none for this experiment yet. */
export type Label = "exact" | "preview" | "busy" | "none";

/** A request for an experiment that the kernel has not put on its scene yet. */
interface Pending {
  id: string;
  experiment: Plain;
  /** History to go back to when the kernel refuses. */
  before: History<Plain>;
  isAccepted: boolean;
}

export type SweepChoice = Pick<Sweep, "component" | "head" | "source">;

/** A tile's place on the map's axes. */
export interface Tile {
  layer: number;
  position: number;
}

/** Milliseconds without a word from the kernel after which the screen says that it waits. */
const PATIENCE = 2500;

export type State = ReturnType<typeof createState>;

export function createState(kernel: Kernel) {
  const { scene, picture, status } = kernel;
  /** The newest answer: one that comes late never replaces it. */
  const answer = signal(kernel.answer.peek());
  const pending = signal<Pending | null>(null);
  const history = signal<History<Plain>>(empty());
  const refused = signal<string | null>(null);
  const dismissed = signal<string | null>(null);
  const dismissedNote = signal<string | null>(null);
  /** A request has waited for so long that the screen says so: a busy kernel, or none. */
  const isWaiting = signal(false);
  const isHelpOpen = signal(false);
  const hover = signal<Tile | null>(null);
  const wantedSweep: Signal<{ id: string; choice: SweepChoice } | null> = signal(null);
  const wantedFigure: Signal<{ id: string; kind: Figure["kind"] } | null> = signal(null);
  /** First revision known to have the present prompts: maps and answers from before are of others. */
  const promptsSince = signal(0);

  const own = new Set<string>();
  const prefix = Math.random().toString(36).slice(2, 10);
  let count = 0;
  function newId(): string {
    const id = `${prefix}-${++count}`;
    own.add(id);
    return id;
  }

  const settled = computed(() => (scene.value ? fromScene(scene.value) : null));
  const experiment = computed(() => pending.value?.experiment ?? settled.value);

  /** Results of revisions before this one are of an older state of the model. */
  const modelSince = computed(() => scene.value?.model_since ?? 0);
  const story = createStory(kernel, experiment);
  /** The map, when it is of the prompts on the screen; a story's own until the kernel's is whole. */
  const map = computed(() => {
    const value = kernel.map.value;
    const [asked, got] = [experiment.value, settled.value];
    const told = story.map.value;
    if (!value || !asked || !got || !hasSamePrompts(asked, got)) return told;
    if (value.revision < promptsSince.value) return told;
    return told && value.done < value.total && isSameSweep(value, told) ? told : value;
  });
  const lecture = createLecture(kernel.owner, { experiment, map, story });
  const lens = createLens(kernel, { scene: story.scene, map: lecture.map, answer, hover });
  const sweep = computed<SweepChoice>(() => {
    const sources = Object.keys(experiment.value?.sources ?? {});
    const chosen = wantedSweep.value?.choice ?? map.value ?? kernel.map.value;
    const source = chosen?.source ?? null;
    return {
      component: chosen?.component ?? "block_output",
      head: chosen?.head ?? null,
      source: source !== null && sources.includes(source) ? source : (sources[0] ?? null),
    };
  });

  const draft = createDraft(kernel);
  const pairing = createPairing({ scene: story.scene, map });
  const voice = createVoice();

  const kinds = computed(() => scene.value?.model.interventions ?? []);

  const isFresh = computed(
    () =>
      pending.value === null &&
      answer.value !== null &&
      answer.value.revision === scene.value?.revision,
  );
  const answers = createAnswers();
  /** The exact answer to what is on the screen: the newest, else one kept from an earlier visit. */
  const exact = computed<Answer | null>(() => {
    if (isFresh.value) return answer.value;
    const kept = experiment.value ? answers.of(experiment.value) : null;
    return story.answer.value ?? (kept && kept.revision >= modelSince.value ? kept : null);
  });
  /** Whether the map on the screen is of an older state of the model: it says so, and no more. */
  const isMapOld = computed(
    () => map.value !== null && map.value.revision > 0 && map.value.revision < modelSince.value,
  );
  const cell = computed(() =>
    experiment.value && !isMapOld.value ? cellOf(experiment.value, map.value) : null,
  );
  const isWorking = computed(
    () =>
      pending.value !== null ||
      (status.value?.busy ?? null) !== null ||
      status.value?.progress != null,
  );
  const label = computed<Label>(() => {
    if (exact.value) return "exact";
    if (cell.value) return "preview";
    return status.value?.error && !pending.value ? "none" : isWorking.value ? "busy" : "none";
  });
  /** The newest exact answer of the present prompts: a preview takes base and source from it. */
  const lastAnswer = computed<Answer | null>(() => {
    const value = answer.value;
    const [asked, got] = [experiment.value, settled.value];
    if (!value || !asked || !got || !hasSamePrompts(asked, got)) return null;
    return value.revision >= Math.max(promptsSince.value, modelSince.value) ? value : null;
  });
  const shown = computed<Shown | null>(() => {
    if (exact.value) return fromAnswer(exact.value);
    if (cell.value && map.value) return fromCell(cell.value, map.value, lastAnswer.value);
    return answer.value ? fromAnswer(answer.value) : null;
  });
  const receipts = computed(() => exact.value?.receipts ?? []);

  const error = computed(() => {
    const text = refused.value ?? status.value?.error ?? null;
    return text !== null && text === dismissed.value ? null : text;
  });

  /** What the kernel says besides, until it is dismissed. */
  const note = computed(() => {
    const text = status.value?.note ?? null;
    return text === dismissedNote.value ? null : text;
  });

  /** Ask for another experiment: shown at once, undone when the kernel refuses it. */
  function commit(next: Plain): void {
    const now = experiment.value;
    if (now && !isSame(now, next)) begin(next, step(history.value, now));
  }

  function begin(
    next: Plain,
    after: History<Plain>,
    request = (id: string): Request => ({ id, kind: "experiment", experiment: next }),
  ): string {
    const id = newId();
    batch(() => {
      const before = pending.value?.before ?? history.value;
      refused.value = null;
      dismissed.value = status.value?.error ?? null;
      history.value = after;
      // Painted first, sent second: the screen never waits for the wire.
      pending.value = { id, experiment: next, before, isAccepted: false };
    });
    kernel.send(request(id));
    return id;
  }

  function restore(to: typeof undo): boolean {
    const now = experiment.value;
    const found = now && to(history.value, now);
    if (!found) return false;
    begin(found[1], found[0]);
    return true;
  }

  kernel.onReply((reply: Reply) => {
    if (!own.delete(reply.id)) return;
    const asked = pending.peek();
    batch(() => {
      if (!reply.ok) {
        refused.value = reply.error ?? "The kernel refused the request without saying why.";
        dismissed.value = null;
        if (wantedSweep.peek()?.id === reply.id) wantedSweep.value = null;
        if (wantedFigure.peek()?.id === reply.id) wantedFigure.value = null;
      }
      if (asked?.id !== reply.id) return;
      if (reply.ok) {
        pending.value = scene.peek()?.request === reply.id ? null : { ...asked, isAccepted: true };
      } else {
        pending.value = null;
        history.value = asked.before;
      }
    });
  });

  let previous: { revision: number; experiment: Plain } | null = null;
  const stopScene = effect(() => {
    const value = scene.value;
    const now = settled.value;
    if (!value || !now) return;
    const asked = pending.peek();
    batch(() => {
      if (previous && !hasSamePrompts(previous.experiment, now))
        promptsSince.value = value.revision;
      const isOurs = value.request?.startsWith(`${prefix}-`);
      if (previous && !isOurs && previous.revision !== value.revision) {
        // Python or another view changed the experiment: that too can be undone here.
        if (!isSame(previous.experiment, now))
          history.value = step(history.peek(), previous.experiment);
      }
      if (asked && (asked.id === value.request || asked.isAccepted)) pending.value = null;
      previous = { revision: value.revision, experiment: now };
    });
  });

  const stopAnswer = effect(() => {
    const got = kernel.answer.value;
    if ((got?.revision ?? 0) >= (answer.peek()?.revision ?? 0)) answer.value = got;
  });

  const stopKeeping = effect(() => {
    const now = settled.value;
    if (now && isFresh.value && answer.value) answers.keep(now, answer.value);
  });

  const stopSweep = effect(() => {
    const got = kernel.map.value;
    const wanted = wantedSweep.peek()?.choice;
    if (!got || !wanted) return;
    if (
      got.component === wanted.component &&
      got.head === wanted.head &&
      got.source === wanted.source
    ) {
      wantedSweep.value = null;
    }
  });

  // An error that the kernel has taken back may come again, and must then be shown again.
  const stopStatus = effect(() => {
    if (!status.value?.error) dismissed.value = null;
  });

  const stopWaiting = effect(() => {
    isWaiting.value = false;
    if (pending.value === null || pending.value.isAccepted) return;
    const timer = setTimeout(() => {
      isWaiting.value = true;
    }, PATIENCE);
    return () => clearTimeout(timer);
  });

  const stopFigure = effect(() => {
    if (picture.value && picture.value.kind === wantedFigure.peek()?.kind)
      wantedFigure.value = null;
  });

  /** What the tile at a layer and position stands for, with the source position that the map pairs. */
  function place({ layer, position }: Tile): Place {
    const choice = sweep.value;
    const partner = choice.source === null ? undefined : pairing.of(choice.source)[position];
    return { ...choice, layer, position, source_position: partner ?? position };
  }

  /** Slots at a tile, by index: those that act on the base's run there. */
  function slotsAt(tile: Tile): number[] {
    const now = experiment.value;
    const here = place(tile);
    return (now?.slots ?? []).flatMap((slot, i) =>
      now && isAt(slot, here) && targetOf(now, slot, kinds.value) === null ? [i] : [],
    );
  }

  const past = createPast(kernel, experiment);
  const code = createCode(answer);
  const share = createShare(kernel);
  const take = createTake(kernel);
  const compare = createCompare(kernel, {
    ...{ experiment, map, lastAnswer, answers, entries: past.entries },
    isAsking: () => pending.value !== null,
  });

  return {
    /** What is drawn: the kernel's scene, or that of a step which the kernel has not reached. */
    scene: story.scene,
    story,
    lecture,
    kinds,
    status,
    picture,
    answer,
    experiment,
    /** The map, without what the curtain of lecture mode covers. */
    map: lecture.map,
    sweep,
    cell,
    label,
    exact,
    note,
    modelSince,
    isMapOld,
    past,
    isOffline: kernel.isOffline,
    code,
    share,
    take,
    compare,
    isWorking,
    isWaiting,
    shown,
    receipts,
    error,
    isHelpOpen,
    hover,
    lens,
    history,
    pending,
    wantedFigure,
    draft,
    pairing,
    voice,
    place,
    commit,

    applyTile(tile: Tile, gesture: Gesture): void {
      if (experiment.value) commit(applyTile(experiment.value, place(tile), gesture));
    },
    addSlot(tile: Tile): void {
      if (experiment.value) commit(addSlot(experiment.value, place(tile)));
    },
    /** Tiles that were painted become slots of one group, in one step of the history. */
    paintTiles(tiles: Tile[], gesture: Gesture): void {
      if (experiment.value) commit(paint(experiment.value, tiles.map(place), gesture));
    },
    slotsAt,
    /** Links or parts the slots of the group at a tile; at none, those of the last slot's group. */
    linkAt(tile: Tile): void {
      const now = experiment.value;
      const index = slotsAt(tile)[0] ?? (now?.slots.length ?? 0) - 1;
      const kind = now && kindOf(kinds.value, now.slots[index]?.intervention ?? "");
      if (now && kind?.has_weights) commit(linkGroup(now, index));
    },
    /** Toggles the n-th subspace (from 1) of the slot at a tile. */
    pickSubspace(tile: Tile, n: number): void {
      const now = experiment.value;
      const [index] = slotsAt(tile);
      if (!now || index === undefined) return;
      const name = Object.keys(now.slots[index]?.partition ?? {})[n - 1];
      if (name !== undefined) commit(toggleSubspace(now, index, name));
    },
    /** Skips the slots at a tile, or wakes them when all of them are skipped. */
    toggleSkip(indices: number[]): void {
      const now = experiment.value;
      if (!now || indices.length === 0) return;
      commit(setSkip(now, indices, !indices.every((index) => now.slots[index]?.skip)));
    },
    group(): void {
      if (experiment.value) commit(group(experiment.value));
    },
    ungroup(): void {
      if (experiment.value) commit(ungroup(experiment.value));
    },
    /** Goes to a step of the story, from 0; the history is of what was changed by hand. */
    walk(to: number): void {
      story.walk(to, (next, request) => begin(next, history.value, request));
    },
    undo: () => restore(undo),
    redo: () => restore(redo),

    chooseSweep(choice: SweepChoice): void {
      const id = newId();
      wantedSweep.value = { id, choice };
      const source_positions = pairing.byHand(choice.source);
      kernel.send({ id, kind: "sweep", ...choice, source_positions });
    },
    chooseFigure(kind: Figure["kind"]): void {
      const id = newId();
      wantedFigure.value = { id, kind };
      kernel.send({ id, kind: "figure", figure: kind });
    },
    cancel(): void {
      kernel.send({ id: newId(), kind: "cancel" });
    },
    dismissNote(): void {
      dismissedNote.value = status.value?.note ?? null;
    },
    dismiss(): void {
      dismissed.value = status.value?.error ?? null;
      refused.value = null;
    },
    dispose(): void {
      story.dispose();
      lens.dispose();
      draft.dispose();
      pairing.dispose();
      for (const stop of [stopScene, stopAnswer, stopSweep, stopStatus, stopWaiting, stopFigure])
        stop();
      stopKeeping();
      code.dispose();
      take.dispose();
      compare.dispose();
    },
  };
}

function isSameSweep(a: SweepChoice, b: SweepChoice): boolean {
  return a.component === b.component && a.head === b.head && a.source === b.source;
}
