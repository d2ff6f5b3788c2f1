// The prompts, undo and redo, and what the numbers on the screen are: exact, preview or on their way.
import { freshSource, setBase, setPrompt } from "../experiments";
import { milliseconds } from "../format";
import type { State } from "../state";
import { IconButton } from "./controls";
import { RedoIcon, UndoIcon } from "./icons";
import { AddPrompt, Prompt } from "./Prompt";

export function Header({ state }: { state: State }) {
  const scene = state.scene.value;
  const experiment = state.experiment.value;
  if (!scene || !experiment) return null;
  const names = Object.keys(experiment.sources);
  const base = experiment.base === scene.experiment.base ? scene.base : null;
  return (
    <header class="vene-header">
      <div class="vene-prompts">
        <Prompt
          name="base"
          text={experiment.base}
          tokens={base}
          onCommit={(text) => state.commit(setBase(experiment, text))}
        />
        {names.map((name) => (
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
          />
        ))}
        <AddPrompt
          isFirst={names.length === 0}
          onCommit={(text) => state.commit(setPrompt(experiment, freshSource(experiment), text))}
        />
      </div>
      <div class="vene-header-tools">
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
        <Status state={state} />
      </div>
    </header>
  );
}

const NAMES = { exact: "exact", preview: "preview", busy: "running", none: "no result" };

const ABOUT = {
  exact: "Computed for exactly this experiment, alone, at batch size 1.",
  preview: "Taken from the map, which is computed in batches: equal up to float rounding.",
  busy: "The kernel is computing; what is shown belongs to the experiment before.",
  none: "There is no answer to this experiment; what is shown belongs to the one before.",
};

function Status({ state }: { state: State }) {
  const label = state.label.value;
  const status = state.status.value;
  const model = state.scene.value?.model;
  const parts: string[] = [NAMES[label]];
  if (label === "exact" && state.answer.value) {
    parts.push(milliseconds(state.answer.value.milliseconds));
  }
  if (model) parts.push(model.device);
  const progress = status?.progress ?? null;
  if (progress !== null) parts.push(`map ${Math.floor(100 * progress)} %`);
  const canCancel = progress !== null || (status?.busy ?? null) !== null;
  return (
    <div class="vene-status-line">
      <span
        class="vene-status"
        data-label={label}
        title={`${ABOUT[label]}${model ? `\n${model.name}, ${model.layers} layers, ${model.dtype}` : ""}`}
      >
        <i class="vene-status-mark" aria-hidden="true" />
        {parts.join(" · ")}
      </span>
      <button
        type="button"
        class="vene-button"
        style={{ visibility: canCancel ? "visible" : "hidden" }}
        onClick={state.cancel}
      >
        Cancel
      </button>
    </div>
  );
}
