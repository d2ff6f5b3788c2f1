// The history strip: the kernel keeps it, this view only knows which entry is on the screen.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { keyOf, toPlain } from "../../domain/experiments";
import type { Past, PastEntry } from "../../kernel/wire";
import { createLost } from "./lost";

export function createHistory(app: App) {
  const past = app.kernel.trait<Past>("past");
  const experiment = app.use(createExperiment);
  const refused = signal<string | null>(null);
  const entries = computed<readonly PastEntry[]>(() => past.value?.entries ?? []);
  const keys = computed(() => entries.value.map((entry) => keyOf(toPlain(entry.experiment))));
  let newest = 0;
  app.use(createLost);
  return {
    entries,
    /** The entry of the experiment on the screen. */
    current: computed<PastEntry | null>(() => {
      const now = experiment.now.value;
      return (now && entries.value[keys.value.indexOf(keyOf(now))]) ?? null;
    }),
    refused,
    /** Gives an entry a name; an empty one removes it. */
    async name(entry: PastEntry, text: string): Promise<void> {
      const name = text.trim() || null;
      refused.value = null;
      if (name === entry.name) return;
      const count = ++newest;
      try {
        await app.kernel.request({ kind: "name", number: entry.number, name });
      } catch (error) {
        if (count === newest) refused.value = (error as Error).message;
      }
    },
  };
}
