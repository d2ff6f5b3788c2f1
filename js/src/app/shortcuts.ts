// What a key does on the screen as a whole; parts such as the map have their own, which come first.
import { type Action, actionOf, isField, isText, nameOf } from "./keys";
import type { State } from "./state";

/** Parts in which arrows, Home and End already mean something. */
const ROVING = "[role=grid], [role=toolbar], [role=listbox], .vene-slot-handle, .vene-chips";

/** Before any part of the screen: lecture mode has its own Space, digits and clicker keys. */
export function pressFirst(state: State, event: KeyboardEvent): boolean {
  const { lecture, story } = state;
  const target = event.target as Element;
  if (!lecture.isOn.peek() || isField(target)) return false;
  const action = actionOf("lecture", event);
  // A control that has the focus is pressed by Space, and a stroke on the map is dropped by Escape.
  if (nameOf(event).endsWith("Space") && target.matches("button, a, summary")) return false;
  if (action === "leave" && (state.isHelpOpen.peek() || state.lens.brush.stroke.peek())) {
    return false;
  }
  if (action !== null) {
    ({
      reveal: () => forth(state),
      cover: lecture.cover,
      map: lecture.toggleMap,
      leave: lecture.toggle,
    })[action]();
    return true;
  }
  const walk = story.step.peek() && actionOf("story", event);
  if (walk !== "forth" && walk !== "return" && walk !== "choose") return false;
  return walkBy(state, walk, event);
}

/** After all parts of the screen: what means the same everywhere. */
export function press(state: State, event: KeyboardEvent): boolean {
  const target = event.target as Element;
  const action = actionOf("everywhere", event);
  if (event.defaultPrevented || isText(target)) return false;
  const isHeld = event.ctrlKey || event.metaKey;
  if (isField(target) && !isHeld) return false;
  if (action !== null) return actEverywhere(state, action);
  const walk = state.story.step.peek() && actionOf("story", event);
  if (!walk || (target.closest(ROVING) && walk !== "choose")) return false;
  return walkBy(state, walk, event);
}

function actEverywhere(state: State, action: Action<"everywhere">): boolean {
  if (action === "clear") {
    if (state.isHelpOpen.peek()) state.isHelpOpen.value = false;
    else if (state.hover.peek()) state.hover.value = null;
    else return false;
    return true;
  }
  // At the lectern its panel is folded away.
  if (action === "compare" && state.lecture.isOn.peek()) return false;
  ({
    undo: state.undo,
    redo: state.redo,
    group: state.group,
    ungroup: state.ungroup,
    compare: state.compare.toggle,
    lecture: state.lecture.toggle,
    help: () => {
      state.isHelpOpen.value = !state.isHelpOpen.peek();
    },
  })[action]();
  return true;
}

function walkBy(state: State, action: Action<"story">, event: KeyboardEvent): boolean {
  const { story, lecture } = state;
  if (action === "choose") {
    if (!story.step.peek()?.choices.length) return false;
    lecture.choose(Number(event.key) - 1);
    return true;
  }
  const at = story.at.peek();
  ({
    next: () => state.walk(at + 1),
    back: () => state.walk(at - 1),
    first: () => state.walk(0),
    last: () => state.walk(story.steps.peek().length - 1),
    forth: () => forth(state),
    return: () => state.walk(at - 1),
  })[action]();
  return true;
}

/** One key for the whole lecture: first the answer, then the next step. */
function forth(state: State): void {
  if (state.lecture.isCovered.peek()) state.lecture.reveal();
  else if (state.story.step.peek()) state.walk(state.story.at.peek() + 1);
}
