import { describe, expect, it, vi } from "vitest";
import { makeMap, sceneOf, tokens } from "../dev/fixtures";
import {
  changeSlot,
  hasSamePrompts,
  type Plain,
  renameGroup,
  slotAt,
  whyNotGroup,
} from "../src/domain/experiments";
import { readPlaces, writePlaces } from "../src/domain/operators";
import {
  align,
  exchange,
  follow,
  pairSlots,
  pairsOf,
  readersOf,
  removeSource,
  renameSource,
  setMode,
  setPairs,
  whyNotSource,
} from "../src/domain/prompts";
import { differing } from "../src/features/prompts/Chips";
import { createDraft, PATIENCE, REST } from "../src/features/prompts/draft";
import { start } from "./helpers";

const KINDS = sceneOf({ base: "a", sources: [], slots: [] }, 3, 1, null).model.interventions;
const slot = (position: number | number[], more: object = {}) => ({
  ...slotAt({
    layer: 0,
    position: 0,
    component: "block_output",
    head: null,
    source: "x",
    source_position: 0,
  }),
  position,
  source_position: position,
  ...more,
});
const two = (...slots: Plain["slots"]): Plain => ({
  base: "a b c d",
  sources: [
    ["x", "a B c d"],
    ["y", "a B C d"],
  ],
  slots,
  mode: "parallel",
});

describe("a source", () => {
  it("is renamed in its place, and the slots that read it go along", () => {
    const now = two(slot(1), slot(2, { source: "y" }));
    const renamed = renameSource(now, "x", "first");
    expect(renamed.sources).toEqual([
      ["first", "a B c d"],
      ["y", "a B C d"],
    ]);
    expect(renamed.slots.map((s) => s.source)).toEqual(["first", "y"]);
    expect(renameSource(renamed, "first", "x")).toEqual(now);
    for (const wrong of ["", " ", "y", "n".repeat(81)]) {
      expect(whyNotSource(now, "x", wrong)).not.toBeNull();
      expect(renameSource(now, "x", wrong)).toBe(now);
    }
    expect(whyNotSource(now, "x", "x")).toBeNull();
    // A whole number is a name like any other, and keeps its place.
    expect(renameSource(now, "y", "1").sources.map(([name]) => name)).toEqual(["x", "1"]);
  });

  it("goes with the slots that read it; what only kept its name stays", () => {
    const now = { ...two(slot(1), slot(2, { source: "y" })), mode: "serial" as const };
    now.slots.push(slot(3, { intervention: "zero", group: "A" }));
    expect(readersOf(now, "x", KINDS)).toEqual([0]);
    const less = removeSource(now, "x", KINDS);
    expect(less.sources).toEqual([["y", "a B C d"]]);
    expect(less.slots.map((s) => [s.intervention, s.source, s.group])).toEqual([
      ["vanilla", "y", null],
      ["zero", null, null],
    ]);
    expect(less.mode).toBe("parallel"); // one source is no chain
    expect(setMode(less, "serial").mode).toBe("serial");
  });
});

describe("slots follow their tokens", () => {
  const at = (experiment: Plain) => experiment.slots.map((s) => [s.position, s.source_position]);

  it("in the base: the beginning stays, the end moves, what is gone goes to its neighbour", () => {
    const now = two(slot(0), slot(1), slot(3));
    const longer = follow(now, null, [1, 2, 3, 4], [1, 9, 9, 2, 3, 4], KINDS);
    expect(at(longer)).toEqual([
      [0, 0],
      [3, 1],
      [5, 3],
    ]);
    expect(at(follow(longer, null, [1, 9, 9, 2, 3, 4], [1, 2, 3, 4], KINDS))).toEqual(at(now));
    const shorter = follow(now, null, [1, 2, 3, 4], [1, 4], KINDS);
    expect(at(shorter)).toEqual([
      [0, 0],
      [1, 1],
      [1, 3],
    ]);
  });

  it("in a source: just those that read it, on the source's side", () => {
    const now = two(slot(3), slot(3, { source: "y" }), slot(3, { intervention: "mean" }));
    expect(at(follow(now, "x", [1, 2, 3, 4], [1, 2, 9, 3, 4], KINDS))).toEqual([
      [3, 4],
      [3, 3],
      [3, 3],
    ]);
  });

  it("never stand twice at one place, nor outside", () => {
    const now = two(slot([1, 2, 3], { source_position: [1, 2, 3] }));
    expect(at(follow(now, null, [1, 2, 3, 4], [1, 4], KINDS))).toEqual([[1, 1]]);
    expect(at(follow(now, null, [1, 2, 3, 4], [7], KINDS))).toEqual([[0, 1]]);
    expect(at(follow(now, null, [1, 2, 3, 4], [1, 8, 3, 4], KINDS))).toEqual([
      [
        [1, 2, 3],
        [1, 2, 3],
      ],
    ]);
  });

  it("in a chain, where the run that they act on is a source's", () => {
    const now = setMode(two(slot(3)), "serial");
    expect(at(follow(now, "y", [1, 2, 3, 4], [1, 2, 3, 9, 4], KINDS))).toEqual([[4, 3]]);
    expect(at(follow(now, null, [1, 2, 3, 4], [1, 2, 3, 9, 4], KINDS))).toEqual([[3, 3]]);
  });
});

