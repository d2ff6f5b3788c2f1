// The field for a prompt, with the tokens of what is typed beneath it.
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
  /** Left by a key, so that the focus has to go somewhere. */
  onLeave(): void;
}

export function PromptField({ app, entry, name, text, tokens, against, onLeave }: Props) {
  const draft = app.use(createDraft);
  const field = useRef<HTMLInputElement>(null);
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
        <input
          ref={field}
          class="vene-prompt-field"
          type="text"
          aria-label={name}
          aria-invalid={error != null}
          spellcheck={false}
          defaultValue={first}
          onInput={(event) => draft.type(event.currentTarget.value)}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key === "Enter") {
              // Else the rest of the key press goes to the button that gets the focus, and opens it again.
              event.preventDefault();
              entry.enter(event.currentTarget.value).then(() => entry.isOpen.peek() || onLeave());
            } else if (event.key === "Escape") {
              entry.close();
              onLeave();
            }
          }}
          onBlur={entry.close}
        />
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

const count = (tokens: TokenInfo[]) =>
  tokens.length === 1 ? "1 token" : `${tokens.length} tokens`;
