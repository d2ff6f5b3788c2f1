// Errors and notes of the kernel, until they are dismissed.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";

const GONE =
  "The kernel that computed this is gone: it restarted, stopped or lost its connection. Run the notebook again from its first cell to continue: the history comes back. Until then, the map shows previews, and earlier answers are kept.";
const SILENT =
  "No answer from the kernel for 10 s. If it is running a cell, the answer comes when the cell has ended; otherwise, run the notebook again from its first cell.";

export function createNotices({ kernel, effect }: App) {
  const { status } = kernel;
  const refused = signal<string | null>(null);
  const dismissed = signal<string | null>(null);
  const dismissedNote = signal<string | null>(null);

  // An error that the kernel has taken back may come again, and must then be shown again.
  effect(() => {
    if (!status.value?.error) dismissed.value = null;
    return undefined;
  });

  const said = computed(() => {
    if (kernel.isGone.value) return GONE;
    return kernel.isSilent.value ? SILENT : (status.value?.note ?? null);
  });

  return {
    error: computed(() => {
      const text = refused.value ?? status.value?.error ?? null;
      return text !== null && text === dismissed.value ? null : text;
    }),
    /** What else there is to know: that the kernel is gone or silent, or that the model has changed. */
    note: computed(() => {
      const text = said.value;
      return text === dismissedNote.value ? null : text;
    }),
    /** Shows why a request was refused. */
    refuse(why: string): void {
      refused.value = why;
      dismissed.value = null;
    },
    dismiss(): void {
      dismissed.value = status.peek()?.error ?? null;
      refused.value = null;
    },
    dismissNote(): void {
      dismissedNote.value = said.peek();
    },
  };
}
