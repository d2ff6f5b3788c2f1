import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { aDataSet, aStory, sceneOf, spainAndItaly } from "../dev/fixtures";
import { nameOf, type Row, type Scope, shownKeys, TABLE } from "../src/app/keys";
import { click, drawn, mount, openTab, pathsOf, patternsOf, press, tile } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector) as HTMLElement;
const root = () => $(".vene-root");

/** A key of the table as the browser sends it. */
function eventOf(name: string): [string, KeyboardEventInit] {
  const parts = name.split("+");
  const last = parts.pop() as string;
  const held = {
    ctrlKey: parts.includes("Ctrl"),
    altKey: parts.includes("Alt"),
    shiftKey: parts.includes("Shift"),
  };
  const key = { Space: " ", "1-9": "2", "A-I": "B" }[last] ?? last;
  return [/^[A-Z]$/.test(key) && !held.shiftKey ? key.toLowerCase() : key, held];
}

/** A widget in which everything can be pressed: slots, a past, a story with a question. */
async function full(isLecture = false, more = {}): Promise<void> {
  const slots = [
    { layer: 0, position: 3, source: "italy", group: "A" },
    { layer: 2, position: 4, source: "italy", group: "A" },
  ];
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 6, 1, null);
  const entry = (number: number) => ({
    number,
    name: null,
    experiment: { ...scene.experiment, slots: slots.slice(0, number) },
    sentence: "Said.",
    label: "␣Rome",
    probability: 0.9,
    tokens: 5,
  });
  screen = mount({
    ...{ scene, steps: aStory(), step: 1, past: { entries: [entry(1), entry(2)] }, ...more },
  });
  if (isLecture) press(root(), "f");
  await drawn();
}

/** Where each part's keys are pressed, and what has to be done before some of them. */
const PLACES: Record<Scope, () => HTMLElement> = {
  everywhere: root,
  map: () => tile(screen.el, 2, 3),
  pairs: () => tile(screen.el, 2, 3),
  attention: () => $('.vene-weights [tabindex="0"]'),
  paths: () => $('.vene-paths .vene-tile[tabindex="0"]'),
  tokens: () => $('[data-prompt="italy"] button.vene-chip'),
  slots: () => $(".vene-slot-handle"),
  history: () => $(".vene-past"),
  compare: () => $(".vene-compare"),
  drawer: () => $("[role=tab][aria-selected=true]"),
  story: root,
  lecture: root,
};
const BEFORE: Record<string, () => void> = {
  "everywhere.clear": () => press(root(), "?"),
  "map.drop": () => press(tile(screen.el, 2, 3), "ArrowUp", { shiftKey: true }),
  "paths.back": () => click(PLACES.paths()),
  "tokens.put": () => click(PLACES.tokens()),
  "compare.close": () => press(root(), "c"),
};
/** Keys that only end what the pointer has begun. */
const POINTER = ["slots.put"];

const rows = (Object.keys(TABLE) as Scope[]).flatMap((scope) =>
  Object.entries<Row>(TABLE[scope]).flatMap(([action, row]) =>
    row.keys.map((key) => [scope, action, key] as const),
  ),
);

describe("the table of keys", () => {
  it.each(rows.filter(([scope, action]) => !POINTER.includes(`${scope}.${action}`)))(
    "%s: %s by %s is obeyed, and JupyterLab does not hear of it",
    async (scope, action, key) => {
      await full(scope === "lecture", {
        ...(scope === "pairs" && { data_set: aDataSet() }),
        attention: patternsOf(spainAndItaly().scene.experiment),
        paths: pathsOf(spainAndItaly().scene.experiment),
      });
      if (scope === "attention" || scope === "paths") await openTab(screen.el, scope);
      BEFORE[`${scope}.${action}`]?.();
      await drawn();
      const heard: string[] = [];
      const listen = (event: KeyboardEvent) => heard.push(event.key);
      document.body.addEventListener("keydown", listen);
      const place = PLACES[scope]();
      const event = press(place, ...eventOf(key));
      document.body.removeEventListener("keydown", listen);
      expect(event.defaultPrevented).toBe(true);
      expect(heard).toEqual([]);
      expect(place.dataset.lmSuppressShortcuts).toBe("true");
    },
  );

  it("has every key: no other does anything", async () => {
    const letters = [..."abcdefghijklmnopqrstuvwxyz0,./;'[]-=`"];
    const named = ["Tab", "Enter", "Backspace", "Delete", "Insert", "F1", "F5", "F11"];
    const listed = new Set([...Object.values<Row>(TABLE.everywhere)].flatMap((row) => row.keys));
    const inStory = new Set([...Object.values<Row>(TABLE.story)].flatMap((row) => row.keys));
    await full();
    for (const key of [...letters, ...named, ...letters.map((letter) => `Ctrl+${letter}`)]) {
      const [name, held] = eventOf(key.replace(/[a-z]$/, (letter) => letter.toUpperCase()));
      const event = new KeyboardEvent("keydown", { key: name, ...held });
      if (listed.has(nameOf(event)) || inStory.has(nameOf(event))) continue;
      const pressed = press(root(), name, held);
      expect([key, pressed.defaultPrevented]).toEqual([key, false]);
    }
    expect(screen.model.sent).toHaveLength(0);
  });

  it("is asked by every handler: no view names a key that the list may lack", () => {
    // Fields keep the two that all fields have: Enter gives, Escape leaves.
    const FIELDS = [
      "ui/NameField.tsx",
      "features/prompts/PromptField.tsx",
      "features/map/TargetField.tsx",
      "features/history/View.tsx",
    ];
    const named = readdirSync("src", { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".tsx") || file.endsWith("/drag.ts"))
      .filter((file) => /\.key (===|!==|in)|\[\w+\.key\]/.test(readFileSync(`src/${file}`, "utf8")))
      .filter((file) => !FIELDS.includes(file));
    // The map listens for Escape on the whole window while the pointer paints.
    expect(named).toEqual(["features/map/drag.ts"]);
  });

  it("is what ? lists, whole and in groups", async () => {
    await full();
    press(root(), "?");
    await drawn();
    const groups = [...screen.el.querySelectorAll(".vene-help-group")];
    expect(groups).toHaveLength(Object.keys(TABLE).length + 1);
    const keys = [...screen.el.querySelectorAll(".vene-help kbd")].map((kbd) => kbd.textContent);
    const rowsOf = Object.values(TABLE).flatMap((scope) => Object.values<Row>(scope));
    expect(keys).toEqual(rowsOf.flatMap(shownKeys));
    expect($(".vene-help").textContent).toContain("lecture mode");
    press(root(), "Escape");
    await drawn();
    expect($(".vene-help")).toBeNull();
  });

  it("knows a key by its sign, whatever makes the sign", () => {
    const name = (key: string, held: KeyboardEventInit = {}) =>
      nameOf(new KeyboardEvent("keydown", { key, ...held }));
    expect(name("?", { shiftKey: true })).toBe("?");
    expect(name("/", { shiftKey: true })).toBe("/");
    expect(name("F", { shiftKey: true })).toBe("Shift+F");
    expect(name("f")).toBe("F");
    expect(name("F2")).toBe("F2");
    expect(name("z", { metaKey: true })).toBe("Ctrl+Z");
    expect(name(" ", { shiftKey: true })).toBe("Shift+Space");
  });
});

