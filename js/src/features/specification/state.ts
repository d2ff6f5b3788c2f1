// Is it real?: the finding on the screen under every choice of method.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { Specification } from "../../kernel/wire";
import { createNotices } from "../notices/state";

export function createSpecification(app: App) {
  const { kernel } = app;
  const notices = app.use(createNotices);
  const isAsked = signal(false);
  const curve = kernel.trait<Specification>("specification");
  return {
    curve,
    isRunning: computed(() => isAsked.value || curve.value?.share != null),
    async run(): Promise<void> {
      isAsked.value = true;
      try {
        await kernel.request({ kind: "specification" });
      } catch (error) {
        notices.refuse((error as Error).message);
      } finally {
        isAsked.value = false;
      }
    },
  };
}
