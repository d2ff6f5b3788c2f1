// What is done to slots by their indices, from any panel.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { group, setSkip, ungroup } from "../../domain/experiments";

export function createSlots(app: App) {
  const experiment = app.use(createExperiment);
  return {
    /** Skips slots, or unskips them when all of them are skipped. */
    toggleSkip(indices: number[]): void {
      const now = experiment.now.value;
      if (!now || indices.length === 0) return;
      experiment.commit(setSkip(now, indices, !indices.every((index) => now.slots[index]?.skip)));
    },
    group(): void {
      if (experiment.now.value) experiment.commit(group(experiment.now.value));
    },
    ungroup(): void {
      if (experiment.now.value) experiment.commit(ungroup(experiment.now.value));
    },
  };
}
