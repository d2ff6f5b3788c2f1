// The experiment on the screen: the kernel's, or the one that was asked for and is on its way there.
import { batch, computed, signal } from "@preact/signals";
import { fromScene, hasSamePrompts, isSame, type Plain } from "../domain/experiments";
import { empty, redo, step, type UndoList, undo } from "../domain/undo";
import { createNotices } from "../features/notices/state";
import type { Message, RequestFailed } from "../kernel/kernel";
import type { App } from "./app";

/** A request for an experiment that the kernel has not put on its scene yet. */
interface Pending {
  id: string;
  experiment: Plain;
  /** Undo list to go back to when the kernel refuses. */
  before: UndoList<Plain>;
  isAccepted: boolean;
}

export type ExperimentState = ReturnType<typeof createExperiment>;

export function createExperiment(app: App) {
  const { kernel } = app;
  const { scene } = kernel;
  const notices = app.use(createNotices);
  const pending = signal<Pending | null>(null);
  const undoList = signal<UndoList<Plain>>(empty());
  /** First revision known to have the present prompts: maps and answers from before are of others. */
  const promptsSince = signal(0);

  const settled = computed(() => (scene.value ? fromScene(scene.value) : null));
  const now = computed(() => pending.value?.experiment ?? settled.value);

  /** Why a saved page cannot show an experiment; null where it can. */
  const refusal = (next: Plain) => kernel.refusal({ kind: "experiment", experiment: next });

  /** Shows an experiment at once and asks the kernel for it; a refusal brings the last one back. */
  function begin(
    next: Plain,
    after: UndoList<Plain>,
    message: Message = { kind: "experiment", experiment: next },
    refuse = notices.refuse,
  ): Promise<void> {
    const id = kernel.nextId();
    batch(() => {
      const before = pending.value?.before ?? undoList.value;
      notices.dismiss();
      undoList.value = after;
      // Painted first, sent second: the screen never waits for the wire.
      pending.value = { id, experiment: next, before, isAccepted: false };
    });
    return kernel.request(message, { id }).then(
      () => {
        const asked = pending.peek();
        if (asked?.id !== id) return;
        pending.value = scene.peek()?.request === id ? null : { ...asked, isAccepted: true };
      },
      (error: RequestFailed) =>
        batch(() => {
          const asked = pending.peek();
          // Without a kernel the screen goes on with what it holds.
          if (error.reason === "gone") return;
          refuse(error.message);
          if (asked?.id !== id) return;
          pending.value = null;
          undoList.value = asked.before;
        }),
    );
  }

  function restore(to: typeof undo): boolean {
    const present = now.value;
    const found = present && to(undoList.value, present);
    if (!found) return false;
    begin(found[1], found[0]);
    return true;
  }

  let previous: { revision: number; experiment: Plain } | null = null;
  app.effect(() => {
    const [value, present] = [scene.value, settled.value];
    if (!value || !present) return undefined;
    const asked = pending.peek();
    batch(() => {
      if (previous && !hasSamePrompts(previous.experiment, present))
        promptsSince.value = value.revision;
      if (previous && !kernel.isOwn(value.request) && previous.revision !== value.revision) {
        // Python or another view changed the experiment: that too can be undone here.
        if (!isSame(previous.experiment, present))
          undoList.value = step(undoList.peek(), previous.experiment);
      }
      if (asked && (asked.id === value.request || asked.isAccepted)) pending.value = null;
      previous = { revision: value.revision, experiment: present };
    });
    return undefined;
  });

  return {
    /** The kernel's. */
    settled,
    now,
    pending,
    undoList,
    promptsSince,
    /** Results of revisions before this one are of an older state of the model. */
    modelSince: computed(() => scene.value?.model_since ?? 0),
    kinds: computed(() => scene.value?.model.interventions ?? []),
    widths: computed(() => scene.value?.model.widths ?? {}),
    begin,
    refusal,
    /**
     * Asks for another experiment: shown at once, undone when the kernel refuses it. Does nothing
     * with one that a saved page cannot show: keys and strokes on its map may ask for any.
     *
     * `refuse` shows why the kernel refused it; above the screen if nothing else is said.
     */
    commit(next: Plain, refuse?: (why: string) => void): Promise<void> | undefined {
      const present = now.value;
      if (present && !isSame(present, next) && refusal(next) === null)
        return begin(next, step(undoList.value, present), undefined, refuse);
      return undefined;
    },
    undo: () => restore(undo),
    redo: () => restore(redo),
  };
}
