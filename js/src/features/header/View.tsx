// The prompts, undo and redo, and the status line.
import type { State } from "../../app/state";
import { CopyButton } from "../../ui/CopyButton";
import { IconButton } from "../../ui/controls";
import { RedoIcon, UndoIcon } from "../../ui/icons";
import { LectureButton } from "../lecture/View";
import { Prompts } from "../prompts/View";
import { Cancel, Status } from "./Status";

export function Header({ state }: { state: State }) {
  const scene = state.scene.value;
  const experiment = state.experiment.value;
  if (!scene || !experiment) return null;
  return (
    <div class="vene-header">
      <Prompts state={state} scene={scene} experiment={experiment} />
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
        <button
          type="button"
          class="vene-button"
          data-opens="code"
          aria-expanded={state.code.isOpen.value}
          title="The script that gives this result again"
          onClick={state.code.toggle}
        >
          Code
        </button>
        {!state.isOffline && (
          <CopyButton
            name="Share"
            title="Copy a token: vw.from_state(token) opens this screen again"
            text={async () => `vw.from_state("${await state.share.token()}")`}
          />
        )}
        <LectureButton state={state} />
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
    </div>
  );
}
