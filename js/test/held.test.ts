// Slots that are held in the map: clicks leave them, the map is theirs, and the preview is exact.
import { afterEach, describe, expect, it } from "vitest";
import { HELD, makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import { applyTile, changeSlot, keyOfRun, type Plain, toPlain } from "../src/domain/experiments";
import { heldWords, isMapOf, setHold } from "../src/domain/held";
import { paint } from "../src/domain/paint";
import { cellOf, fromAnswer, fromCell } from "../src/domain/preview";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import type { Map as Sweep } from "../src/kernel/wire";
import { accept, click, drawn, mount, openTab, press, refuse, start, tile } from "./helpers";

const plain = (of: keyof typeof HELD.after) => toPlain(HELD.after[of].experiment);
const alone = toPlain(HELD.alone.experiment);
const place = {
  ...{ layer: 3, position: 4, component: "block_output", head: null },
  ...{ source: "italy", source_position: 4 },
};

describe("what a click does", () => {
  it("keeps held slots and replaces the others", () => {
    const once = applyTile(alone, place, "replace");
    expect(once.slots.map((slot) => slot.hold)).toEqual([true, false]);
    expect(once).toEqual(plain("3 4"));
    const again = applyTile(once, { ...place, layer: 1 }, "replace");
    expect(again.slots.map((slot) => [slot.component, slot.layer])).toEqual([
      ["mlp_output", 0],
      ["block_output", 1],
    ]);
  });

  it("never takes a held slot out, nor into a group", () => {
    const on = setHold(applyTile(alone, place, "replace"), [1], true);
    const added = applyTile(on, place, "add");
    expect(added.slots.map((slot) => slot.hold)).toEqual([true, true, false]);
    expect(added.slots.map((slot) => slot.group)).toEqual([null, null, "A"]);
    expect(applyTile(added, place, "add")).toEqual(on);
    const grouped = { ...added, slots: [...added.slots].reverse() };
    const joined = applyTile(grouped, { ...place, layer: 5 }, "add");
    expect(joined.slots.at(-1)).toMatchObject({ layer: 5, group: "A" });
    expect(joined.slots.filter((slot) => slot.group !== null)).toHaveLength(2);
    const places = [1, 2].map((layer) => ({ ...place, layer }));
    const painted = paint(changeSlot(on, 0, { group: "A" }), places, "replace");
    expect(painted.slots.map((slot) => [slot.hold, slot.group])).toEqual([
      ...[
        [true, "A"],
        [true, null],
        [false, "B"],
        [false, "B"],
      ],
    ]);
    expect(paint(on, [place, { ...place, layer: 1 }], "add").slots).toHaveLength(4);
  });
});

describe("the preview of a tile with held slots", () => {
  it.each(["3 4", "1 1"] as const)("is the exact result: %s", (of) => {
    const cell = cellOf(plain(of), HELD.map);
    if (!cell) throw new Error("no tile");
    expect([cell.idle, cell.kl]).toEqual([null, null]); // those are of the held slots' run
    const shown = fromCell(cell, HELD.map, HELD.alone.answer);
    const exact = fromAnswer(HELD.after[of].answer);
    expect(shown.sentence).toBe(exact.sentence);
    expect(shown.sentence).toContain("“Madrid”"); // the plain base's answer, as beside it
    const ps = new Map(exact.tokens.map((row) => [row.id, row.probabilities]));
    let count = 0;
    for (const row of shown.tokens)
      for (const [n, p] of (ps.get(row.id) ?? []).entries()) {
        if (row.probabilities[n] == null) continue;
        count++;
        expect(row.probabilities[n], `${row.label} ${n}`).toBeCloseTo(p ?? 0, 5);
      }
    expect(count).toBeGreaterThan(40);
    const unknown = fromCell(cell, HELD.map, null).tokens.find((row) => row.label === "␣Madrid");
    expect(unknown?.probabilities[0]).toBeGreaterThan(0.9);
    // The column beside the answer is the plain base, as if nothing were held.
    const madrid = shown.tokens.find((row) => row.label === "␣Madrid");
    expect(madrid?.probabilities[0]).toBeGreaterThan(0.9);
    const target = HELD.map.targets.find((one) => one.label === "␣Madrid");
    expect(target?.base).toBeLessThan(0.1);
    const changes = new Map(exact.differences.map((row) => [row.id, row]));
    const both = shown.differences.filter((row) => changes.has(row.id));
    expect(both.length).toBeGreaterThan(6);
    for (const row of both) {
      expect(row.before).toBeCloseTo(changes.get(row.id)?.before ?? -1, 5);
      expect(row.after).toBeCloseTo(changes.get(row.id)?.after ?? -1, 5);
    }
  });

  it("is none where the map holds other slots, or has them in another order", () => {
    const one = plain("3 4");
    expect(cellOf(one, HELD.map)?.layer).toBe(3);
    expect(cellOf(setHold(one, [0], false), HELD.map)).toBeNull();
    expect(cellOf(changeSlot(one, 0, { skip: true }), HELD.map)).toBeNull();
    expect(cellOf(changeSlot(one, 0, { strength: 0.5 }), HELD.map)).toBeNull();
    const last: Plain = { ...one, slots: [...one.slots].reverse() };
    expect(cellOf(last, HELD.map)?.layer).toBe(3);
    expect(cellOf(changeSlot(last, 0, { layer: 0 }), HELD.map)).toBeNull();
    expect(cellOf(one, spainAndItaly().map)).toBeNull();
  });
});

describe("a map", () => {
  it("is of the experiment's live held slots, whatever their group", () => {
    expect(isMapOf(HELD.map, alone)).toBe(true);
    expect(isMapOf(HELD.map, changeSlot(alone, 0, { group: "A" }))).toBe(true);
    expect(isMapOf(HELD.map, changeSlot(alone, 0, { position: 4 }))).toBe(false);
    expect([heldWords(HELD.map), heldWords(spainAndItaly().map)]).toEqual(["with 1 slot held", ""]);
    expect(keyOfRun(alone)).toBe(keyOfRun(setHold(alone, [0], false)));
  });

  it("shows a revealed tile in a lecture, and covers it anew with other held slots", async () => {
    const { experiment, answer } = HELD.after["3 4"];
    const now = { scene: sceneOf(experiment, 6, 2, null), answer: { ...answer, revision: 2 } };
    const screen = mount({ ...now, map: HELD.map });
    const number = () => tile(screen.el, 3, 4).querySelector(".vene-tile-number");
    const root = screen.el.querySelector(".vene-root") as Element;
    press(root, "f");
    await drawn();
    expect(number()).toBeNull();
    press(root, " ");
    await drawn();
    expect(number()).not.toBeNull();
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(1);
    press(root, "m");
    await drawn();
    expect(screen.el.querySelectorAll(".vene-tile-number").length).toBeGreaterThan(6);
    // The whole map was of these held slots; with others it is another one.
    screen.model.write({ map: { ...HELD.map, held: [] } });
    screen.model.write({ scene: sceneOf({ ...experiment, slots: [] }, 6, 3, null) });
    await drawn();
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(0);
    screen.close();
  });

  it("is not shown with another experiment's held slots, and comes back when they are refused", async () => {
    const view = start();
    const map = view.map.value;
    const slots = [{ layer: 0, position: 3, source: "italy" }];
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 6, 2, null);
    view.model.write({ scene, answer: makeAnswer(scene) });
    expect(view.map.value).toBe(map);
    const now = view.experiment.now.value as Plain;
    view.experiment.commit(setHold(now, [0], true));
    expect(view.map.value).toBeNull();
    expect(view.answers.label.value).toBe("exact"); // holding changes no run
    await refuse(view.model, "slots[0] cannot be held in the map");
    expect(view.map.value).toBe(map);
    expect(view.notices.error.value).toContain("cannot be held");
    view.experiment.commit(setHold(now, [0], true));
    const next = accept(view.model, 3);
    expect(view.map.value).toBeNull();
    const held: Sweep = { ...makeMap(next), held: next.experiment.slots ?? [] };
    view.model.write({ map: held });
    expect(view.map.value?.held).toHaveLength(1);
  });
});

