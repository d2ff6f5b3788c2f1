// How long the exact answer of one tile will take, judged by the last one.
import type { Answer, Scene } from "../kernel/wire";

/** Waits up to this are not worth a word, in milliseconds. */
export const SHORT_WAIT = 500;

/** Milliseconds of one forward pass from the first layer on, as the last answer took them. */
export function passOf(answer: Answer, scene: Scene, isSlow: boolean): number | null {
  const live = scene.slots.filter((slot) => !slot.skip);
  const runs = answer.runs.filter(({ role }) => role !== "base" && role !== "source");
  if (runs.length === 0 || live.length === 0) return null;
  const isResumed = !isSlow && runs.length === 1 && runs[0]?.role === "intervened";
  const first = Math.min(...live.map((slot) => slot.layer));
  const passes = isResumed
    ? rest(first, scene.model.layers)
    : runs.reduce((sum, run) => sum + 1 + run.source_runs, 0);
  return answer.milliseconds / passes;
}

/** Milliseconds of the answer that begins at a layer; with a slow model, at the first. */
export function waitAt(layer: number, pass: number, layers: number, isSlow: boolean): number {
  return pass * (isSlow ? 1 : rest(layer, layers));
}

/** The part of the layers that still has to run; even after the last, the output head does. */
function rest(layer: number, layers: number): number {
  return (layers - Math.min(layer, layers - 1)) / layers;
}
