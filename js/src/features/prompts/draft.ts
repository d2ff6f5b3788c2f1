// A text while it is typed: its tokens, asked of the kernel once the typing rests.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { TokenInfo } from "../../kernel/wire";

/** Milliseconds without a key after which the kernel is asked. */
export const REST = 120;
/** Milliseconds for which Enter waits for the tokens of what was typed last. */
export const PATIENCE = 1000;

interface Split {
  text: string;
  tokens: TokenInfo[] | null;
  error: string | null;
}

/** One text at a time: the page has one focus. */
export function createDraft({ kernel, onClose }: App) {
  const text = signal("");
  const split = signal<Split | null>(null);
  /** The text whose tokens are on their way. */
  let asked: string | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let waiting: ((found: Split | null) => void) | null = null;

  async function ask(): Promise<void> {
    clearTimeout(timer);
    const of = text.peek();
    if (asked === of || split.peek()?.text === of) return;
    asked = of;
    let tokens: TokenInfo[] | null = null;
    let error: string | null = null;
    try {
      tokens = (await kernel.request({ kind: "tokens", text: of })).tokens ?? null;
    } catch (refusal) {
      error = (refusal as Error).message;
    }
    // An answer to anything but the last question is of a text that is no longer there.
    if (asked !== of) return;
    asked = null;
    // What could not be split leaves the last good chips.
    split.value = { text: of, tokens: tokens ?? split.peek()?.tokens ?? null, error };
    if (of === text.peek()) settle(split.peek());
  }

  function settle(found: Split | null): void {
    waiting?.(found);
    waiting = null;
  }

  onClose(() => {
    clearTimeout(timer);
    settle(null);
  });

  return {
    text,
    /** The newest tokens there are, of `text` or of what stood there before. */
    tokens: computed(() => split.value?.tokens ?? null),
    /** Whether those are of an earlier text. */
    isOld: computed(() => split.value?.text !== text.value || split.value.error !== null),
    error: computed(() => (split.value?.text === text.value ? split.value.error : null)),

    open(now: string, tokens: TokenInfo[] | null): void {
      clearTimeout(timer);
      asked = null;
      settle(null);
      batch(() => {
        text.value = now;
        split.value = tokens && { text: now, tokens, error: null };
      });
    },
    type(now: string): void {
      text.value = now;
      clearTimeout(timer);
      timer = setTimeout(ask, REST);
    },
    /** What the kernel has said of this text already. */
    known(now: string): Split | null {
      text.value = now;
      return split.peek()?.text === now ? split.peek() : null;
    },
    /** Tokens or error of this text; null when the kernel is too busy to say. */
    async settled(now: string): Promise<Split | null> {
      text.value = now;
      const known = split.peek();
      if (known?.text === now) return known;
      settle(null);
      return new Promise((done) => {
        const late = setTimeout(() => settle(null), PATIENCE);
        waiting = (found) => {
          clearTimeout(late);
          done(found);
        };
        ask();
      });
    },
  };
}