describe("pairs", () => {
  it("are read and set together; an unsaid source side stays unsaid", () => {
    const now = two(slot([1, 3], { source_position: [2, 0] }), slot(1, { source_position: null }));
    expect(pairsOf(now.slots[0] as never)).toEqual([
      [1, 2],
      [3, 0],
    ]);
    expect(setPairs(now, 0, [[1, 2]]).slots[0]).toMatchObject({ position: 1, source_position: 2 });
    expect(setPairs(now, 1, [[2, 2]]).slots[1]).toMatchObject({
      position: 2,
      source_position: null,
    });
  });

  it("change in the slots that copy this source into this token of the base, and no others", () => {
    const now = two(
      slot([1, 2]),
      slot(1, { source: "y" }),
      slot(1, { intervention: "zero" }),
      slot(3),
      slot(1),
    );
    const { experiment, indices } = pairSlots(now, "x", 3, 1, KINDS);
    expect(indices).toEqual([0, 4]);
    expect(experiment.slots.map((s) => s.source_position)).toEqual([[3, 2], 1, 1, 3, 3]);
    expect(hasSamePrompts(now, experiment)).toBe(true);
  });

  it("are suggested as the kernel suggests them", () => {
    // The same cases as in the docstring of planning.align.
    expect(align([1, 2, 3], [4, 5, 6])).toEqual([0, 1, 2]);
    expect(align([1, 2, 3], [1, 2, 8, 9, 3])).toEqual([0, 1, 4]);
    expect(align([1, 2, 8, 9, 3], [1, 2, 3])).toEqual([0, 1, 1, 1, 2]);
    expect(align([1, 5, 6, 3], [1, 7, 8, 9, 3])).toEqual([0, 1, 2, 4]);
    expect(align([1, 5, 6, 7, 3], [1, 8, 3])).toEqual([0, 1, 1, 1, 2]);
  });

  it("of a mean are written as numbers, from the end too, or as a token's text", () => {
    for (const [text, places] of [
      ["3", 3],
      ["3, -1", [3, -1]],
      ["", null],
      [" Spain", " Spain"],
    ] as const) {
      expect(readPlaces(text)).toEqual(places);
      expect(writePlaces(readPlaces(text))).toBe(text);
    }
  });
});

describe("a group", () => {
  it("gets another name, or joins one that reads the same source", () => {
    const now = two(slot(1, { group: "A" }), slot(2, { group: "B" }), slot(3, { group: "A" }));
    const names = (experiment: Plain) => experiment.slots.map((s) => s.group);
    expect(names(renameGroup(now, "A", "subject"))).toEqual(["subject", "B", "subject"]);
    expect(names(renameGroup(now, "A", "B"))).toEqual(["B", "B", "B"]);
    const other = changeSlot(now, 1, { source: "y" });
    expect(whyNotGroup(other, "A", "B")).toContain("another source");
    expect(renameGroup(other, "A", "B")).toBe(other);
    expect(whyNotGroup(now, "A", " ")).not.toBeNull();
  });
});

