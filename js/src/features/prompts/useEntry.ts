// A prompt while it is edited: open, sent, and open again with the reason when it was refused.
import { effect, useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import type { State } from "../../app/state";
import type { TokenInfo } from "../../kernel/wire";

export type Entry = ReturnType<typeof useEntry>;

interface Wanted {
  /** The prompt as it stands; undefined while there is none. */
  current(): string | undefined;
  commit(text: string, tokens: TokenInfo[] | null): void;
}

export function useEntry(state: State, { current, commit }: Wanted) {
  const { draft } = state;
  const isOpen = useSignal(false);
  const rejected = useSignal<{ text: string; error: string } | null>(null);
  const sent = useSignal<{ text: string; id: string } | null>(null);

  const judge = () => {
    const asked = sent.value;
    const pending = state.pending.value;
    if (!asked || pending?.id === asked.id) return;
    sent.value = null;
    const error = state.error.peek();
    if (error === null || current() === asked.text) return;
    // The reason stands at the field, with what was typed; nowhere else.
    state.dismiss();
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
      if (text === (current() ?? "")) return close();
      // Slots go with their tokens, so these must be known first.
      const hasSlots = (state.experiment.peek()?.slots.length ?? 0) > 0;
      const split = hasSlots ? await draft.settled(text) : draft.known(text);
      if (!isOpen.peek() || draft.text.peek() !== text || split?.error) return;
      close();
      commit(text, split?.tokens ?? null);
      const id = state.pending.peek()?.id;
      if (id) sent.value = { text, id };
    },
  };
}
