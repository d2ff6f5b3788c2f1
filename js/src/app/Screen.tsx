// The screen: prompts, map and result in one view, the drawer below; or the lecture instead.
import { useLayoutEffect, useRef } from "preact/hooks";
import { Sentence, Spoken } from "../features/answer/Sentence";
import { AnswerPanel } from "../features/answer/View";
import { createDataSet } from "../features/dataset/state";
import { DataSetView } from "../features/dataset/View";
import { VerdictPanel } from "../features/difference/Verdict";
import { DifferencePanel } from "../features/difference/View";
import { Drawer } from "../features/drawer/View";
import { Status } from "../features/header/Status";
import { Header } from "../features/header/View";
import { createHelp } from "../features/help/state";
import { Help } from "../features/help/View";
import { HistoryPanel } from "../features/history/View";
import { createLecture } from "../features/lecture/state";
import { Lecture } from "../features/lecture/View";
import { MapPanel } from "../features/map/View";
import { Notices } from "../features/notices/View";
import { SlotsPanel } from "../features/slots/View";
import { createStory } from "../features/story/state";
import { StoryPanel } from "../features/story/View";
import { bringIntoSight } from "../ui/bringIntoSight";
import { keepFocus } from "../ui/keepFocus";
import type { App } from "./app";
import { consume, guard, isFieldsOwn } from "./keys";
import { press, pressFirst } from "./shortcuts";
import { TABS } from "./tabs";

export function Screen({ app }: { app: App }) {
  const root = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => guard(root.current as HTMLElement), []);
  useLayoutEffect(() => keepFocus(root.current as HTMLElement), []);
  const { scene } = app.use(createStory);
  const isThere = scene.value !== null;
  useLayoutEffect(
    () => (isThere ? bringIntoSight(root.current as HTMLElement) : undefined),
    [isThere],
  );
  const isLecture = app.use(createLecture).isOn.value;
  const isData = app.use(createDataSet).isShown.value && !isLecture;
  // Where the focus was is gone when the mode changes; it stays on the screen, so that keys do.
  const before = useRef(isLecture);
  useLayoutEffect(() => {
    if (before.current !== isLecture) root.current?.focus({ preventScroll: true });
    before.current = isLecture;
  }, [isLecture]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: keys for the whole screen; every action also has a button
    <div
      ref={root}
      class={`vene-root${isLecture ? " vene-lecture" : ""}`}
      // Not by Tab: a click between the controls brings the focus here, and with it the keys.
      tabIndex={-1}
      onKeyDownCapture={(event) => {
        if (!pressFirst(app, event)) return;
        consume(event);
      }}
      onKeyDown={(event) => {
        if (press(app, event)) event.preventDefault();
        else if (!isFieldsOwn(event)) return;
        event.stopPropagation();
      }}
    >
      {isThere ? (
        <>
          {!isData && <Spoken app={app} />}
          {isData ? (
            <DataSetView app={app} />
          ) : isLecture ? (
            <Lecture app={app} />
          ) : (
            <Explorer app={app} />
          )}
          {app.use(createHelp).isOpen.value && <Help app={app} />}
        </>
      ) : (
        <>
          <Notices app={app} />
          <p class="vene-hint vene-waiting">Waiting for the kernel…</p>
        </>
      )}
    </div>
  );
}

/** Cause and effect in one view; what is opened on demand is in the drawer below it. */
function Explorer({ app }: { app: App }) {
  return (
    <>
      <div class="vene-view">
        <Header app={app} />
        <StoryPanel app={app} />
        <div class="vene-main">
          <MapPanel app={app} />
          <div class="vene-result">
            <div class="vene-result-head">
              <Sentence app={app} />
              <Status app={app} />
            </div>
            <div class="vene-result-rows">
              <AnswerPanel app={app} />
              <DifferencePanel app={app} />
            </div>
            <VerdictPanel app={app} />
            {/* Over the result, so that an error moves nothing under the pointer. */}
            <Notices app={app} />
          </div>
          <SlotsPanel app={app} />
          <HistoryPanel app={app} />
        </div>
      </div>
      <Drawer app={app} tabs={TABS} />
    </>
  );
}
