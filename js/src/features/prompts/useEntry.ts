// A prompt while it is edited: open, sent, and open again with the reason when it was refused.
import { effect, useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import type { TokenInfo } from "../../kernel/wire";
import { createNotices } from "../notices/state";
import { createDraft } from "./draft";

export type Entry = ReturnType<typeof useEntry>;

interface Wanted {
  /** The prompt as it stands; undefined while there is none. */
  current(): string | undefined;
  commit(text: string, tokens: TokenInfo[] | null): void;
}

export function useEntry(app: App, { current, commit }: Wanted) {
  const draft = app.use(createDraft);
  const isOpen = useSignal(false);
  const rejected = useSignal<{ text: string; error: string } | null>(null);
  const sent = useSignal<{ text: string; id: string } | null>(null);

  const judge = () => {
    const asked = sent.value;
    const pending = app.use(createExperiment).pending.value;
    if (!asked || pending?.id === asked.id) return;
    sent.value = null;
    const error = app.use(createNotices).error.peek();
    if (error === null || current() === asked.text) return;
    // The reason stands at the field, with what was typed; nowhere else.
    app.use(createNotices).dismiss();
    rejected.value = { text: asked.text, error };
    isOpen.value = true;
  };
  // Listening before anything can be typed; a prompt's row is of one prompt as long as it lives.
  useLayoutEffect(() => effect(judge), []);

  const close = () => {
    rejected.value = null;
    isOpen.value = false;
  };
  return {
    isOpen,
    rejected,
    open: () => {
      isOpen.value = true;
    },
    close,
    async enter(text: string): Promise<void> {
      if (text === current()) return close();
      // Slots go with their tokens, so these must be known first.
      const hasSlots = (app.use(createExperiment).now.peek()?.slots.length ?? 0) > 0;
      const isAsked = hasSlots || text === ""; // of nothing, the kernel says what is wrong
      const split = isAsked ? await draft.settled(text) : draft.known(text);
      if (!isOpen.peek() || draft.text.peek() !== text || split?.error) return;
      close();
      commit(text, split?.tokens ?? null);
      const id = app.use(createExperiment).pending.peek()?.id;
      if (id) sent.value = { text, id };
    },
  };
}
