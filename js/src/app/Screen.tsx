// The screen: header, slots and map, the sentence, tokens and difference, the figure.
import { useLayoutEffect, useRef } from "preact/hooks";
import { Heard, Sentence } from "../features/answer/Sentence";
import { TokensPanel } from "../features/answer/View";
import { createCode } from "../features/code/state";
import { CodePanel } from "../features/code/View";
import { createCompare } from "../features/compare/state";
import { ComparePanel } from "../features/compare/View";
import { DifferencePanel } from "../features/difference/View";
import { FigurePanel } from "../features/figure/View";
import { Header } from "../features/header/View";
import { createHelp } from "../features/help/state";
import { Help } from "../features/help/View";
import { HistoryStrip } from "../features/history/View";
import { createLecture } from "../features/lecture/state";
import { Lecture } from "../features/lecture/View";
import { MapPanel } from "../features/map/View";
import { Alert } from "../features/notices/View";
import { SlotsPanel } from "../features/slots/View";
import { createStory } from "../features/story/state";
import { StoryPanel } from "../features/story/View";
import type { App } from "./app";
import { guard, isFieldsOwn } from "./keys";
import { press, pressFirst } from "./shortcuts";

export function Screen({ app }: { app: App }) {
  const root = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => (root.current ? guard(root.current) : undefined), []);
  const isLecture = app.use(createLecture).isOn.value;
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
        event.preventDefault();
        event.stopPropagation();
      }}
      onKeyDown={(event) => {
        if (press(app, event)) event.preventDefault();
        else if (!isFieldsOwn(event)) return;
        event.stopPropagation();
      }}
    >
      {app.use(createStory).scene.value ? (
        <>
          {!isLecture && <Header app={app} />}
          {isLecture && <Alert app={app} />}
          {app.use(createHelp).isOpen.value && <Help />}
          <Heard app={app} />
          {isLecture ? (
            <Lecture app={app} />
          ) : (
            <>
              <StoryPanel app={app} />
              <div class="vene-grid">
                <SlotsPanel app={app} />
                <MapPanel app={app} />
                {/* Below the map: an error must not move the tiles under the pointer. */}
                <Alert app={app} />
                <Sentence app={app} />
                <HistoryStrip app={app} />
                {app.use(createCompare).isOpen.value && <ComparePanel app={app} />}
                <TokensPanel app={app} />
                <DifferencePanel app={app} />
                {app.use(createCode).isOpen.value && <CodePanel app={app} />}
                <FigurePanel app={app} />
              </div>
            </>
          )}
        </>
      ) : (
        <>
          <Alert app={app} />
          <p class="vene-hint vene-waiting">Waiting for the kernel…</p>
        </>
      )}
    </div>
  );
}