describe("keys that are the notebook’s", () => {
  const suppressed = (target: Element, key: string, held: KeyboardEventInit = {}) => {
    press(target, key, held);
    return target.hasAttribute("data-lm-suppress-shortcuts");
  };
  const heardBy = (target: Element, key: string, held: KeyboardEventInit = {}) => {
    let isHeard = false;
    const listen = () => {
      isHeard = true;
    };
    document.body.addEventListener("keydown", listen);
    press(target, key, held);
    document.body.removeEventListener("keydown", listen);
    return isHeard;
  };

  it("go on to it: Ctrl-S saves, Ctrl-Shift-C opens the palette, wherever the focus is", async () => {
    await full();
    for (const target of [root(), tile(screen.el, 2, 3), $("select")]) {
      expect(suppressed(target, "s", { ctrlKey: true })).toBe(false);
      expect(heardBy(target, "s", { ctrlKey: true })).toBe(true);
      expect(suppressed(target, "C", { ctrlKey: true, shiftKey: true })).toBe(false);
      expect(suppressed(target, "s", { metaKey: true })).toBe(false);
    }
  });

  it("and no typed letter does: D D deletes no cell", async () => {
    await full();
    for (const target of [root(), tile(screen.el, 2, 3), $("select"), $("button")]) {
      for (const key of ["d", "a", "b", "x", "Enter", "ArrowDown"])
        expect(suppressed(target, key)).toBe(true);
    }
  });

  it("Shift-Enter and Ctrl-Enter in a field run no cell; its undo is its own", async () => {
    await full();
    click($('[aria-label="Edit base"]'));
    await drawn();
    const field = $(".vene-prompt-field");
    for (const held of [{}, { shiftKey: true }, { ctrlKey: true }, { altKey: true }]) {
      expect(suppressed(field, "Enter", held)).toBe(true);
      if (!field.isConnected) return;
      expect(heardBy(field, "Enter", held)).toBe(false);
    }
  });

  it("a text field keeps what edits text, and a menu its arrows and letters", async () => {
    await full();
    const select = $("select");
    for (const key of ["ArrowDown", "ArrowUp", "Home", "End", "g", "c", " ", "Enter"]) {
      expect(heardBy(select, key)).toBe(false);
    }
    click($('[aria-label="Edit base"]'));
    await drawn();
    const field = $(".vene-prompt-field");
    for (const key of ["z", "y", "a", "c", "v", "x"]) {
      const event = press(field, key, { ctrlKey: true });
      expect(event.defaultPrevented).toBe(false);
      expect(field.hasAttribute("data-lm-suppress-shortcuts")).toBe(true);
    }
    expect(screen.model.sent.filter((request) => request.kind === "experiment")).toHaveLength(0);
    expect(suppressed(field, "s", { ctrlKey: true })).toBe(false);
  });

  it("outside of the screen nothing is touched, and afterwards nothing listens", async () => {
    await full();
    const before = root();
    press(before, "d");
    expect(suppressed(document.body, "d")).toBe(false);
    expect(before.hasAttribute("data-lm-suppress-shortcuts")).toBe(false);
    screen.close();
    document.body.append(before);
    expect(suppressed(before, "d")).toBe(false);
  });
});
