// The prompts, undo and redo, and the status line.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { CopyButton } from "../../ui/CopyButton";
import { IconButton } from "../../ui/controls";
import { RedoIcon, UndoIcon } from "../../ui/icons";
import { createCode } from "../code/state";
import { createCompare } from "../compare/state";
import { createHelp } from "../help/state";
import { LectureButton } from "../lecture/View";
import { Prompts } from "../prompts/View";
import { createShare } from "../share/state";
import { createStory } from "../story/state";
import { Cancel, Status } from "./Status";
import "./style.css";

export function Header({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const experiment = app.use(createExperiment).now.value;
  if (!scene || !experiment) return null;
  return (
    <div class="vene-header">
      <Prompts app={app} scene={scene} experiment={experiment} />
      <div class="vene-header-tools">
        <Cancel app={app} />
        <IconButton
          name="Undo"
          title="Undo (Ctrl-Z)"
          isDisabled={app.use(createExperiment).undoList.value.past.length === 0}
          onPress={app.use(createExperiment).undo}
        >
          <UndoIcon />
        </IconButton>
        <IconButton
          name="Redo"
          title="Redo (Ctrl-Y)"
          isDisabled={app.use(createExperiment).undoList.value.future.length === 0}
          onPress={app.use(createExperiment).redo}
        >
          <RedoIcon />
        </IconButton>
        <button
          type="button"
          class="vene-button"
          data-opens="compare"
          aria-expanded={app.use(createCompare).isOpen.value}
          title="Compare any two runs (C)"
          onClick={app.use(createCompare).toggle}
        >
          Compare
        </button>
        <button
          type="button"
          class="vene-button"
          data-opens="code"
          aria-expanded={app.use(createCode).isOpen.value}
          title="The script that gives this result again"
          onClick={app.use(createCode).toggle}
        >
          Code
        </button>
        {!app.kernel.isOffline && (
          <CopyButton
            name="Share"
            title="Copy a token: vw.from_state(token) opens this screen again"
            text={async () => `vw.from_state("${await app.use(createShare).token()}")`}
          />
        )}
        <LectureButton app={app} />
        <Status app={app} />
        <IconButton
          name="Clicks and keys"
          title="Clicks and keys (?)"
          isPressed={app.use(createHelp).isOpen.value}
          onPress={() => {
            app.use(createHelp).isOpen.value = !app.use(createHelp).isOpen.value;
          }}
        >
          ?
        </IconButton>
      </div>
    </div>
  );
}
