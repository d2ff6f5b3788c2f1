// Every key of the screen, once: handlers ask which action a key is, the help lists the same rows.

export interface Row {
  /** As `nameOf` writes them; `1-9` stands for nine. */
  keys: readonly string[];
  says: string;
  /** How the help writes the keys, where they would be many. */
  shown?: readonly string[];
}

const MOVES = [
  ...["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"],
  ...["Home", "End", "PageUp", "PageDown"],
];

export const TABLE = {
  everywhere: {
    undo: { keys: ["Ctrl+Z"], says: "undo" },
    redo: { keys: ["Ctrl+Y", "Ctrl+Shift+Z"], says: "redo" },
    group: { keys: ["G"], says: "group all slots" },
    ungroup: { keys: ["U"], says: "ungroup them" },
    compare: { keys: ["C"], says: "compare any two runs" },
    lecture: { keys: ["F"], says: "lecture mode: large, for the back row" },
    help: { keys: ["?"], says: "open or close this list" },
    clear: { keys: ["Escape"], says: "close this list, clear the readout" },
  },
  map: {
    move: {
      keys: MOVES,
      says: "move on the map",
      shown: ["Arrows", "Home", "End", "Page keys"],
    },
    paint: {
      keys: MOVES.map((key) => `Shift+${key}`),
      says: "paint tiles; Enter then groups them",
      shown: ["Shift-arrows"],
    },
    apply: { keys: ["Enter"], says: "this tile alone is the experiment" },
    add: { keys: ["Shift+Enter"], says: "add the tile to the group, or take it out" },
    skip: { keys: ["Space"], says: "skip the slot at the tile, or wake it" },
    link: { keys: ["L"], says: "slots of the tile’s group share weights, or part" },
    subspace: { keys: ["1-9"], says: "choose a subspace of the slot at the tile" },
    pin: { keys: ["P"], says: "pin the tile, row or column, or let it go" },
    drop: { keys: ["Escape"], says: "drop what is being painted" },
  },
  tokens: {
    left: { keys: ["ArrowLeft"], says: "along a source’s tokens; Enter picks one up" },
    right: { keys: ["ArrowRight"], says: "and, picked up, along the base’s; Enter drops it" },
    first: { keys: ["Home"], says: "first token" },
    last: { keys: ["End"], says: "last token" },
    put: { keys: ["Escape"], says: "put it back" },
  },
  history: {
    left: { keys: ["ArrowLeft"], says: "towards the past" },
    right: { keys: ["ArrowRight"], says: "towards the present" },
    first: { keys: ["Home"], says: "the oldest" },
    last: { keys: ["End"], says: "the newest" },
    compare: { keys: ["Shift+Enter"], says: "compare the past with the present" },
    name: { keys: ["F2"], says: "name an experiment" },
  },
  slots: {
    up: { keys: ["Alt+ArrowUp"], says: "on a slot’s handle: one place up" },
    down: { keys: ["Alt+ArrowDown"], says: "one place down" },
    put: { keys: ["Escape"], says: "put a dragged slot back" },
  },
  compare: {
    close: { keys: ["Escape"], says: "close the comparison" },
  },
  story: {
    next: { keys: ["ArrowRight"], says: "next step" },
    back: { keys: ["ArrowLeft"], says: "step before" },
    first: { keys: ["Home"], says: "first step" },
    last: { keys: ["End"], says: "last step" },
    forth: { keys: ["PageDown"], says: "reveal, then next step, as clickers send it" },
    return: { keys: ["PageUp"], says: "step before, as clickers send it" },
    choose: { keys: ["1-9"], says: "choose an answer" },
  },
  lecture: {
    reveal: { keys: ["Space"], says: "reveal the answer, then next step" },
    cover: { keys: ["Shift+Space"], says: "cover it again" },
    map: { keys: ["M"], says: "reveal the whole map, or cover it" },
    leave: { keys: ["Escape"], says: "leave lecture mode" },
  },
} as const satisfies Record<string, Record<string, Row>>;

