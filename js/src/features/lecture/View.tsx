// Lecture mode: the step and its question, the map, and the answer behind its curtain, on one wall.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import type { TokenInfo } from "../../kernel/wire";
import { backToScreen } from "../../ui/backToScreen";
import { Button } from "../../ui/controls";
import { Sentence } from "../answer/Sentence";
import { HelpButton } from "../help/HelpButton";
import { MapPanel } from "../map/View";
import { Notices } from "../notices/View";
import { chipClass, differing } from "../prompts/Chips";
import { createStory } from "../story/state";
import { StoryPanel } from "../story/View";
import { Bars } from "./Bars";
import { Curtain } from "./Curtain";
import { enter, leaveFullScreen, toggleFullScreen } from "./fullScreen";
import { createLecture } from "./state";
import "./style.css";

export function Lecture({ app }: { app: App }) {
  const lecture = app.use(createLecture);
  const scene = app.use(createStory).scene.value;
  const wall = useRef<HTMLDivElement>(null);
  // However the lecture ends, its full screen ends with it.
  useLayoutEffect(() => {
    const host = wall.current?.closest(".vene-host") ?? null;
    return () => leaveFullScreen(host);
  }, []);
  if (!scene || !app.use(createExperiment).now.value) return null;
  return (
    <div class="vene-wall" ref={wall} data-covered={lecture.isCovered.value || undefined}>
      <div class="vene-wall-head">
        <StoryPanel app={app} />
        <div class="vene-lines">
          <Line name="base" tokens={scene.base} />
          {scene.sources.map(({ name, tokens }) => (
            <Line key={name} name={name} tokens={tokens} against={scene.base} />
          ))}
        </div>
      </div>
      <div class="vene-wall-body">
        <MapPanel app={app} />
        <div class="vene-wall-answer">
          {lecture.isCovered.value ? (
            <Curtain app={app} />
          ) : (
            <>
              <Sentence app={app} />
              <Bars app={app} />
            </>
          )}
          <Notices app={app} />
        </div>
      </div>
      <Foot app={app} />
    </div>
  );
}

/** A prompt to be read, not edited; what differs from the base is framed. */
function Line(props: { name: string; tokens: TokenInfo[]; against?: TokenInfo[] }) {
  const { name, tokens, against } = props;
  const differs = differing(tokens, against ?? null);
  return (
    <p class="vene-line">
      <span class="vene-line-name">{name}</span>
      {tokens.map((token) => (
        <span key={token.index} class={chipClass(differs(token.index))}>
          {token.label}
        </span>
      ))}
    </p>
  );
}

/** Where the story is, what the keys do, and buttons that keep to their corner. */
function Foot({ app }: { app: App }) {
  const { steps, at } = app.use(createStory);
  const lecture = app.use(createLecture);
  const count = steps.value.length;
  return (
    <div class="vene-wall-foot">
      {count > 0 && (
        <span class="vene-steps" role="img" aria-label={`Step ${at.value + 1} of ${count}`}>
          {steps.value.map((_, n) => (
            <i key={n} class="vene-step" data-here={n === at.value || undefined} />
          ))}
        </span>
      )}
      <span class="vene-wall-keys">
        Space reveals{count > 0 && " · ← → steps · Home starts over"} · Esc leaves
      </span>
      <span class="vene-wall-tools">
        <Button
          aria-pressed={lecture.isMapOpen.value}
          aria-keyshortcuts="M"
          title="Show the value of every tile (M)"
          onClick={(event) => {
            backToScreen(event);
            lecture.toggleMap();
          }}
        >
          Whole map
        </Button>
        {document.fullscreenEnabled && (
          <Button
            aria-keyshortcuts="F"
            title="Fill the screen (F)"
            onClick={(event) => {
              backToScreen(event);
              toggleFullScreen(event.currentTarget);
            }}
          >
            Full screen
          </Button>
        )}
        <LectureButton app={app} />
        <HelpButton app={app} />
      </span>
    </div>
  );
}

/** Enters and leaves lecture mode. */
export function LectureButton({ app }: { app: App }) {
  const { isOn, toggle } = app.use(createLecture);
  return (
    <Button
      aria-keyshortcuts="F"
      title={isOn.value ? "Back to the whole screen (Escape)" : "Large, for the back row (F)"}
      onClick={(event) => (isOn.value ? toggle() : enter(app, event.currentTarget))}
    >
      {isOn.value ? "Leave" : "Lecture"}
    </Button>
  );
}
