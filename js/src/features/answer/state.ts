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

/**
 * `exact` and `preview` name the numbers on the screen; `kept`: exact once, and the kernel that could
 * say so now is gone; `busy`: none for this experiment yet; `none`: none, and none will come.
 */
export type Label = "exact" | "kept" | "preview" | "busy" | "none";

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
    // Answers of a story, and those kept from an earlier visit.
    const kept = now.value ? answers.of(now.value) : null;
    return story.answer.value ?? (kept && kept.revision >= modelSince.value ? kept : null);
  });
  const cell = computed(() =>
    now.value && !sweep.isOld.value ? cellOf(now.value, map.value) : null,
  );
  const isWorking = computed(
    () => pending.value !== null || status.value?.busy != null || status.value?.progress != null,
  );
  /** The newest exact answer of the present prompts: a preview takes base and source from it. */
  const last = computed<Answer | null>(() => {
    const value = newest.value;
    const [asked, got] = [now.value, settled.value];
    if (!value || !asked || !got || !hasSamePrompts(asked, got)) return null;
    return value.revision >= Math.max(promptsSince.value, modelSince.value) ? value : null;
  });

  const label = computed<Label>(() => {
    const { isGone } = app.kernel;
    if (exact.value) return isGone.value ? "kept" : "exact";
    if (cell.value) return "preview";
    if (isGone.value) return "none";
    return status.value?.error && !pending.value ? "none" : isWorking.value ? "busy" : "none";
  });

  return {
    newest,
    exact,
    /** The map's cell of the experiment, if it is a single slot of the map's sweep. */
    cell,
    last,
    isWorking,
    label,
    /** Whether the numbers are of the experiment before. */
    isOld: computed(() => label.value === "busy" || label.value === "none"),
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
