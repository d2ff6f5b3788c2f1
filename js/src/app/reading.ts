// What a view has the kernel read of the experiment on the screen: asked for once its answer is there.
import { computed, signal } from "@preact/signals";
import { hasSamePrompts, keyOfRun, toPlain } from "../domain/experiments";
import { createAnswer } from "../features/answer/state";
import type { Message } from "../kernel/kernel";
import type { OrderedExperiment } from "../kernel/wire";
import type { App } from "./app";
import { createExperiment } from "./experiment";

interface Grid {
  revision: number;
  note: string | null;
  experiment: OrderedExperiment | null;
}

/** Whether what was read is of the model on the screen and, if that matters, of the slots. */
type IsNew = (ofSlots: boolean) => boolean;

/**
 * `question` is what to ask the kernel for now, null while nothing is missing. `onFail` is called
 * when there will be no reading.
 */
export function reading<G extends Grid>(
  app: App,
  trait: string,
  question: (isNew: IsNew) => Message | null,
  onFail: () => void = () => {},
) {
  const { kernel } = app;
  const grid = kernel.trait<G>(trait);
  const { now, pending, modelSince } = app.use(createExperiment);
  const { newest } = app.use(createAnswer);
  /** Why the newest question came to nothing. */
  const note = signal<string | null>(null);
  /** The newest question, and the grid that was there before it. */
  let asked = "";
  let before: G | null = null;

  /** What was read, if it is of the prompts on the screen. */
  const plain = computed(() => {
    const { experiment } = grid.value ?? {};
    const read = experiment ? toPlain(experiment) : null;
    return read && now.value && hasSamePrompts(read, now.value) ? read : null;
  });

  const isNew: IsNew = (ofSlots) =>
    plain.value !== null &&
    now.value !== null &&
    (grid.value?.revision ?? 0) >= modelSince.value &&
    (!ofSlots || keyOfRun(plain.value) === keyOfRun(now.value));

  function fail(message: string): void {
    note.value = message;
    onFail();
  }

  // Again only if something is new: other views of the widget ask, too.
  app.effect(() => {
    const message = question(isNew);
    const isAnswered = newest.value?.revision === kernel.scene.value?.revision;
    if (!message || kernel.offline || pending.value || !now.value || !isAnswered) return undefined;
    const key = JSON.stringify([keyOfRun(now.value), modelSince.value, message]);
    if (key === asked) return undefined;
    asked = key;
    before = grid.peek();
    note.value = null;
    kernel.request(message).catch((error: Error) => {
      if (key === asked) fail(error.message);
    });
    return undefined;
  });
  app.effect(() => {
    const said = grid.value?.note;
    if (said && asked && grid.value !== before) fail(said);
    return undefined;
  });

  return {
    grid,
    note,
    plain,
    isNew,
    /** Forgets what was asked, so that it may be asked again. */
    again(): void {
      note.value = null;
      asked = "";
    },
  };
}
