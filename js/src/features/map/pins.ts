// What a person keeps in view of the map: tiles, rows, columns. It stays in this view, no kernel knows.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type { Spot } from "../../domain/geometry";
import type { AxisNames } from "../../domain/preview";

/** More would push the map off the screen; the oldest gives way. */
const MOST = 6;

/** The numbers of the rows and columns of a map. */
export interface Axes {
  rows: number[];
  columns: number[];
}

export interface Pins {
  list: ReadonlySignal<Spot[]>;
  has(spot: Spot): boolean;
  /** Pins a spot, or takes its pin away. */
  toggle(spot: Spot): void;
  /** Others in their place. */
  set(pins: Spot[]): void;
}

/** Maps over other things have pins of their own. */
export function createPins(axes: ReadonlySignal<AxisNames>): Pins {
  const lists = { layer: signal<Spot[]>([]), head: signal<Spot[]>([]), both: signal<Spot[]>([]) };
  const mine = computed(() => {
    const { rows, columns } = axes.value;
    return lists[columns === "head" ? "both" : rows];
  });
  const list = computed(() => mine.value.value);
  const has = (spot: Spot) => list.value.some((pin) => isSameSpot(pin, spot));
  return {
    list,
    has,
    toggle(spot) {
      const others = list.value.filter((pin) => !isSameSpot(pin, spot));
      mine.value.value = has(spot) ? others : [...others, spot].slice(-MOST);
    },
    set(pins) {
      mine.value.value = pins.slice(-MOST);
    },
  };
}

export function isSameSpot(a: Spot | null, b: Spot | null): boolean {
  return a !== null && b !== null && a.row === b.row && a.column === b.column;
}

/** Whether a pin still stands on the map: a new prompt may be shorter. */
export function isOn({ rows, columns }: Axes, { row, column }: Spot): boolean {
  return (row === null || rows.includes(row)) && (column === null || columns.includes(column));
}
