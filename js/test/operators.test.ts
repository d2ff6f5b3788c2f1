import { describe, expect, it } from "vitest";
import { sceneOf } from "../dev/fixtures";
import {
  addSlot,
  applyTile,
  changeSlot,
  fromScene,
  isAt,
  isSame,
  type Plain,
} from "../src/domain/experiments";
import {
  halves,
  kindOf,
  link,
  linkGroup,
  linksOf,
  readPrompts,
  readSubspace,
  setComponent,
  setIntervention,
  setRank,
  setSeed,
  targetOf,
  toggleSubspace,
  twinsOf,
  unlink,
  writeSubspace,
} from "../src/domain/operators";

const MODEL = sceneOf({ base: "a b c", sources: [], slots: [] }, 3, 1, null).model;
const { interventions: KINDS, widths: WIDTHS } = MODEL;
const LOW = "low_rank_rotated_space";

/** So many interchange slots, one per layer, at position 1. */
function slots(count: number, sources: [string, string][] = [["x", "a d c"]]): Plain {
  let now: Plain = { base: "a b c", sources, slots: [], mode: "parallel" };
  for (let layer = 0; layer < count; layer++) {
    const source = sources[0]?.[0] ?? null;
    now = addSlot(now, {
      layer,
      position: 1,
      component: "block_output",
      head: null,
      source,
      source_position: 1,
    });
  }
  return now;
}

const as = (experiment: Plain, name: string, ...indices: number[]) =>
  indices.reduce((done, index) => setIntervention(done, index, name, KINDS), experiment);
const low = (count: number) => as(slots(count), LOW, ...Array.from({ length: count }, (_, i) => i));
const links = (experiment: Plain) => experiment.slots.map((slot) => slot.link);

describe("an intervention", () => {
  it("of low rank comes with a rank and two subspaces, so that it is valid at once", () => {
    expect(low(1).slots[0]).toMatchObject({
      intervention: LOW,
      rank: 2,
      partition: { a: [0, 1], b: [1, 2] },
      subspace: null,
    });
  });

  it("loses nothing on the way there and back", () => {
    for (const name of ["zero", "noise", "mean", "collect", LOW, "sigmoid_mask"]) {
      const there = as(slots(2), name, 1);
      expect(there.slots[1]?.source).toBe("x");
      expect(isSame(as(there, "vanilla", 1), slots(2))).toBe(true);
    }
  });

  it("that reads a source takes the first there is when it has none", () => {
    const now = slots(1);
    const zero = { ...now, slots: now.slots.map((slot) => ({ ...slot, source: null })) };
    expect(as(as(zero, "zero", 0), "addition", 0).slots[0]?.source).toBe("x");
  });

  it("of means begins with the source's prompt, or the base's where there is no source", () => {
    expect(as(slots(1), "mean", 0).slots[0]?.prompts).toEqual(["a d c"]);
    expect(as(slots(1, []), "mean", 0).slots[0]?.prompts).toEqual(["a b c"]);
  });

  it("forgets a subspace of another basis and keeps one of the same", () => {
    const chosen = toggleSubspace(low(1), 0, "a");
    expect(as(chosen, "vanilla", 0).slots[0]?.subspace).toBeNull();
    const dims = { ...slots(1).slots[0], subspace: "0:2" } as Plain["slots"][0];
    const now = { ...slots(1), slots: [dims] };
    expect(as(now, "zero", 0).slots[0]?.subspace).toBe("0:2");
    expect(as(now, "rotated_space", 0).slots[0]?.subspace).toBeNull();
  });

  it("forgets halves of another basis and keeps a partition of one's own", () => {
    const halved = {
      ...slots(1),
      slots: slots(1).slots.map((s) => ({ ...s, partition: halves(96) })),
    };
    expect(as(halved, "zero", 0).slots[0]?.partition).toEqual(halves(96));
    expect(as(halved, LOW, 0).slots[0]?.partition).toEqual(halves(2));
    const own = { a: [0, 1] as [number, number], b: [1, 96] as [number, number] };
    const mine = { ...slots(1), slots: slots(1).slots.map((s) => ({ ...s, partition: own })) };
    expect(as(mine, LOW, 0).slots[0]?.partition).toEqual(own);
  });

  it("leaves its link, whose slots are of one kind", () => {
    expect(links(as(link(low(2), 0, WIDTHS), "vanilla", 1))).toEqual([null, null]);
  });

  it("keeps a scale just for noise, since the kernel refuses it elsewhere", () => {
    const loud = changeSlot(as(slots(1), "noise", 0), 0, { scale: 0.5 });
    expect(as(loud, "noise", 0).slots[0]?.scale).toBe(0.5);
    expect(as(loud, "zero", 0).slots[0]?.scale).toBe(1);
  });

  it("with nothing to copy from is zero", () => {
    expect(slots(1, []).slots[0]).toMatchObject({ intervention: "zero", source: null });
    expect(slots(1).slots[0]?.intervention).toBe("vanilla");
  });
});

