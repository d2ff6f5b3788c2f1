// What is done to slots by their indices, from any panel, and which slot's details are open.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { group, setSkip, ungroup } from "../../domain/experiments";
import { setHold } from "../../domain/held";
import { type Known, keysAfter, NOBODY } from "../../domain/order";

export function createSlots(app: App) {
  const experiment = app.use(createExperiment);
  let known: Known = NOBODY;
  /** A key for each slot, which it keeps when its number changes. */
  const keys = computed(() => {
    const slots = experiment.now.value?.slots ?? [];
    if (known.slots !== slots) known = keysAfter(known, slots);
    return known.keys;
  });
  const openKey = signal<number | null>(null);
  return {
    keys,
    /** Index of the slot whose details are open; null if none are. */
    open: computed(() => {
      const index = openKey.value === null ? -1 : keys.value.indexOf(openKey.value);
      return index < 0 ? null : index;
    }),
    toggleDetails(index: number): void {
      const key = keys.peek()[index] ?? null;
      openKey.value = openKey.peek() === key ? null : key;
    },
    closeDetails(): void {
      openKey.value = null;
    },
    /** Skips slots, or unskips them when all of them are skipped. */
    toggleSkip(indices: number[]): void {
      const now = experiment.now.value;
      if (!now || indices.length === 0) return;
      experiment.commit(setSkip(now, indices, !indices.every((index) => now.slots[index]?.skip)));
    },
    /** Holds slots in the map, or lets go when all of them are held. */
    toggleHold(indices: number[]): void {
      const now = experiment.now.value;
      if (!now || indices.length === 0) return;
      experiment.commit(setHold(now, indices, !indices.every((index) => now.slots[index]?.hold)));
    },
    group(): void {
      if (experiment.now.value) experiment.commit(group(experiment.now.value));
    },
    ungroup(): void {
      if (experiment.now.value) experiment.commit(ungroup(experiment.now.value));
    },
  };
}
