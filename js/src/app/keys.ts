// Every key of the screen, once: handlers ask which action a key is, the help lists the same rows.

export interface Row {
  /** As `nameOf` writes them; `1-9` and `A-I` stand for nine each. */
  keys: readonly string[];
  says: string;
  /** How the help writes the keys, where they would be many. */
  shown?: readonly string[] | undefined;
}

/** A row; its keys are separated by spaces. */
const row = (keys: string, says: string, shown?: readonly string[]): Row => ({
  keys: keys.split(" "),
  says,
  shown,
});

const MOVES = "ArrowUp ArrowDown ArrowLeft ArrowRight Home End PageUp PageDown";

export const TABLE = {
  everywhere: {
    undo: row("Ctrl+Z", "undo"),
    redo: row("Ctrl+Y Ctrl+Shift+Z", "redo"),
    group: row("G", "group all slots"),
    ungroup: row("U", "ungroup all slots"),
    compare: row("C", "compare two runs"),
    placebo: row("S", "show the map’s controls in its place, one after the other"),
    lecture: row("F", "lecture mode, on the full screen"),
    help: row("?", "open or close this list"),
    clear: row("Escape", "close this list or clear the readout"),
  },
  map: {
    move: row(MOVES, "move around the map", ["Arrows", "Home", "End", "Page keys"]),
    paint: row(MOVES.replace(/\S+/g, "Shift+$&"), "select tiles; Enter groups them", [
      "Shift-arrows",
    ]),
    apply: row("Enter", "patch this tile only"),
    add: row("Shift+Enter", "add or remove the tile from the group"),
    skip: row("Space", "skip or unskip the slot at this tile"),
    hold: row("H", "hold or release the slot at this tile in the whole map"),
    link: row("L", "link or unlink weights in this tile’s group"),
    subspace: row("1-9", "choose a subspace for the slot at this tile"),
    pin: row("P", "pin or unpin the tile, row or column"),
    drop: row("Escape", "cancel the selection"),
  },
  pairs: {
    move: row(MOVES, "move around the map of means, or along its pairs", [
      "Arrows",
      "Home",
      "End",
      "Page keys",
    ]),
    open: row("Enter Space", "list the tile’s pairs, or open the pair"),
  },
  attention: {
    move: row(MOVES, "move around the weights", ["Arrows", "Home", "End", "Page keys"]),
    toggle: row("Enter Space", "put a slot on the weight, or take it off"),
  },
  paths: {
    move: row(MOVES, "move around the heads and MLPs", ["Arrows", "Home", "End", "Page keys"]),
    receive: row("Enter", "show what reaches the head or MLP"),
    mark: row("Space", "mark the head, or take the mark off"),
    back: row("Escape", "back to the paths to the logits"),
  },
  tokens: {
    left: row("ArrowLeft", "previous token; Enter picks a source token up or drops it"),
    right: row("ArrowRight", "next token"),
    first: row("Home", "first token"),
    last: row("End", "last token"),
    put: row("Escape", "cancel the pairing"),
  },
  history: {
    left: row("ArrowLeft", "previous experiment"),
    right: row("ArrowRight", "next experiment"),
    first: row("Home", "oldest experiment"),
    last: row("End", "newest experiment"),
    compare: row("Shift+Enter", "compare with the current experiment"),
    name: row("F2", "name the experiment"),
  },
  slots: {
    up: row("Alt+ArrowUp", "move the slot up (on its handle)"),
    down: row("Alt+ArrowDown", "move the slot down (on its handle)"),
    put: row("Escape", "cancel the drag"),
  },
  compare: {
    close: row("Escape", "close it"),
  },
  drawer: {
    next: row("ArrowRight", "next tab"),
    back: row("ArrowLeft", "previous tab"),
  },
  story: {
    next: row("ArrowRight", "next step"),
    back: row("ArrowLeft", "previous step"),
    first: row("Home", "first step; in a lecture, with every answer covered"),
    last: row("End", "last step"),
    forth: row("PageDown", "reveal, then next step (clicker)"),
    return: row("PageUp", "previous step (clicker)"),
    choose: row("1-9", "choose an answer"),
  },
  lecture: {
    reveal: row("Space", "reveal the answer, then next step"),
    cover: row("Shift+Space", "cover the answer"),
    map: row("M", "reveal or cover the whole map"),
    choose: row("A-I", "choose an answer, where the step has choices"),
    leave: row("Escape", "leave lecture mode"),
  },
} satisfies Record<string, Record<string, Row>>;

export type Scope = keyof typeof TABLE;
export type Action<S extends Scope> = keyof (typeof TABLE)[S];

/** Rows of keys that stand next to each other. */
const RANGES: Record<string, RegExp> = { "1-9": /^[1-9]$/, "A-I": /^[A-I]$/ };

/** What a key means in a part of the screen; null where it means nothing. */
export function actionOf<S extends Scope>(scope: S, event: KeyboardEvent): Action<S> | null {
  const name = nameOf(event);
  const rows: Record<string, Row> = TABLE[scope];
  const found = Object.keys(rows).find((action) =>
    rows[action]?.keys.some((key) => (key in RANGES ? RANGES[key]?.test(name) : key === name)),
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
    ...{ PageUp: "Page up", PageDown: "Page down", "1-9": "1 … 9", "A-I": "A … I" },
  };
  return keys.map((key) => {
    const parts = key.split("+");
    return parts.map((part) => signs[part] ?? part).join("-");
  });
}

/** Keeps an event from everything further out: the browser, the notebook, other handlers. */
export function consume(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
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
