// The field for a prompt, as high as its lines, with the tokens of what is typed beneath it.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import type { TokenInfo } from "../../kernel/wire";
import { Chip, differing } from "./Chips";
import { createDraft } from "./draft";
import type { Entry } from "./useEntry";

interface Props {
  app: App;
  entry: Entry;
  /** Accessible name. */
  name: string;
  text: string;
  tokens: TokenInfo[] | null;
  /** The base's tokens: those that differ are marked. */
  against: TokenInfo[] | null;
}

export function PromptField({ app, entry, name, text, tokens, against }: Props) {
  const draft = app.use(createDraft);
  const field = useRef<HTMLTextAreaElement>(null);
  const first = entry.rejected.peek()?.text ?? text;
  useLayoutEffect(() => {
    draft.open(text, tokens);
    if (first !== text) draft.type(first);
    field.current?.focus();
  }, []);
  const { rejected } = entry;
  const isRejected = rejected.value !== null && rejected.value.text === draft.text.value;
  const error = isRejected ? rejected.value?.error : draft.error.value;
  const shown = draft.tokens.value;
  const isOld = draft.isOld.value;
  const marks = differing(shown, against);
  return (
    <span class="vene-prompt-edit">
      <span class="vene-prompt-typed">
        <span class="vene-prompt-grow" data-text={`${draft.text.value} `}>
          <textarea
            ref={field}
            class="vene-prompt-field"
            rows={1}
            enterkeyhint="done"
            aria-label={name}
            title="Shift-Enter: line break"
            aria-invalid={error != null}
            spellcheck={false}
            defaultValue={first}
            onInput={(event) => draft.type(typed(event.currentTarget, first))}
            onKeyDown={(event) => {
              event.stopPropagation();
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                // Else the rest of the key press goes to the button that gets the focus, and opens it again.
                event.preventDefault();
                entry.enter(typed(event.currentTarget, first));
              } else if (event.key === "Escape") entry.close();
            }}
            onBlur={entry.close}
          />
        </span>
        <span class="vene-note">Enter: apply · Esc: cancel</span>
      </span>
      {shown && (
        <span
          class={`vene-chips${isOld ? " vene-old" : ""}`}
          role="img"
          aria-label={`${isOld ? "as before" : count(shown)}: ${shown.map((token) => token.label).join(" ")}`}
        >
          {shown.map((token) => (
            <Chip key={token.index} token={token} differs={marks(token.index)} />
          ))}
          <span class="vene-note">{isOld ? "as before" : count(shown)}</span>
        </span>
      )}
      {error != null && (
        <span class="vene-field-error" role="alert">
          {error}
        </span>
      )}
    </span>
  );
}

/** A field's text with the line breaks of its first text; a field's own are all `\n`. */
function typed(field: HTMLTextAreaElement, first: string): string {
  const value = withNewlines(field.value);
  if (value === withNewlines(first)) return first;
  return first.includes("\r\n") ? value.replaceAll("\n", "\r\n") : value;
}

const withNewlines = (text: string) => text.replace(/\r\n?/g, "\n");

const count = (tokens: TokenInfo[]) =>
  tokens.length === 1 ? "1 token" : `${tokens.length} tokens`;
