// Lecture mode: the story's step, the prompts, the map, and the answer behind its curtain.
import type { State } from "../../app/state";
import type { TokenInfo } from "../../kernel/wire";
import { backToScreen } from "../../ui/backToScreen";
import { IconButton } from "../../ui/controls";
import { Sentence } from "../answer/Sentence";
import { TokensPanel } from "../answer/View";
import { Status } from "../header/Status";
import { MapPanel } from "../map/View";
import { chipClass, differing } from "../prompts/Chips";
import { StoryPanel } from "../story/View";
import { Curtain } from "./Curtain";

export function Lecture({ state }: { state: State }) {
  const { lecture } = state;
  const [scene, experiment] = [state.scene.value, state.experiment.value];
  if (!scene || !experiment) return null;
  const isCovered = lecture.isCovered.value;
  // The legend names the plain runs' answers, which may be what is asked for.
  const isBase = isCovered && experiment.slots.every((slot) => slot.skip);
  return (
    <>
      <StoryPanel state={state} />
      <div class="vene-header">
        <div class="vene-prompts">
          <Line name="base" tokens={scene.base} />
          {Object.entries(scene.sources).map(([name, tokens]) => (
            <Line key={name} name={name} tokens={tokens} against={scene.base} />
          ))}
        </div>
        <div class="vene-header-tools">
          <Status state={state} />
          <LectureTools state={state} />
        </div>
      </div>
      <div class={`vene-lecture-grid${isBase ? " vene-lecture-base" : ""}`}>
        <MapPanel state={state} />
        <div class="vene-answer">
          {isCovered ? (
            <Curtain state={state} />
          ) : (
            <>
              <Sentence state={state} />
              <TokensPanel state={state} />
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

function LectureTools({ state }: { state: State }) {
  const { lecture } = state;
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
      <LectureButton state={state} />
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
    </>
  );
}

/** Enters and leaves lecture mode. */
export function LectureButton({ state }: { state: State }) {
  const isOn = state.lecture.isOn.value;
  return (
    <button
      type="button"
      class="vene-button"
      aria-keyshortcuts="F"
      title={isOn ? "Back to the whole screen (Escape)" : "Large, for the back row (F)"}
      onClick={state.lecture.toggle}
    >
      {isOn ? "Leave" : "Lecture"}
    </button>
  );
}