describe("a text that is typed", () => {
  const split = (text: string) =>
    [...text].map((label, index) => ({ index, id: index, text: label, label }));

  it("is split when the typing rests; an answer that comes late is dropped", async () => {
    vi.useFakeTimers();
    const { model, app } = start();
    const draft = app.use(createDraft);
    draft.open("ab", split("ab"));
    expect(draft.isOld.value).toBe(false);
    for (const text of ["abc", "abcd"]) draft.type(text);
    expect([draft.isOld.value, draft.tokens.value?.length]).toEqual([true, 2]);
    vi.advanceTimersByTime(REST);
    expect(model.sent).toMatchObject([{ kind: "tokens", text: "abcd" }]);
    draft.type("abcde");
    vi.advanceTimersByTime(REST);
    const [early, late] = model.sent.map((request) => request.id) as [string, string];
    await model.reply({ id: early, ok: true, error: null, tokens: split("abcd") });
    expect([draft.isOld.value, draft.tokens.value?.length]).toEqual([true, 2]);
    await model.reply({ id: late, ok: true, error: null, tokens: split("abcde") });
    expect([draft.isOld.value, draft.tokens.value?.length]).toEqual([false, 5]);
    vi.useRealTimers();
  });

  it("that has no tokens says why and keeps the last good ones, dimmed", async () => {
    vi.useFakeTimers();
    const { model, app } = start();
    const draft = app.use(createDraft);
    draft.open("ab", split("ab"));
    draft.type("");
    vi.advanceTimersByTime(REST);
    await model.reply({ id: model.sent.at(-1)?.id ?? "", ok: false, error: "no tokens" });
    expect(draft.error.value).toBe("no tokens");
    expect([draft.isOld.value, draft.tokens.value?.length]).toEqual([true, 2]);
    draft.type("a");
    expect(draft.error.value).toBeNull();
    vi.useRealTimers();
  });

  it("waits for its tokens on Enter, and no longer than a moment", async () => {
    vi.useFakeTimers();
    const { model, app } = start();
    const draft = app.use(createDraft);
    draft.open("ab", split("ab"));
    expect(await draft.settled("ab")).toMatchObject({ text: "ab", error: null });
    expect(model.sent).toHaveLength(0);
    const known = draft.settled("abc");
    await model.reply({
      id: model.sent.at(-1)?.id ?? "",
      ok: true,
      error: null,
      tokens: split("abc"),
    });
    expect((await known)?.tokens).toHaveLength(3);
    const never = draft.settled("abcd");
    vi.advanceTimersByTime(PATIENCE);
    expect(await never).toBeNull();
    vi.useRealTimers();
  });
});

describe("pairs by hand", () => {
  it("are used by the next click, sent with every sweep, and end with their prompts", () => {
    const base = "The capital of Spain is";
    const scene = sceneOf(
      { base, sources: [["italy", "The capital of old Italy is"]] },
      6,
      2,
      null,
    );
    const { model, pairing, sweep } = start({ scene, map: makeMap(scene) });
    const suggested = [...pairing.of("italy")];
    expect(sweep.place({ row: 1, column: 3 }).source_position).toBe(suggested[3]);
    pairing.set("italy", 4, 3);
    expect(sweep.place({ row: 1, column: 3 }).source_position).toBe(4);
    expect(pairing.isByHand("italy")).toBe(true);
    sweep.choose(sweep.choice.value);
    const pairs = suggested.map((from, i) => (i === 3 ? 4 : from));
    expect(model.sent.at(-1)).toMatchObject({ kind: "sweep", source_positions: pairs });
    pairing.clear("italy");
    sweep.choose(sweep.choice.value);
    expect(model.sent.at(-1)).toMatchObject({ kind: "sweep", source_positions: null });
    pairing.set("italy", 4, 3);
    model.write({
      scene: sceneOf({ ...scene.experiment, base: "The town of Spain is" }, 6, 3, null),
    });
    expect(pairing.isByHand("italy")).toBe(false);
  });
});

describe("a token that differs", () => {
  const marked = (prompt: string, against: string) => {
    const [own, others] = [tokens(prompt), tokens(against)];
    return own.filter(({ index }) => differing(own, others)(index)).map(({ label }) => label);
  };

  it("is marked at its own place in prompts of one length, not all that lies between", () => {
    const base = "Spain is warm and Peru is dry";
    expect(marked("Italy is warm and Chad is dry", base)).toEqual(["Italy", "␣Chad"]);
    expect(marked(base, base)).toEqual([]);
  });

  it("lies between the shared ends where the lengths differ", () => {
    expect(marked("a B c d", "a d")).toEqual(["␣B", "␣c"]);
  });
});

describe("exchanging base and source", () => {
  const experiment: Plain = {
    base: "a b c",
    sources: [
      ["x", "a d d c"],
      ["y", "other"],
    ],
    slots: [slot(2, { source_position: 3 }), slot(2, { source: "y", source_position: 0 })],
    mode: "parallel",
  } as Plain;

  it("exchanges the texts; slots copy back, and others stay at their tokens", () => {
    const found = exchange(experiment, "x", [1, 2, 3], [1, 4, 4, 3], KINDS);
    expect(found.base).toBe("a d d c");
    expect(found.sources).toEqual([
      ["x", "a b c"],
      ["y", "other"],
    ]);
    expect(found.slots[0]).toMatchObject({ position: 3, source_position: 2 });
    expect(found.slots[1]).toMatchObject({ position: 3, source_position: 0 });
  });

  it("twice is as before", () => {
    const once = exchange(experiment, "x", [1, 2, 3], [1, 4, 4, 3], KINDS);
    expect(exchange(once, "x", [1, 4, 4, 3], [1, 2, 3], KINDS)).toEqual(experiment);
  });
});
