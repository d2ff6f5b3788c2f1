// One prompt: its name, its tokens, and the field that takes their place while it is edited.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { inPercent } from "../../domain/format";
import { promptOf } from "../../domain/sources";
import type { Candidate, TokenInfo } from "../../kernel/wire";
import { IconButton, PlainButton } from "../../ui/controls";
import { PencilIcon } from "../../ui/icons";
import { NameField } from "../../ui/NameField";
import { onResize } from "../../ui/onResize";
import { PromptField } from "./PromptField";
import { useEntry } from "./useEntry";

interface PromptProps {
  app: App;
  /** Null for the base. */
  source: string | null;
  text: string;
  /** Null while the kernel has not split the new text yet. */
  tokens: TokenInfo[] | null;
  /** The base's tokens, for a source. */
  against: TokenInfo[] | null;
  /** Token rows differ: those of the base are dropped on, those of a source are carried. */
  chips(tokens: TokenInfo[]): ComponentChildren;
  /** The likeliest next token of its plain run. */
  prediction: Candidate | undefined;
  onCommit(text: string, tokens: TokenInfo[] | null): void;
  /** Sources have names that can be changed. */
  whyNot?(name: string): string | null;
  onRename?(name: string): void;
  /** What stands behind the pencil, and under the row. */
  children?: ComponentChildren;
  note?: ComponentChildren;
}

export function Prompt(props: PromptProps) {
  const { app, source, text, tokens, against, note, prediction } = props;
  const label = source ?? "base";
  const entry = useEntry(app, {
    current: () => {
      const now = app.use(createExperiment).now.peek();
      return source === null ? now?.base : promptOf(now?.sources ?? [], source);
    },
    commit: props.onCommit,
  });
  const line = useRef<HTMLSpanElement>(null);
  // A long prompt starts at its end, where the prediction is read.
  useLayoutEffect(() => {
    const element = line.current;
    if (!element) return;
    const toEnd = () => {
      element.scrollLeft = element.scrollWidth;
    };
    toEnd();
    return onResize(element, toEnd);
  }, [tokens, entry.isOpen.value]);
  return (
    <div class="vene-prompt" data-prompt={label}>
      <PromptName {...props} label={label} />
      {entry.isOpen.value ? (
        <PromptField
          app={app}
          entry={entry}
          name={`Edit ${label}`}
          text={text}
          tokens={tokens}
          against={against}
        />
      ) : (
        <span class="vene-prompt-row">
          {/* biome-ignore lint/a11y/noStaticElementInteractions: the pencil does the same */}
          <span
            class="vene-prompt-line"
            ref={line}
            onDblClick={!app.kernel.offline ? entry.open : undefined}
          >
            {tokens ? (
              props.chips(tokens)
            ) : (
              <span class="vene-chips">
                <span class="vene-chip vene-old">{text.replaceAll("\n", "↵")}</span>
              </span>
            )}
          </span>
          {tokens && prediction && (
            <span class="vene-prompt-answer" title="Prediction of the plain run">
              → <b>{prediction.label.replace(/^␣/, "")}</b> {inPercent(prediction.probability)}
            </span>
          )}
          {!app.kernel.offline && (
            <span class="vene-prompt-tools">
              <IconButton name={`Edit ${label}`} onPress={entry.open}>
                <PencilIcon />
              </IconButton>
              {props.children}
            </span>
          )}
        </span>
      )}
      {note}
    </div>
  );
}

function PromptName({ app, source, label, whyNot, onRename }: PromptProps & { label: string }) {
  const isRenaming = useSignal(false);
  if (source === null || !onRename || !whyNot || app.kernel.offline) {
    return (
      <span class="vene-bare vene-prompt-name" title={label}>
        {label}
      </span>
    );
  }
  if (isRenaming.value) {
    return (
      <NameField
        name={`New name of source ${source}`}
        value={source}
        whyNot={whyNot}
        onDone={(name) => {
          isRenaming.value = false;
          if (name !== null) onRename(name);
        }}
      />
    );
  }
  return (
    <PlainButton
      class="vene-bare vene-prompt-name"
      aria-label={`Rename source ${source}`}
      title={`source ${source}: rename`}
      onClick={() => {
        isRenaming.value = true;
      }}
    >
      <span class="vene-arrow" aria-hidden="true">
        ⟵
      </span>
      {label}
    </PlainButton>
  );
}