describe("on the screen", () => {
  let screen: ReturnType<typeof mount>;
  afterEach(() => {
    screen?.close();
    document.body.innerHTML = "";
  });
  const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);

  it("a held slot has its mark, its facts and its button", async () => {
    const scene = sceneOf(HELD.alone.experiment, 6, 2, null);
    screen = mount({ scene, answer: { ...HELD.alone.answer, revision: 2 }, map: HELD.map });
    await drawn();
    const here = tile(screen.el, 0, 3);
    expect(here.getAttribute("aria-label")).toContain(", slot 0 held here");
    expect(here.getAttribute("aria-selected")).toBe("false");
    expect(screen.el.querySelectorAll(".vene-tile .vene-held-mark")).toHaveLength(1);
    expect($(".vene-legend")?.textContent).toContain("with 1 slot held");
    expect($(".vene-legend")?.textContent).toContain("held alone 0.013, source 94");
    expect($("[role=grid]")?.getAttribute("aria-label")).toContain("(patch, with 1 slot held)");
    const button = $("[aria-label='Hold slot 0 in the map']");
    expect(button?.getAttribute("aria-pressed")).toBe("true");
    button?.click();
    expect(screen.model.sent.at(-1)).toMatchObject({
      kind: "experiment",
      experiment: { slots: [{ hold: false }] },
    });
  });

  it("a held slot of the map's own component has the mark, not the ring", async () => {
    const slots = [{ layer: 0, position: 3, source: "italy", source_position: 3, hold: true }];
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 6, 2, null);
    screen = mount({ scene, answer: makeAnswer(scene), map: { ...makeMap(scene), held: slots } });
    await drawn();
    expect(tile(screen.el, 0, 3).getAttribute("aria-selected")).toBe("false");
    expect(tile(screen.el, 0, 3).getAttribute("aria-label")).toContain("held here");
    click(tile(screen.el, 1, 3));
    await drawn();
    expect(tile(screen.el, 1, 3).getAttribute("aria-selected")).toBe("true");
    expect(screen.model.sent.at(-1)).toMatchObject({
      experiment: {
        slots: [
          { layer: 0, hold: true },
          { layer: 1, hold: false },
        ],
      },
    });
  });

  it("the code is followed by that of the map, in this package's names alone", async () => {
    const scene = sceneOf(HELD.alone.experiment, 6, 2, null);
    screen = mount({ scene, answer: { ...HELD.alone.answer, revision: 2 }, map: HELD.map });
    await drawn();
    await openTab(screen.el, "code");
    expect($(".vene-code")?.textContent).toContain("hold=True");
    expect(
      $(".vene-code")
        ?.textContent?.trimEnd()
        .endsWith(HELD.map.code ?? "?"),
    ).toBe(true);
    expect(HELD.map.code).toContain("fixed=fixed");
  });

  it("a saved page refuses to hold or release, and answers other tiles", () => {
    const { scene, status } = start().model.traits as never as SavedTraits;
    const saved = { ...scene, experiment: HELD.alone.experiment, slots: HELD.alone.slots };
    const page = new OfflineModel({
      ...{ scene: saved, map: HELD.map, answer: HELD.alone.answer, steps: {}, status },
    });
    const refusal = (experiment: Plain) => page.refusal({ kind: "experiment", experiment });
    expect(refusal(plain("3 4"))).toBeNull();
    expect(refusal(setHold(alone, [0], false))).toContain("needs a kernel");
  });

  it("H holds the slot at a tile", async () => {
    const slots = [{ layer: 0, position: 3, source: "italy", source_position: 3 }];
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 6, 2, null);
    screen = mount({ scene, answer: makeAnswer(scene), map: makeMap(scene) });
    await drawn();
    press(tile(screen.el, 0, 3), "h");
    expect(screen.model.sent.at(-1)).toMatchObject({ experiment: { slots: [{ hold: true }] } });
  });
});
