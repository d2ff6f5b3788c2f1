import { describe, expect, it } from "vitest";
import { makeScene, sceneOf } from "../dev/fixtures";
import {
  applyTile,
  freshGroup,
  fromScene,
  group,
  groupsOf,
  isSame,
  type Place,
  type Plain,
  removeSlot,
  setSkip,
  setSource,
  ungroup,
} from "../src/domain/experiments";

const empty: Plain = { base: "a b c", sources: [["x", "a d c"]], slots: [], mode: "parallel" };
const two: Plain = {
  ...empty,
  sources: [
    ["x", "a d c"],
    ["y", "a e c"],
  ],
};

function place(layer: number, position: number, source = "x"): Place {
  return {
    layer,
    position,
    component: "block_output",
    head: null,
    source,
    source_position: position,
  };
}

const sites = (experiment: Plain) => experiment.slots.map((s) => [s.layer, s.position, s.group]);

describe("a tile", () => {
  it("clicked becomes the only slot and leaves the prompts alone", () => {
    const many = applyTile(applyTile(empty, place(0, 1), "replace"), place(1, 2), "add");
    const one = applyTile(many, place(3, 2), "replace");
    expect(sites(one)).toEqual([[3, 2, null]]);
    expect([one.base, one.sources]).toEqual([empty.base, empty.sources]);
  });

  it("clicked zeroes where there is no source: nothing that the kernel would refuse", () => {
    const alone: Plain = { ...empty, sources: [] };
    const at = (layer: number) => ({ ...place(layer, 1), source: null });
    let now = applyTile(alone, at(0), "replace");
    now = applyTile(applyTile(now, at(1), "add"), at(2), "new group");
    expect(
      now.slots.map((slot) => [slot.layer, slot.intervention, slot.source, slot.group]),
    ).toEqual([0, 1, 2].map((layer) => [layer, "zero", null, null]));
    expect(applyTile(now, at(1), "add").slots.map((slot) => slot.layer)).toEqual([0, 2]);
  });

  it("shift-clicked after a click makes one group of both", () => {
    const one = applyTile(empty, place(0, 1), "replace");
    const both = applyTile(one, place(2, 2), "add");
    expect(sites(both)).toEqual([
      [0, 1, "A"],
      [2, 2, "A"],
    ]);
    expect(sites(one)).toEqual([[0, 1, null]]);
  });

  it("shift-clicked joins the group of the last slot, whatever its name", () => {
    let now = applyTile(empty, place(0, 1), "replace");
    now = { ...now, slots: now.slots.map((slot) => ({ ...slot, group: "g" })) };
    now = applyTile(applyTile(now, place(1, 1), "add"), place(2, 1), "add");
    expect(now.slots.map((slot) => slot.group)).toEqual(["g", "g", "g"]);
  });

  it("shift-clicked leaves slots of another source out of the group", () => {
    const one = applyTile(two, place(0, 1, "y"), "replace");
    expect(sites(applyTile(one, place(2, 2, "x"), "add"))).toEqual([
      [0, 1, null],
      [2, 2, "A"],
    ]);
    const grouped = group(one);
    expect(sites(applyTile(grouped, place(2, 2, "x"), "add"))).toEqual([
      [0, 1, "A"],
      [2, 2, "B"],
    ]);
  });

  it("shift-clicked when it is in the experiment is taken out again", () => {
    const both = applyTile(applyTile(empty, place(0, 1), "replace"), place(2, 2), "add");
    expect(sites(applyTile(both, place(0, 1), "add"))).toEqual([[2, 2, "A"]]);
  });

  it("alt-clicked opens a new group", () => {
    let now = applyTile(empty, place(0, 1), "replace");
    now = applyTile(applyTile(now, place(1, 1), "new group"), place(2, 1), "new group");
    expect(now.slots.map((slot) => slot.group)).toEqual([null, "A", "B"]);
  });
});

describe("groups", () => {
  it("take one letter per source, and ungroup takes all away", () => {
    let now = applyTile(two, place(0, 1), "replace");
    now = { ...now, slots: [...now.slots, ...applyTile(two, place(1, 1, "y"), "replace").slots] };
    now = { ...now, slots: [...now.slots, ...applyTile(two, place(2, 1), "replace").slots] };
    expect(group(now).slots.map((slot) => slot.group)).toEqual(["A", "B", "A"]);
    expect(groupsOf(group(now))).toEqual(["A", "B"]);
    expect(isSame(ungroup(group(now)), now)).toBe(true);
  });

  it("never share a fresh name with one that exists", () => {
    const slots = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].map((name) => ({
      ...(applyTile(empty, place(0, 1), "replace").slots[0] as never as Plain["slots"][0]),
      group: name,
    }));
    expect(freshGroup({ ...empty, slots })).toBe("A2");
  });

  it("lose a slot that takes another source", () => {
    const both = applyTile(applyTile(two, place(0, 1), "replace"), place(2, 2), "add");
    const now = setSource(both, 1, "y");
    expect(now.slots.map((slot) => [slot.source, slot.group])).toEqual([
      ["x", "A"],
      ["y", null],
    ]);
  });
});

describe("a slot", () => {
  const both = applyTile(applyTile(empty, place(0, 1), "replace"), place(2, 2), "add");

  it("keeps its index when skipped", () => {
    const skipped = setSkip(both, [0], true);
    expect(sites(skipped)).toEqual(sites(both));
    expect(skipped.slots.map((slot) => slot.skip)).toEqual([true, false]);
    expect(isSame(setSkip(skipped, [0], false), both)).toBe(true);
  });

  it("is gone when removed, the others move up", () => {
    expect(sites(removeSlot(both, 0))).toEqual([[2, 2, "A"]]);
  });
});

describe("a scene", () => {
  it("gives integers for what Python wrote as text or counted from the end", () => {
    const scene = makeScene("The capital of Spain is", { italy: "The capital of Italy is" }, 6);
    const slot = { layer: -1, position: " Spain" };
    const written = sceneOf({ ...scene.experiment, slots: [slot] }, 6, 1, null);
    written.slots = [
      {
        index: 0,
        layer: 5,
        component: "block_output",
        head: null,
        source: "italy",
        base_positions: [3],
        source_positions: [3],
        target: null,
        intervention: "vanilla",
        strength: 1,
        subspace: null,
        dims: null,
        coordinates: 96,
        partition: null,
        rank: null,
        link: null,
        group: null,
        skip: false,
      },
    ];
    expect(fromScene(written).slots[0]).toMatchObject({
      layer: 5,
      position: 3,
      source: "italy",
      source_position: 3,
      intervention: "vanilla",
    });
  });
});
