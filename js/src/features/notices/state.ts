// Errors and notes of the kernel, until they are dismissed.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";

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

  return {
    error: computed(() => {
      const text = refused.value ?? status.value?.error ?? null;
      return text !== null && text === dismissed.value ? null : text;
    }),
    /** What else the kernel says, such as that the model has changed. */
    note: computed(() => {
      const text = status.value?.note ?? null;
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
      dismissedNote.value = status.peek()?.note ?? null;
    },
  };
}
