// What a key does on the screen as a whole; parts such as the map have their own, which come first.

import { createCompare } from "../features/compare/state";
import { createDataSet } from "../features/dataset/state";
import { createHelp } from "../features/help/state";
import { enter, toggleFullScreen } from "../features/lecture/fullScreen";
import { createLecture } from "../features/lecture/state";
import { createMap } from "../features/map/state";
import { createPlacebo } from "../features/placebo/state";
import { createSlots } from "../features/slots/state";
import { createStory } from "../features/story/state";
import type { App } from "./app";
import { createExperiment } from "./experiment";
import { type Action, actionOf, isField, isText, nameOf } from "./keys";

/** Parts in which arrows, Home and End already mean something. */
const ROVING = "[role=grid], [role=toolbar], [role=listbox], .vene-slot-handle, .vene-chips";

/** Before any part of the screen: lecture mode has its own Space, digits and clicker keys. */
export function pressFirst(app: App, event: KeyboardEvent): boolean {
  const lecture = app.use(createLecture);
  const story = app.use(createStory);
  const target = event.target as Element;
  if (!lecture.isOn.peek() || isField(target)) return false;
  const action = actionOf("lecture", event);
  // A control that has the focus is pressed by Space, and a stroke on the map is dropped by Escape.
  if (nameOf(event).endsWith("Space") && target.matches("button, a, summary")) return false;
  if (
    action === "leave" &&
    (app.use(createHelp).isOpen.peek() || app.use(createMap).brush.stroke.peek())
  ) {
    return false;
  }
  if (action) {
    if (action === "choose") {
      const index = nameOf(event).charCodeAt(0) - "A".charCodeAt(0);
      if (lecture.choose(index)) return true;
    } else {
      ({
        reveal: () => forth(app),
        cover: lecture.cover,
        map: lecture.toggleMap,
        leave: lecture.toggle,
      })[action]();
      return true;
    }
  }
  const walk = story.step.peek() && actionOf("story", event);
  if (walk !== "forth" && walk !== "return" && walk !== "choose") return false;
  return walkBy(app, walk, event);
}

/** After all parts of the screen: what means the same everywhere. */
export function press(app: App, event: KeyboardEvent): boolean {
  const target = event.target as Element;
  const action = actionOf("everywhere", event);
  if (event.defaultPrevented || isText(target)) return false;
  const isHeld = event.ctrlKey || event.metaKey;
  if (isField(target) && !isHeld) return false;
  if (action) return actEverywhere(app, action, target);
  const walk = app.use(createStory).step.peek() && actionOf("story", event);
  if (!walk || (target.closest(ROVING) && walk !== "choose")) return false;
  return walkBy(app, walk, event);
}

function actEverywhere(app: App, action: Action<"everywhere">, target: Element): boolean {
  // Nothing else acts on a data set: its experiment is not in sight.
  if (app.use(createDataSet).isShown.peek() && !/help|clear/.test(action)) return false;
  const [help, lecture] = [app.use(createHelp), app.use(createLecture)];
  const [slots, { hover }] = [app.use(createSlots), app.use(createMap)];
  if (action === "clear") {
    if (help.isOpen.peek()) help.isOpen.value = false;
    else if (slots.open.peek() !== null) slots.closeDetails();
    else if (hover.peek()) hover.value = null;
    else return false;
    return true;
  }
  // At the lectern its panel is folded away.
  if (action === "compare" && lecture.isOn.peek()) return false;
  const { undo, redo } = app.use(createExperiment);
  ({
    undo,
    redo,
    group: slots.group,
    ungroup: slots.ungroup,
    compare: app.use(createCompare).toggle,
    placebo: app.use(createPlacebo).next,
    lecture: () => {
      if (!lecture.isOn.peek()) enter(app, target);
      else if (document.fullscreenEnabled) toggleFullScreen(target);
      else lecture.toggle();
    },
    help: help.toggle,
  })[action]();
  return true;
}

function walkBy(app: App, action: Action<"story">, event: KeyboardEvent): boolean {
  const story = app.use(createStory);
  const lecture = app.use(createLecture);
  if (action === "choose") {
    return lecture.choose(Number(event.key) - 1);
  }
  const { at, steps, walk } = story;
  const back = () => walk(at.peek() - 1);
  ({
    next: () => walk(at.peek() + 1),
    back,
    first: () => {
      // From the beginning again: a rehearsal leaves nothing open.
      if (lecture.isOn.peek()) lecture.coverAll();
      walk(0);
    },
    last: () => walk(steps.peek().length - 1),
    forth: () => forth(app),
    return: back,
  })[action]();
  return true;
}

/** One key for the whole lecture: the answer, back to the step if it was left, the next step. */
function forth(app: App): void {
  const lecture = app.use(createLecture);
  const { step, at, isThere, walk } = app.use(createStory);
  if (lecture.isCovered.peek()) lecture.reveal();
  else if (step.peek()) walk(isThere.peek() ? at.peek() + 1 : at.peek());
}
