// The screen: header, slots and map, the sentence, tokens and difference, the figure.
import { useLayoutEffect, useRef } from "preact/hooks";
import { Heard, Sentence } from "../features/answer/Sentence";
import { TokensPanel } from "../features/answer/View";
import { CodePanel } from "../features/code/View";
import { ComparePanel } from "../features/compare/View";
import { DifferencePanel } from "../features/difference/View";
import { FigurePanel } from "../features/figure/View";
import { Header } from "../features/header/View";
import { Help } from "../features/help/View";
import { HistoryStrip } from "../features/history/View";
import { Lecture } from "../features/lecture/View";
import { MapPanel } from "../features/map/View";
import { Alert } from "../features/notices/View";
import { SlotsPanel } from "../features/slots/View";
import { StoryPanel } from "../features/story/View";
import { guard, isFieldsOwn } from "./keys";
import { press, pressFirst } from "./shortcuts";
import type { State } from "./state";

export function App({ state }: { state: State }) {
  const root = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => (root.current ? guard(root.current) : undefined), []);
  const isLecture = state.lecture.isOn.value;
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
        if (!pressFirst(state, event)) return;
        event.preventDefault();
        event.stopPropagation();
      }}
      onKeyDown={(event) => {
        if (press(state, event)) event.preventDefault();
        else if (!isFieldsOwn(event)) return;
        event.stopPropagation();
      }}
    >
      {state.scene.value ? (
        <>
          {!isLecture && <Header state={state} />}
          {isLecture && <Alert state={state} />}
          {state.isHelpOpen.value && <Help />}
          <Heard state={state} />
          {isLecture ? (
            <Lecture state={state} />
          ) : (
            <>
              <StoryPanel state={state} />
              <div class="vene-grid">
                <SlotsPanel state={state} />
                <MapPanel state={state} />
                {/* Below the map: an error must not move the tiles under the pointer. */}
                <Alert state={state} />
                <Sentence state={state} />
                <HistoryStrip state={state} />
                {state.compare.isOpen.value && <ComparePanel state={state} />}
                <TokensPanel state={state} />
                <DifferencePanel state={state} />
                {state.code.isOpen.value && <CodePanel state={state} />}
                <FigurePanel state={state} />
              </div>
            </>
          )}
        </>
      ) : (
        <>
          <Alert state={state} />
          <p class="vene-hint vene-waiting">Waiting for the kernel…</p>
        </>
      )}
    </div>
  );
}