describe("a component", () => {
  it("has a head just where it has heads", () => {
    const headed = setComponent(slots(2), 0, "head_value_output", MODEL);
    expect(headed.slots.map((slot) => slot.head)).toEqual([0, null]);
    expect(setComponent(headed, 0, "mlp_output", MODEL).slots[0]?.head).toBeNull();
  });

  it("of the same width keeps the link, and of another leaves it", () => {
    const three = link(link(low(3), 1, WIDTHS), 2, WIDTHS);
    expect(links(setComponent(three, 0, "mlp_output", MODEL))).toEqual(["L1", "L1", "L1"]);
    expect(links(setComponent(three, 0, "mlp_activation", MODEL))).toEqual([null, "L1", "L1"]);
  });
});

describe("a rank", () => {
  it("halves what is halved, leaves a partition of one's own, and drops a lost name", () => {
    expect(halves(3)).toEqual({ a: [0, 2], b: [2, 3] });
    const four = setRank(toggleSubspace(low(1), 0, "b"), 0, 4);
    expect(four.slots[0]).toMatchObject({ rank: 4, partition: halves(4), subspace: "b" });
    expect(setRank(four, 0, 1).slots[0]).toMatchObject({
      rank: 1,
      partition: { a: [0, 1] },
      subspace: null,
    });
    const own = { mine: [0, 1] as [number, number] };
    const now = { ...low(1), slots: low(1).slots.map((slot) => ({ ...slot, partition: own })) };
    expect(setRank(now, 0, 3).slots[0]?.partition).toEqual(own);
  });

  it("and a seed are of all slots that share the weights", () => {
    const pair = link(low(3), 1, WIDTHS);
    expect(setRank(pair, 0, 5).slots.map((slot) => slot.rank)).toEqual([5, 5, 2]);
    expect(setSeed(pair, 1, 7).slots.map((slot) => slot.seed)).toEqual([7, 7, 0]);
    expect(setSeed(pair, 2, 7).slots.map((slot) => slot.seed)).toEqual([0, 0, 7]);
  });
});

describe("a subspace", () => {
  it("is chosen, changed for another, and given up", () => {
    const a = toggleSubspace(low(1), 0, "a");
    expect(a.slots[0]?.subspace).toBe("a");
    expect(toggleSubspace(a, 0, "b").slots[0]?.subspace).toBe("b");
    expect(isSame(toggleSubspace(a, 0, "a"), low(1))).toBe(true);
  });

  it("is read from text and written as text", () => {
    expect(readSubspace("0:2")).toBe("0:2");
    expect(readSubspace(" 0,3, 5 ")).toEqual([0, 3, 5]);
    expect(readSubspace("4")).toEqual([4]);
    expect(readSubspace("  ")).toBeNull();
    expect(readSubspace("1, x")).toBe("1, x");
    for (const subspace of ["0:2", "a", [0, 3], null]) {
      expect(readSubspace(writeSubspace(subspace))).toEqual(subspace);
    }
  });
});

