import { describe, expect, it } from "vitest";
import { changeSlot, type Plain, removeSlot, type Slot, slotAt } from "../src/domain/experiments";
import {
  dropIndex,
  duplicateSlot,
  isOrdered,
  keysAfter,
  moveSlot,
  NOBODY,
} from "../src/domain/order";

const place = (layer: number, position = 1) => ({
  layer,
  position,
  component: "block_output",
  head: null,
  source: "x",
  source_position: position,
});
const four: Plain = {
  base: "a b c",
  sources: [["x", "a d c"]],
  slots: [0, 1, 2, 3].map((layer) => slotAt(place(layer))),
  mode: "parallel",
};
const layers = (experiment: Plain) => experiment.slots.map((slot) => slot.layer);
/** As they come back from the kernel: equal, but other objects. */
const copied = (slots: Slot[]): Slot[] => JSON.parse(JSON.stringify(slots));

describe("the order", () => {
  it("moves one slot and leaves the others in theirs, and back again", () => {
    for (let from = 0; from < 4; from++) {
      for (let to = 0; to < 4; to++) {
        const moved = moveSlot(four, from, to);
        expect(moved.slots[to]).toBe(four.slots[from]);
        expect(layers(moved).filter((layer) => layer !== from)).toEqual(
          [0, 1, 2, 3].filter((layer) => layer !== from),
        );
        expect(layers(moveSlot(moved, to, from))).toEqual([0, 1, 2, 3]);
      }
    }
    expect(moveSlot(four, 0, 4)).toBe(four);
    expect(moveSlot(four, 0, -1)).toBe(four);
    expect(moveSlot(four, 7, 0)).toBe(four);
  });

  it("counts just where another live slot acts at the same site", () => {
    expect(isOrdered(four, 1)).toBe(false);
    const twice = duplicateSlot(four, 1);
    expect(layers(twice)).toEqual([0, 1, 1, 2, 3]);
    expect([0, 1, 2, 3].map((i) => isOrdered(twice, i))).toEqual([false, true, true, false]);
    expect(isOrdered(changeSlot(twice, 2, { skip: true }), 1)).toBe(false);
    expect(isOrdered(changeSlot(twice, 2, { head: 1 }), 1)).toBe(false);
    const elsewhere = changeSlot(twice, 2, { position: 0, source_position: 0 });
    expect(isOrdered(elsewhere, 1)).toBe(false);
    expect(isOrdered(changeSlot(elsewhere, 2, { position: [0, 1] }), 1)).toBe(true);
  });

  it("is where the pointer is among the rows' middles", () => {
    const middles = [10, 30, 50, 70];
    expect([0, 25, 35, 55, 99].map((y) => dropIndex(y, 0, middles))).toEqual([0, 0, 1, 2, 3]);
    expect([0, 25, 35, 55, 99].map((y) => dropIndex(y, 3, middles))).toEqual([0, 1, 2, 3, 3]);
  });
});

describe("a row's key", () => {
  const first = keysAfter(NOBODY, four.slots);

  it("is its slot's own, wherever that goes", () => {
    expect(first.keys).toEqual([0, 1, 2, 3]);
    expect(keysAfter(first, moveSlot(four, 0, 2).slots).keys).toEqual([1, 2, 0, 3]);
    expect(keysAfter(first, removeSlot(four, 1).slots).keys).toEqual([0, 2, 3]);
    expect(keysAfter(first, duplicateSlot(four, 1).slots).keys).toEqual([0, 1, 4, 2, 3]);
    expect(keysAfter(first, []).keys).toEqual([]);
  });

  it("stays when the kernel sends equal slots, also moved ones", () => {
    expect(keysAfter(first, copied(four.slots)).keys).toEqual([0, 1, 2, 3]);
    expect(keysAfter(first, copied(moveSlot(four, 3, 0).slots)).keys).toEqual([3, 0, 1, 2]);
  });

  it("stays when its slot is edited, also together with the kernel's own words for it", () => {
    const edited = changeSlot(four, 2, { layer: 5 });
    expect(keysAfter(first, edited.slots).keys).toEqual([0, 1, 2, 3]);
    expect(keysAfter(first, copied(edited.slots)).keys).toEqual([0, 1, 2, 3]);
  });

  it("is never given twice, not even to equal slots", () => {
    const twice = duplicateSlot(four, 0);
    const known = keysAfter(first, twice.slots);
    expect(new Set(known.keys).size).toBe(5);
    const again = keysAfter(known, copied(twice.slots));
    expect(again.keys).toEqual(known.keys);
    const back = keysAfter(keysAfter(again, []), four.slots);
    expect(back.keys.every((key) => !again.keys.includes(key))).toBe(true);
  });
});
