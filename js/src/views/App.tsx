// The screen: header, slots and map, the sentence, tokens and difference, the figure.
import type { State } from "../state";
import { Alert } from "./Alert";
import { CodePanel } from "./CodePanel";
import { ComparePanel } from "./ComparePanel";
import { DifferencePanel } from "./DifferencePanel";
import { FigurePanel } from "./FigurePanel";
import { Header } from "./Header";
import { Help } from "./Help";
import { HistoryStrip } from "./HistoryStrip";
import { MapPanel } from "./MapPanel";
import { Sentence } from "./Sentence";
import { SlotsPanel } from "./SlotsPanel";
import { TokensPanel } from "./TokensPanel";

export function App({ state }: { state: State }) {
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: keys for the whole screen; every action also has a button
    <div
      class="vene-root"
      data-lm-suppress-shortcuts="true"
      onKeyDown={(event) => {
        if (handleKey(state, event)) event.preventDefault();
        else if (!isFieldsOwn(event)) return;
        event.stopPropagation();
      }}
    >
      {state.scene.value ? (
        <>
          <Header state={state} />
          <Alert state={state} />
          {state.isHelpOpen.value && <Help />}
          <div class="vene-grid">
            <SlotsPanel state={state} />
            <MapPanel state={state} />
            <Sentence state={state} />
            <HistoryStrip state={state} />
            {state.compare.isOpen.value && <ComparePanel state={state} />}
            <TokensPanel state={state} />
            <DifferencePanel state={state} />
            {state.code.isOpen.value && <CodePanel state={state} />}
            <FigurePanel state={state} />
          </div>
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

const FIELDS = "input, select, textarea";

/** Fields in which one types have an undo of their own; sliders and menus have none. */
const TEXTS = 'input:not([type="range"]), textarea';

/** Keys by which fields and menus are used: the notebook would move its cells with the arrows. */
function isFieldsOwn(event: KeyboardEvent): boolean {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  return isPlain && event.key !== "Escape" && (event.target as HTMLElement).matches(FIELDS);
}

/** Keys that mean the same everywhere on the screen; text fields and menus keep theirs. */
function handleKey(state: State, event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || target.matches(TEXTS)) return false;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    if (key === "z") return event.shiftKey ? state.redo() || true : state.undo() || true;
    if (key === "y") return state.redo() || true;
    return false;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches(FIELDS)) return false;
  if (key === "g") state.group();
  else if (key === "u") state.ungroup();
  else if (key === "c") state.compare.toggle();
  else if (key === "?") state.isHelpOpen.value = !state.isHelpOpen.value;
  else if (key === "escape" && state.hover.value) state.hover.value = null;
  else return false;
  return true;
}
