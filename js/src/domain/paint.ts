// Dragging over tiles: a rectangle of them becomes one group, when the button is let go.
import { type ReadonlySignal, signal } from "@preact/signals";
import {
  applyTile,
  freshGroup,
  type Gesture,
  held,
  isAt,
  type Place,
  type Plain,
  slotAt,
} from "./experiments";
import type { Tile } from "./geometry";

/** A drag under way: from the tile where it began to the one that it has reached. */
export interface Stroke {
  from: Tile;
  to: Tile;
  gesture: Gesture;
}

/** More slots than anybody reads, and a request that takes long: a drag ends there. */
export const MOST = 64;

export interface Brush {
  stroke: ReadonlySignal<Stroke | null>;
  /** The button went down on a tile: a click, until another tile is reached. */
  press(at: Tile, gesture: Gesture): void;
  /** The pointer is over this tile. */
  reach(to: Tile): void;
  /** A step of the keyboard from one tile to the next. */
  extend(from: Tile, to: Tile): void;
  /** The button was let go, or Enter pressed: what was painted, or null when it was only a click. */
  finish(): Stroke | null;
  /** Nothing was painted. */
  drop(): void;
  /** Whether the click that follows belongs to a drag that was dropped. */
  hasDropped(): boolean;
}

export function createBrush(): Brush {
  const stroke = signal<Stroke | null>(null);
  let pressed: { from: Tile; gesture: Gesture } | null = null;
  let dropped = false;
  return {
    stroke,
    press(from, gesture) {
      pressed = { from, gesture };
      stroke.value = null;
      dropped = false;
    },
    reach(to) {
      if (!pressed) return;
      const last = stroke.peek()?.to ?? pressed.from;
      if (last.row !== to.row || last.column !== to.column) stroke.value = { ...pressed, to };
    },
    extend(from, to) {
      stroke.value = { gesture: "replace", from, ...stroke.peek(), to };
    },
    finish() {
      const done = stroke.peek();
      pressed = null;
      stroke.value = null;
      const { from, to } = done ?? {};
      return from && to && (from.row !== to.row || from.column !== to.column) ? done : null;
    },
    drop() {
      dropped = pressed !== null && stroke.peek() !== null;
      pressed = null;
      stroke.value = null;
    },
    hasDropped: () => dropped,
  };
}

/** The tiles of a stroke, row by row, without those where nothing can change. */
export function painted(
  { from, to }: Stroke,
  rows: number[],
  columns: number[],
  isIdle: (tile: Tile) => boolean,
): Tile[] {
  const across = between(columns, from.column, to.column);
  const all = between(rows, from.row, to.row).flatMap((row) =>
    across.map((column) => ({ row, column })),
  );
  const useful = all.filter((tile) => !isIdle(tile));
  // Where nothing can change anywhere, the person has a reason to see just that.
  return (useful.length > 0 ? useful : all).slice(0, MOST);
}

function between(list: number[], a: number, b: number): number[] {
  const [i, j] = [list.indexOf(a), list.indexOf(b)];
  return list.slice(Math.min(i, j), Math.max(i, j) + 1);
}

/** The experiment after places were painted: they share one group. */
export function paint(experiment: Plain, places: Place[], gesture: Gesture): Plain {
  const [first, ...more] = places;
  if (!first) return experiment;
  if (gesture === "replace" && more.length === 0) return applyTile(experiment, first, gesture);
  if (gesture === "replace") {
    const stay = held(experiment);
    const name = freshGroup({ ...experiment, slots: stay });
    return { ...experiment, slots: [...stay, ...places.map((place) => slotAt(place, name))] };
  }
  if (gesture === "new group") {
    const name = freshGroup(experiment);
    const slots = places.map((place) => slotAt(place, name));
    return { ...experiment, slots: [...experiment.slots, ...slots] };
  }
  // A shift-click takes a tile out that is in; a stroke only ever adds.
  return places
    .filter((place) => !experiment.slots.some((slot) => !slot.hold && isAt(slot, place)))
    .reduce((done, place) => applyTile(done, place, "add"), experiment);
}
