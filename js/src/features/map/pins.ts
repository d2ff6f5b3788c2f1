// What a person keeps in view of the map: tiles, rows, columns. It stays in this view, no kernel knows.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Spot } from "../../domain/geometry";
import type { Map as Sweep } from "../../kernel/wire";

/** More would push the map off the screen; the oldest gives way. */
const MOST = 6;

export interface Pins {
  list: ReadonlySignal<Spot[]>;
  has(spot: Spot): boolean;
  /** Pins a spot, or takes its pin away. */
  toggle(spot: Spot): void;
  /** Others in their place. */
  set(pins: Spot[]): void;
}

export function createPins(): Pins {
  const list = signal<Spot[]>([]);
  const has = (spot: Spot) => list.value.some((pin) => isSameSpot(pin, spot));
  return {
    list,
    has,
    toggle(spot) {
      const others = list.value.filter((pin) => !isSameSpot(pin, spot));
      list.value = has(spot) ? others : [...others, spot].slice(-MOST);
    },
    set(pins) {
      list.value = pins.slice(-MOST);
    },
  };
}

export function isSameSpot(a: Spot | null, b: Spot | null): boolean {
  return a !== null && b !== null && a.layer === b.layer && a.position === b.position;
}

/** Whether a pin still stands on the map: a new prompt may be shorter. */
export function isOn(map: Sweep, { layer, position }: Spot): boolean {
  return (
    (layer === null || map.layers.includes(layer)) &&
    (position === null || map.positions.includes(position))
  );
}
