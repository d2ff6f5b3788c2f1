// One prompt as its tokens; double-click or the pencil makes it a text field.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { sharedEnds } from "../geometry";
import type { TokenInfo } from "../wire";
import { IconButton } from "./controls";
import { PencilIcon } from "./icons";

interface PromptProps {
  name: string;
  text: string;
  /** Null while the kernel has not split the new text yet. */
  tokens: TokenInfo[] | null;
  onCommit(text: string): void;
  isSource?: boolean;
  /** The base's tokens: those that differ are marked. */
  against?: TokenInfo[] | null;
  /** What stands behind the pencil. */
  children?: ComponentChildren;
}

export function Prompt({ name, text, tokens, onCommit, isSource, against, children }: PromptProps) {
  const isEditing = useSignal(false);
  const ids = (list: TokenInfo[]) => list.map((token) => token.id);
  const same = tokens && against ? sharedEnds(ids(tokens), ids(against)) : null;
  const differs = (index: number) =>
    same !== null && index >= same.start && index < (tokens?.length ?? 0) - same.end;
  const label = isSource ? (name === "source" ? "source" : name) : "base";
  return (
    <div class="vene-prompt" data-prompt={name}>
      <span class="vene-prompt-name" title={isSource ? `source ${name}` : "base"}>
        {isSource && (
          <span class="vene-arrow" aria-hidden="true">
            ⟵
          </span>
        )}
        {label}
      </span>
      {isEditing.value ? (
        <PromptField
          name={`Edit ${label}`}
          text={text}
          onDone={(wanted) => {
            isEditing.value = false;
            if (wanted !== null && wanted !== text) onCommit(wanted);
          }}
        />
      ) : (
        <>
          {/* biome-ignore lint/a11y/noStaticElementInteractions: the pencil does the same */}
          <span
            class="vene-chips"
            onDblClick={() => {
              isEditing.value = true;
            }}
          >
            {tokens ? (
              tokens.map((token) => (
                <span
                  key={token.index}
                  class={`vene-chip${differs(token.index) ? " vene-chip-differs" : ""}`}
                  title={`position ${token.index} · id ${token.id}`}
                >
                  {token.label}
                </span>
              ))
            ) : (
              <span class="vene-chip vene-old">{text}</span>
            )}
          </span>
          <IconButton
            name={`Edit ${label}`}
            onPress={() => {
              isEditing.value = true;
            }}
          >
            <PencilIcon />
          </IconButton>
          {children}
        </>
      )}
    </div>
  );
}

/** The field for one more source prompt. */
export function NewPrompt({ onDone }: { onDone(text: string | null): void }) {
  return (
    <div class="vene-prompt">
      <span class="vene-prompt-name">new source</span>
      <PromptField name="New source" text="" onDone={onDone} />
    </div>
  );
}

/** Enter gives the text, Escape and leaving the field give null. */
function PromptField({
  name,
  text,
  onDone,
}: {
  name: string;
  text: string;
  onDone(text: string | null): void;
}) {
  return (
    <input
      class="vene-prompt-field"
      type="text"
      aria-label={name}
      title="Enter runs it, Escape leaves it as it was"
      spellcheck={false}
      defaultValue={text}
      ref={(field) => {
        if (field && document.activeElement !== field) field.focus();
      }}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") onDone(event.currentTarget.value);
        else if (event.key === "Escape") onDone(null);
      }}
      onBlur={() => onDone(null)}
    />
  );
}
