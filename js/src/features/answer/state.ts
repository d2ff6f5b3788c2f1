// The answer to the experiment on the screen: exact, or a preview from the map while it is computed.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { hasSamePrompts } from "../../domain/experiments";
import { cellOf, fromAnswer, fromCell, type Shown } from "../../domain/preview";
import type { Answer } from "../../kernel/wire";
import { createSweep, createWholeMap } from "../map/sweep";
import { createStory } from "../story/state";
import { createAnswers } from "./answers";

/** `exact` and `preview` name the numbers on the screen; `busy`: none for this experiment yet. */
export type Label = "exact" | "preview" | "busy" | "none";

export function createAnswer(app: App) {
  const { scene, status, trait } = app.kernel;
  const { now, settled, pending, promptsSince, modelSince } = app.use(createExperiment);
  const story = app.use(createStory);
  const map = app.use(createWholeMap);
  const sweep = app.use(createSweep);
  const answers = app.use(createAnswers);
  const written = trait<Answer>("answer");
  /** The newest answer: one that comes late never replaces it. */
  const newest = signal(written.peek());

  app.effect(() => {
    const got = written.value;
    if ((got?.revision ?? 0) >= (newest.peek()?.revision ?? 0)) newest.value = got;
    return undefined;
  });

  const isFresh = computed(
    () =>
      pending.value === null &&
      newest.value !== null &&
      newest.value.revision === scene.value?.revision,
  );
  app.effect(() => {
    if (settled.value && isFresh.value && newest.value) answers.keep(settled.value, newest.value);
    return undefined;
  });

  /** The exact answer to what is on the screen: the newest, else one kept from an earlier visit. */
  const exact = computed<Answer | null>(() => {
    if (isFresh.value) return newest.value;
    const kept = now.value ? answers.of(now.value) : null;
    return story.answer.value ?? (kept && kept.revision >= modelSince.value ? kept : null);
  });
  const cell = computed(() =>
    now.value && !sweep.isOld.value ? cellOf(now.value, map.value) : null,
  );
  const isWorking = computed(
    () =>
      pending.value !== null ||
      (status.value?.busy ?? null) !== null ||
      status.value?.progress != null,
  );
  /** The newest exact answer of the present prompts: a preview takes base and source from it. */
  const last = computed<Answer | null>(() => {
    const value = newest.value;
    const [asked, got] = [now.value, settled.value];
    if (!value || !asked || !got || !hasSamePrompts(asked, got)) return null;
    return value.revision >= Math.max(promptsSince.value, modelSince.value) ? value : null;
  });

  return {
    newest,
    exact,
    /** The map's cell of the experiment, if it is a single slot of the map's sweep. */
    cell,
    last,
    isWorking,
    label: computed<Label>(() => {
      if (exact.value) return "exact";
      if (cell.value) return "preview";
      return status.value?.error && !pending.value ? "none" : isWorking.value ? "busy" : "none";
    }),
    shown: computed<Shown | null>(() => {
      if (exact.value) return fromAnswer(exact.value);
      if (cell.value && map.value) return fromCell(cell.value, map.value, last.value);
      return newest.value ? fromAnswer(newest.value) : null;
    }),
    receipts: computed(() => exact.value?.receipts ?? []),
    cancel(): void {
      app.kernel.request({ kind: "cancel" }).catch(() => {});
    },
  };
}