export type Scope = keyof typeof TABLE;
export type Action<S extends Scope> = keyof (typeof TABLE)[S];

/** What a key means in a part of the screen; null where it means nothing. */
export function actionOf<S extends Scope>(scope: S, event: KeyboardEvent): Action<S> | null {
  const name = nameOf(event);
  const rows: Record<string, Row> = TABLE[scope];
  const found = Object.keys(rows).find((action) =>
    rows[action]?.keys.some((key) => (key === "1-9" ? /^[1-9]$/.test(name) : key === name)),
  );
  return (found ?? null) as Action<S> | null;
}

/** A key with its modifiers: `Ctrl+Shift+Z`. Cmd is Ctrl; Shift is said where it is not the sign's own. */
export function nameOf(event: KeyboardEvent): string {
  const { key } = event;
  const isLetter = /^\p{L}$/u.test(key);
  const name = key === " " ? "Space" : isLetter ? key.toUpperCase() : key;
  const isSign = name.length === 1 && !isLetter;
  const held = [
    (event.ctrlKey || event.metaKey) && "Ctrl",
    event.altKey && "Alt",
    event.shiftKey && !isSign && "Shift",
  ];
  return [...held.filter(Boolean), name].join("+");
}

/** How the help writes a row's keys. */
export function shownKeys({ keys, shown }: Row): readonly string[] {
  if (shown) return shown;
  const signs: Record<string, string> = {
    ...{ ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" },
    ...{ PageUp: "Page up", PageDown: "Page down", "1-9": "1 … 9" },
  };
  return keys.map((key) => {
    const parts = key.split("+");
    return parts.map((part) => signs[part] ?? part).join("-");
  });
}

const FIELDS = "input, select, textarea";

/** Fields in which one types have an undo of their own; sliders and menus have none. */
const TEXTS = 'input:not([type="range"], [type="checkbox"]), textarea';

export function isField(target: EventTarget | null): boolean {
  return (target as Element | null)?.matches?.(FIELDS) ?? false;
}

export function isText(target: EventTarget | null): boolean {
  return (target as Element | null)?.matches?.(TEXTS) ?? false;
}

/** Whether a key is what fields and menus are used by: the notebook would move or run its cells. */
export function isFieldsOwn(event: KeyboardEvent): boolean {
  if (!isField(event.target)) return false;
  if (event.key === "Enter") return true;
  if (event.ctrlKey || event.metaKey) return isText(event.target) && /^[acvxyz]$/i.test(event.key);
  return !event.altKey && event.key !== "Escape";
}

const MARK = "data-lm-suppress-shortcuts";

/**
 * Marks what is typed into for JupyterLab, key by key, before its shortcuts look at it: what is
 * typed here is ours, so that no cell is deleted by a `D`; shortcuts such as Ctrl-S go on to the
 * notebook. The mark is the focused element's own, because JupyterLab looks no further up once an
 * element matches a shortcut's selector, and many of these end in `:focus`.
 */
export function guard(root: HTMLElement): () => void {
  let marked: Element | null = null;
  const decide = (event: KeyboardEvent) => {
    marked?.removeAttribute(MARK);
    marked = null;
    const { target } = event;
    if (!(target instanceof Element) || !root.contains(target)) return;
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey && !/^F\d+$/.test(event.key);
    const isOurs =
      isPlain ||
      event.key === "Enter" ||
      isFieldsOwn(event) ||
      ["everywhere", "history", "slots"].some((scope) => actionOf(scope as Scope, event));
    if (!isOurs) return;
    marked = target;
    target.setAttribute(MARK, "true");
  };
  window.addEventListener("keydown", decide, true);
  return () => {
    window.removeEventListener("keydown", decide, true);
    marked?.removeAttribute(MARK);
  };
}
