// A line that screen readers speak.
import { type ReadonlySignal, signal } from "@preact/signals";

export function createVoice(): { said: ReadonlySignal<string>; say(text: string): void } {
  const said = signal("");
  return {
    said,
    /** The same line once more is spoken again. */
    say(text) {
      said.value = said.peek() === text ? `${text}\u00a0` : text;
    },
  };
}
