// Held slots: every tile of the map has them in place, and a click leaves them there.
import type { Map as Sweep, WireSlot } from "../kernel/wire";
import { changeSlot, keyOf, type Plain, type Slot, toPlain } from "./experiments";

/** Whether a slot acts in every tile of the map; a skipped one acts nowhere. */
export const isHeld = (slot: Slot): boolean => slot.hold && !slot.skip;

export function setHold(experiment: Plain, indices: number[], hold: boolean): Plain {
  return indices.reduce((done, index) => changeSlot(done, index, { hold }), experiment);
}

/** Whether two experiments of the same prompts have one map. */
export function isSameHeld(a: Plain, b: Plain): boolean {
  return textOf(a.slots.filter(isHeld)) === textOf(b.slots.filter(isHeld));
}

/** Whether a map of the prompts has just the held slots of an experiment in its tiles. */
export function isMapOf(map: Sweep, experiment: Plain): boolean {
  return textOf(map.held) === textOf(experiment.slots.filter(isHeld));
}

/** A text that is equal for slots that do the same: a group changes no number. */
function textOf(slots: WireSlot[]): string {
  const plain = toPlain({ base: "", slots });
  const bare = plain.slots.map((slot) => ({ ...slot, group: null, hold: false }));
  return keyOf({ ...plain, slots: bare });
}

/** `with 1 slot held`; empty without any. */
export function heldWords(map: Sweep | null): string {
  const count = map?.held.length ?? 0;
  return count === 0 ? "" : `with ${count} ${count === 1 ? "slot" : "slots"} held`;
}
