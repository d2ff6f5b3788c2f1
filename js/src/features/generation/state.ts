// The texts that the model writes after the base prompt, and what the next ones are asked for.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { keyOfRun, toPlain } from "../../domain/experiments";
import type { GeneratedTexts } from "../../kernel/wire";

export type Run = "base" | "patched";

export function createGeneration(app: App) {
  const { kernel } = app;
  const { now, modelSince } = app.use(createExperiment);
  const shown = kernel.trait<GeneratedTexts>("generation");
  const isAsked = signal(false);
  /** Why the last texts that were asked for did not begin. */
  const problem = signal<string | null>(null);
  const chosen = signal<{ count?: number; on?: GeneratedTexts["on"] }>({});
  const count = computed(() => chosen.value.count ?? shown.value?.max_new_tokens ?? 20);
  const on = computed(() => chosen.value.on ?? shown.value?.on ?? "prompt");
  return {
    shown,
    problem,
    count,
    on,
    choose(more: typeof chosen.value): void {
      chosen.value = { ...chosen.value, ...more };
      problem.value = null;
    },
    isRunning: computed(() => isAsked.value || shown.value?.running != null),
    /** Why the texts do not belong to what is on the screen; null where they do. */
    whyOld: computed(() => {
      const { value } = shown;
      if (!value || !now.value) return null;
      if (value.revision < modelSince.value) return "From before the model changed.";
      return keyOfRun(toPlain(value.experiment)) === keyOfRun(now.value)
        ? null
        : "Of another experiment.";
    }),
    async run(): Promise<void> {
      isAsked.value = true;
      problem.value = null;
      try {
        await kernel.request({
          kind: "generate",
          max_new_tokens: count.peek(),
          on: on.peek(),
        });
      } catch (error) {
        problem.value = (error as Error).message;
      } finally {
        isAsked.value = false;
      }
    },
    stop(): void {
      kernel.request({ kind: "stop" }).catch((error: Error) => {
        problem.value = error.message;
      });
    },
  };
}
