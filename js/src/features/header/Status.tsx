// What the numbers on the screen are: exact, a preview, or on their way.

import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { milliseconds } from "../../domain/format";
import type { RunInfo } from "../../kernel/wire";
import { Button } from "../../ui/controls";
import { createAnswer, type Label } from "../answer/state";
import { createPlacebo } from "../placebo/state";
import { createStory } from "../story/state";

/** Labels that are not words. */
const NAMES: Partial<Record<Label, string>> = { busy: "running", none: "no result" };

/** What each label means, of an answer or of a comparison. */
export const ABOUT: Record<Label, string> = {
  exact: "Computed for exactly this experiment, alone, at batch size 1.",
  kept: "Computed exactly before the kernel was lost; it cannot be verified now.",
  preview: "Taken from the map, which is computed in batches: equal up to float rounding.",
  busy: "The kernel is computing; what is shown belongs to the experiment before.",
  none: "There is no answer to this experiment; what is shown belongs to the one before.",
};

/** Dtypes whose neighbouring numbers differ visibly, and by how much. */
const STEPS: Record<string, string> = { bfloat16: "0.8 %", float16: "0.1 %" };

const isPlain = ({ role }: RunInfo) => role === "base" || role === "source";

export function Status({ app }: { app: App }) {
  const { status, isGone, isWaiting } = app.kernel;
  const answer = app.use(createAnswer);
  const [label, exact] = [answer.label.value, answer.exact.value];
  const scene = app.use(createStory).scene.value;
  const model = scene?.model;
  const parts: string[] = [];
  if (isGone.value) parts.push("kernel gone");
  if (label === "exact" && exact) {
    const isKept = app.use(createExperiment).pending.value || exact.revision !== scene?.revision;
    // A story's answers are of no revision: they were computed before the first step.
    if (exact.revision === 0) parts.push("computed beforehand");
    else if (isKept) parts.push(`kept from run ${exact.revision}`);
    // Without a live slot there is only the prompts' plain runs, and no intervened one to time.
    else parts.push(exact.runs.every(isPlain) ? "plain run" : milliseconds(exact.milliseconds));
  }
  if (model) parts.push(model.device);
  const step = model ? STEPS[model.dtype] : undefined;
  if (model && step) parts.push(model.dtype);
  if (isWaiting.value && !isGone.value) parts.push("waiting for the kernel");
  const { progress, busy } = status.value ?? {};
  const ofMap = app.use(createPlacebo).isRunning.value ? "controls" : "map";
  if (progress != null)
    parts.push(`${/story|pairs/.test(busy ?? "") ? busy : ofMap} ${Math.floor(100 * progress)} %`);
  const about = model ? `\n${model.name}: ${model.layers} layers, ${model.dtype}` : "";
  const precision = step
    ? `\nNeighbouring ${model?.dtype} numbers differ by up to ${step}; smaller effects are rounding.`
    : "";
  return <StatusLine label={label} parts={parts} title={ABOUT[label] + about + precision} />;
}

/** A label with its mark, and what else there is to say. */
export function StatusLine(props: { label: Label; parts: string[]; title: string }) {
  const { label, parts, title } = props;
  return (
    <span class="vene-status" data-label={label} title={title}>
      <i class="vene-status-mark" aria-hidden="true" />
      {[NAMES[label] ?? label, ...parts].join(" · ")}
    </span>
  );
}

/** Keeps its place when there is nothing to cancel, so that nothing jumps under the pointer. */
export function Cancel({ app }: { app: App }) {
  const { progress, busy } = app.kernel.status.value ?? {};
  const canCancel = progress != null || busy != null;
  return (
    <Button
      style={{ visibility: canCancel ? "visible" : "hidden" }}
      onClick={app.use(createAnswer).cancel}
    >
      Cancel
    </Button>
  );
}
