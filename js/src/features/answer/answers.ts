// Exact answers kept by experiment, so that going back paints one without waiting for the kernel.
import { signal } from "@preact/signals";
import { keyOfRun, type Plain } from "../../domain/experiments";
import { withNewest } from "../../domain/newest";
import type { Answer } from "../../kernel/wire";

/** More would only serve someone who goes back further than the strip reaches. */
const KEPT = 50;

/** The newest answer to each of the last experiments; `of` is followed by signals that read it. */
export function createAnswers() {
  const kept = signal<ReadonlyMap<string, Answer>>(new Map());
  return {
    of: (experiment: Plain): Answer | null => kept.value.get(keyOfRun(experiment)) ?? null,
    keep(experiment: Plain, answer: Answer): void {
      kept.value = withNewest(kept.peek(), keyOfRun(experiment), answer, KEPT);
    },
  };
}
