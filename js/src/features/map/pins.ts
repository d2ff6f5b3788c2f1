// What a person keeps in view of the map: tiles, rows, columns. It stays in this view, no kernel knows.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Spot } from "../../domain/geometry";

/** More would push the map off the screen; the oldest gives way. */
const MOST = 6;

/** The numbers of the rows and columns of a map. */
export interface Axes {
  rows: number[];
  positions: number[];
}

export interface Pins {
  list: ReadonlySignal<Spot[]>;
  has(spot: Spot): boolean;
  /** Pins a spot, or takes its pin away. */
  toggle(spot: Spot): void;
  /** Others in their place. */
  set(pins: Spot[]): void;
}

/** Rows of layers and rows of heads have pins of their own. */
export function createPins(axis: ReadonlySignal<"layer" | "head">): Pins {
  const lists = { layer: signal<Spot[]>([]), head: signal<Spot[]>([]) };
  const list = computed(() => lists[axis.value].value);
  const has = (spot: Spot) => list.value.some((pin) => isSameSpot(pin, spot));
  return {
    list,
    has,
    toggle(spot) {
      const others = list.value.filter((pin) => !isSameSpot(pin, spot));
      lists[axis.value].value = has(spot) ? others : [...others, spot].slice(-MOST);
    },
    set(pins) {
      lists[axis.value].value = pins.slice(-MOST);
    },
  };
}

export function isSameSpot(a: Spot | null, b: Spot | null): boolean {
  return a !== null && b !== null && a.row === b.row && a.position === b.position;
}

/** Whether a pin still stands on the map: a new prompt may be shorter. */
export function isOn({ rows, positions }: Axes, { row, position }: Spot): boolean {
  return (
    (row === null || rows.includes(row)) && (position === null || positions.includes(position))
  );
}
