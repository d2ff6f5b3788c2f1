// The order of slots, and keys by which the browser knows a row again when its number changes.
import { type Plain, positionsOf, type Slot } from "./experiments";

export function moveSlot(experiment: Plain, from: number, to: number): Plain {
  const slots = [...experiment.slots];
  const [moved] = slots.splice(from, 1);
  if (!moved || to < 0 || to > slots.length) return experiment;
  slots.splice(to, 0, moved);
  return { ...experiment, slots };
}

/** The same slot once more, behind the first. */
export function duplicateSlot(experiment: Plain, index: number): Plain {
  const slot = experiment.slots[index];
  if (!slot) return experiment;
  return {
    ...experiment,
    slots: [
      ...experiment.slots.slice(0, index + 1),
      { ...slot },
      ...experiment.slots.slice(index + 1),
    ],
  };
}

/** Whether a slot's place in the list counts: another live slot acts at its site and a token. */
export function isOrdered(experiment: Plain, index: number): boolean {
  const slot = experiment.slots[index];
  const positions = slot ? positionsOf(slot) : [];
  return experiment.slots.some(
    (other, i) =>
      i !== index &&
      !other.skip &&
      positionsOf(other).some((position) => positions.includes(position)) &&
      other.layer === slot?.layer &&
      other.component === slot.component &&
      other.head === slot.head,
  );
}

/** The list that is wanted while row `from` is dragged over rows with these middles, from the top. */
export function dropIndex(y: number, from: number, middles: number[]): number {
  return middles.filter((middle, i) => i !== from && middle < y).length;
}

/** Slots and the keys of their rows. */
export interface Known {
  slots: readonly Slot[];
  keys: readonly number[];
  next: number;
}

export const NOBODY: Known = { slots: [], keys: [], next: 0 };

/**
 * Keys for a new list: a slot keeps its own when it is the same object, else when it says the same,
 * else, in a list of the same length, when it stands where it stood (it was edited).
 */
export function keysAfter(known: Known, slots: readonly Slot[]): Known {
  const keys: (number | undefined)[] = slots.map(() => undefined);
  const free = new Set(known.slots.keys());
  const take = (i: number, j: number | undefined) => {
    if (j === undefined || keys[i] !== undefined) return;
    keys[i] = known.keys[j];
    free.delete(j);
  };
  const said = known.slots.map(text);
  slots.forEach((slot, i) => {
    take(
      i,
      [...free].find((j) => known.slots[j] === slot),
    );
  });
  slots.forEach((slot, i) => {
    if (keys[i] !== undefined) return;
    const same = [...free].filter((j) => said[j] === text(slot));
    take(i, same.includes(i) ? i : same[0]);
  });
  if (slots.length === known.slots.length) {
    for (const i of slots.keys()) if (free.has(i)) take(i, i);
  }
  let { next } = known;
  return { slots, keys: keys.map((key) => key ?? next++), next };
}

function text(slot: Slot): string {
  return JSON.stringify(Object.entries(slot).sort());
}
