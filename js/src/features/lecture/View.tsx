// Lecture mode: the story's step, the prompts, the map, and the answer behind its curtain.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import type { TokenInfo } from "../../kernel/wire";
import { backToScreen } from "../../ui/backToScreen";
import { IconButton } from "../../ui/controls";
import { Sentence } from "../answer/Sentence";
import { TokensPanel } from "../answer/View";
import { Status } from "../header/Status";
import { createHelp } from "../help/state";
import { MapPanel } from "../map/View";
import { chipClass, differing } from "../prompts/Chips";
import { createStory } from "../story/state";
import { StoryPanel } from "../story/View";
import { Curtain } from "./Curtain";
import { createLecture } from "./state";
import "./style.css";

export function Lecture({ app }: { app: App }) {
  const lecture = app.use(createLecture);
  const [scene, experiment] = [
    app.use(createStory).scene.value,
    app.use(createExperiment).now.value,
  ];
  if (!scene || !experiment) return null;
  const isCovered = lecture.isCovered.value;
  // The legend names the plain runs' answers, which may be what is asked for.
  const isBase = isCovered && experiment.slots.every((slot) => slot.skip);
  return (
    <>
      <StoryPanel app={app} />
      <div class="vene-header">
        <div class="vene-prompts">
          <Line name="base" tokens={scene.base} />
          {Object.entries(scene.sources).map(([name, tokens]) => (
            <Line key={name} name={name} tokens={tokens} against={scene.base} />
          ))}
        </div>
        <div class="vene-header-tools">
          <Status app={app} />
          <LectureTools app={app} />
        </div>
      </div>
      <div class={`vene-lecture-grid${isBase ? " vene-lecture-base" : ""}`}>
        <MapPanel app={app} />
        <div class="vene-answer">
          {isCovered ? (
            <Curtain app={app} />
          ) : (
            <>
              <Sentence app={app} />
              <TokensPanel app={app} />
            </>
          )}
        </div>
      </div>
    </>
  );
}

/** A prompt to be read, not edited; what differs from the base is framed. */
function Line(props: { name: string; tokens: TokenInfo[]; against?: TokenInfo[] }) {
  const { name, tokens, against } = props;
  const differs = differing(tokens, against ?? null);
  return (
    <p class="vene-line">
      <span class="vene-line-name">
        {against && <span aria-hidden="true">⟵ </span>}
        {name}
      </span>
      {tokens.map((token) => (
        <span key={token.index} class={chipClass(differs(token.index))}>
          {token.label}
        </span>
      ))}
    </p>
  );
}

function LectureTools({ app }: { app: App }) {
  const lecture = app.use(createLecture);
  return (
    <>
      <button
        type="button"
        class="vene-button"
        aria-pressed={lecture.isMapOpen.value}
        aria-keyshortcuts="M"
        title="Show every tile’s value (M)"
        onClick={(event) => {
          backToScreen(event);
          lecture.toggleMap();
        }}
      >
        Whole map
      </button>
      {document.fullscreenEnabled && (
        <button
          type="button"
          class="vene-button"
          title="Fill the screen; Escape comes back"
          onClick={(event) => {
            backToScreen(event);
            if (document.fullscreenElement) document.exitFullscreen();
            // The host, because the layout follows the host's width.
            else event.currentTarget.closest(".vene-host")?.requestFullscreen();
          }}
        >
          Full screen
        </button>
      )}
      <LectureButton app={app} />
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
    </>
  );
}

/** Enters and leaves lecture mode. */
export function LectureButton({ app }: { app: App }) {
  const isOn = app.use(createLecture).isOn.value;
  return (
    <button
      type="button"
      class="vene-button"
      aria-keyshortcuts="F"
      title={isOn ? "Back to the whole screen (Escape)" : "Large, for the back row (F)"}
      onClick={app.use(createLecture).toggle}
    >
      {isOn ? "Leave" : "Lecture"}
    </button>
  );
}
