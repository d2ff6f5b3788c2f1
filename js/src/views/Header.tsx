// The prompts, undo and redo, and the status line.
import { useSignal } from "@preact/signals";
import { freshSource, setBase, setPrompt } from "../experiments";
import type { State } from "../state";
import { IconButton } from "./controls";
import { PlusIcon, RedoIcon, UndoIcon } from "./icons";
import { NewPrompt, Prompt } from "./Prompt";
import { Cancel, Status } from "./Status";

export function Header({ state }: { state: State }) {
  const scene = state.scene.value;
  const experiment = state.experiment.value;
  const isAdding = useSignal(false);
  if (!scene || !experiment) return null;
  const names = Object.keys(experiment.sources);
  const base = experiment.base === scene.experiment.base ? scene.base : null;
  const add = (
    <button
      type="button"
      class="vene-button vene-add-source"
      title="Add a source prompt"
      onClick={() => {
        isAdding.value = true;
      }}
    >
      <PlusIcon /> {names.length === 0 ? "Add a source prompt" : "source"}
    </button>
  );
  return (
    <header class="vene-header">
      <div class="vene-prompts">
        <Prompt
          name="base"
          text={experiment.base}
          tokens={base}
          onCommit={(text) => state.commit(setBase(experiment, text))}
        />
        {names.map((name, n) => (
          <Prompt
            key={name}
            name={name}
            isSource
            text={experiment.sources[name] ?? ""}
            tokens={
              experiment.sources[name] === scene.experiment.sources?.[name]
                ? (scene.sources[name] ?? null)
                : null
            }
            against={base}
            onCommit={(text) => state.commit(setPrompt(experiment, name, text))}
          >
            {n === names.length - 1 && !isAdding.value && add}
          </Prompt>
        ))}
        {names.length === 0 && !isAdding.value && add}
        {isAdding.value && (
          <NewPrompt
            onDone={(text) => {
              isAdding.value = false;
              if (text) state.commit(setPrompt(experiment, freshSource(experiment), text));
            }}
          />
        )}
      </div>
      <div class="vene-header-tools">
        <Cancel state={state} />
        <IconButton
          name="Undo"
          title="Undo (Ctrl-Z)"
          isDisabled={state.history.value.past.length === 0}
          onPress={state.undo}
        >
          <UndoIcon />
        </IconButton>
        <IconButton
          name="Redo"
          title="Redo (Ctrl-Y)"
          isDisabled={state.history.value.future.length === 0}
          onPress={state.redo}
        >
          <RedoIcon />
        </IconButton>
        <button
          type="button"
          class="vene-button"
          data-opens="compare"
          aria-expanded={state.compare.isOpen.value}
          title="Compare any two runs (C)"
          onClick={state.compare.toggle}
        >
          Compare
        </button>
        <Status state={state} />
        <IconButton
          name="Clicks and keys"
          title="Clicks and keys (?)"
          isPressed={state.isHelpOpen.value}
          onPress={() => {
            state.isHelpOpen.value = !state.isHelpOpen.value;
          }}
        >
          ?
        </IconButton>
      </div>
    </header>
  );
}
