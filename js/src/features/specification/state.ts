// Is it real?: the finding on the screen under every choice of method, and what each tile's said.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import type { Place } from "../../domain/experiments";
import { isHeld } from "../../domain/held";
import type { Finding, Specification } from "../../kernel/wire";
import { createNotices } from "../notices/state";

export function createSpecification(app: App) {
  const { kernel } = app;
  const notices = app.use(createNotices);
  const experiment = app.use(createExperiment);
  const isAsked = signal(false);
  /** Other words for the pair, one template per line; null for those of the last run. */
  const written = signal<string | null>(null);
  const curve = kernel.trait<Specification>("specification");
  const templates = computed(() => written.value ?? curve.value?.templates.join("\n") ?? "");
  return {
    curve,
    templates,
    write(text: string): void {
      written.value = text;
    },
    /** What came out at a tile of the prompts on the screen; null where nothing has run. */
    at({ component, head, layer, position, source }: Place): Finding | null {
      const now = experiment.now.value;
      if (now?.slots.some(isHeld)) return null; // it ran without them
      const read = now?.sources.find(([name]) => source === null || name === source)?.[1];
      return (
        curve.value?.findings?.find(
          (one) =>
            one.base === now?.base &&
            one.source === read &&
            one.component === component &&
            one.head === head &&
            one.layer === layer &&
            one.position === position,
        ) ?? null
      );
    },
    isRunning: computed(() => isAsked.value || curve.value?.share != null),
    async run(): Promise<void> {
      isAsked.value = true;
      try {
        const lines = templates.peek().split("\n");
        await kernel.request({
          kind: "specification",
          templates: lines.map((line) => line.trim()).filter(Boolean),
        });
      } catch (error) {
        notices.refuse((error as Error).message);
      } finally {
        isAsked.value = false;
      }
    },
  };
}
