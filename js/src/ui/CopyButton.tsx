// A button that copies a text and says for two seconds that it did, or why it could not.

import { useSignal } from "@preact/signals";
import { Button } from "./controls";

interface Props {
  name: string;
  title?: string;
  /** What it says when the text is copied. */
  done?: string;
  /** The text, or how to come by it; a rejection's message is shown. */
  text: string | (() => Promise<string>);
}

/** Its words stand over it and beside nothing: the button keeps its width. */
export function CopyButton({ name, title, done = "Copied", text }: Props) {
  const said = useSignal<string | null>(null);
  async function copy(): Promise<void> {
    let wanted: string;
    try {
      wanted = typeof text === "string" ? text : await text();
    } catch (error) {
      say((error as Error).message);
      return;
    }
    try {
      await navigator.clipboard.writeText(wanted);
      say(done);
    } catch {
      say("The browser refused");
    }
  }
  function say(words: string): void {
    said.value = words;
    setTimeout(() => {
      said.value = null;
    }, 2000);
  }
  return (
    <span class="vene-copy">
      <Button title={title} onClick={copy}>
        {name}
      </Button>
      <span class="vene-popover vene-copy-said" role="status" aria-live="polite">
        {said.value}
      </span>
    </span>
  );
}