describe("a link", () => {
  it("is made with the nearest slot of the same kind, then joined", () => {
    expect(twinsOf(low(3), 1, WIDTHS)).toEqual([0, 2]);
    const pair = link(low(3), 1, WIDTHS);
    expect(links(pair)).toEqual(["L1", "L1", null]);
    expect(links(link(pair, 2, WIDTHS))).toEqual(["L1", "L1", "L1"]);
  });

  it("never joins another kind, rank, seed or width", () => {
    for (const other of [
      as(low(2), "vanilla", 1),
      setRank(low(2), 1, 3),
      setSeed(low(2), 1, 1),
      setComponent(low(2), 1, "mlp_activation", MODEL),
    ]) {
      expect(links(link(other, 0, WIDTHS))).toEqual([null, null]);
    }
  });

  it("that would hold one slot is gone; of three, two stay linked", () => {
    const three = link(link(low(3), 1, WIDTHS), 2, WIDTHS);
    expect(links(unlink(three, 0))).toEqual([null, "L1", "L1"]);
    expect(links(unlink(unlink(three, 0), 1))).toEqual([null, null, null]);
    expect(isSame(unlink(low(2), 0), low(2))).toBe(true);
  });

  it("takes a name that is free", () => {
    const four = link(link(as(low(4), "sigmoid_mask", 2, 3), 0, WIDTHS), 3, WIDTHS);
    expect(links(four)).toEqual(["L1", "L1", "L2", "L2"]);
    expect(linksOf(four)).toEqual(["L1", "L2"]);
  });

  it("takes in a whole group, and parts it again", () => {
    const now = low(4);
    const grouped = {
      ...now,
      slots: now.slots.map((slot, i) => ({ ...slot, group: i < 3 ? "A" : null })),
    };
    const linked = linkGroup(grouped, 1, WIDTHS);
    expect(links(linked)).toEqual(["L1", "L1", "L1", null]);
    expect(isSame(linkGroup(linked, 0, WIDTHS), grouped)).toBe(true);
    expect(links(linkGroup(grouped, 3, WIDTHS))).toEqual([null, null, null, null]);
  });
});

describe("prompts of a mean", () => {
  it("are lines", () => {
    expect(readPrompts("one\n\n two\n")).toEqual(["one", " two"]);
  });
});

describe("serial mode", () => {
  const chain: Plain = {
    ...slots(1, [
      ["x", "a d c"],
      ["y", "a e c"],
    ]),
    mode: "serial",
  };

  it("is kept from the kernel's scene, and is a difference", () => {
    const scene = sceneOf(chain, 3, 1, null);
    expect(fromScene(scene).mode).toBe("serial");
    expect(isSame(fromScene(scene), { ...fromScene(scene), mode: "parallel" })).toBe(false);
  });

  it("says on whose run a slot acts", () => {
    const [slot] = chain.slots as [Plain["slots"][0]];
    expect(targetOf(chain, slot, KINDS)).toBe("y");
    expect(targetOf(chain, { ...slot, source: "y" }, KINDS)).toBeNull();
    expect(targetOf(chain, { ...slot, intervention: "zero" }, KINDS)).toBeNull();
    expect(targetOf({ ...chain, mode: "parallel" }, slot, KINDS)).toBeNull();
  });
});

describe("a slot without a source", () => {
  it("stands at its tile whatever the map copies from", () => {
    const place = { layer: 0, position: 1, component: "block_output", head: null };
    const [slot] = slots(1, []).slots as [Plain["slots"][0]];
    expect(isAt(slot, { ...place, source: "x" })).toBe(true);
    expect(isAt({ ...slot, source: "y" }, { ...place, source: "x" })).toBe(false);
    const now = { ...slots(1), slots: [slot] };
    expect(applyTile(now, { ...place, source: "x", source_position: 1 }, "add").slots).toEqual([]);
  });
});

describe("every field of a slot", () => {
  it("makes another experiment when it changes", () => {
    const [slot] = slots(1).slots as [Plain["slots"][0]];
    const changes = {
      intervention: "zero",
      strength: 0.5,
      subspace: [0],
      partition: { a: [0, 1] as [number, number] },
      rank: 2,
      scale: 2,
      seed: 1,
      prompts: ["a"],
      link: "L1",
      group: "A",
      skip: true,
    };
    for (const [name, value] of Object.entries(changes)) {
      const other = { ...slots(1), slots: [{ ...slot, [name]: value }] };
      expect(isSame(slots(1), other), name).toBe(false);
    }
  });

  it("has an operator that the kernel described", () => {
    expect(kindOf(KINDS, LOW)?.needs_rank).toBe(true);
    expect(kindOf(KINDS, "nowhere")).toBeUndefined();
  });
});
