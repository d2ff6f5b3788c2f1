// The prompts, what can be done with the whole screen, and what its numbers are.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { CopyButton } from "../../ui/CopyButton";
import { IconButton } from "../../ui/controls";
import { RedoIcon, UndoIcon } from "../../ui/icons";
import { Back } from "../dataset/View";
import { HelpButton } from "../help/HelpButton";
import { LectureButton } from "../lecture/View";
import { Prompts } from "../prompts/View";
import { createShare } from "../share/state";
import { createStory } from "../story/state";
import { Cancel } from "./Status";
import "./style.css";

export function Header({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const { now, undoList, undo, redo } = app.use(createExperiment);
  const experiment = now.value;
  if (!scene || !experiment) return null;
  return (
    <section class="vene-header" data-panel="prompts" aria-label="Prompts">
      <Prompts app={app} scene={scene} experiment={experiment} />
      <div class="vene-header-tools">
        <Cancel app={app} />
        <IconButton
          name="Undo"
          title="Undo (Ctrl-Z)"
          isDisabled={undoList.value.past.length === 0}
          onPress={undo}
        >
          <UndoIcon />
        </IconButton>
        <IconButton
          name="Redo"
          title="Redo (Ctrl-Y)"
          isDisabled={undoList.value.future.length === 0}
          onPress={redo}
        >
          <RedoIcon />
        </IconButton>
        {!app.kernel.offline && (
          <CopyButton
            name="Share"
            title="Copy this screen: paste it into a notebook as vw.from_state(…)"
            done="Copied: paste it into a notebook"
            text={async () => `vw.from_state("${await app.use(createShare).token()}")`}
          />
        )}
        <LectureButton app={app} />
        <HelpButton app={app} />
        <Back app={app} />
      </div>
    </section>
  );
}
