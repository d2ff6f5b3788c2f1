import { afterEach, describe, expect, it, vi } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { addPast, makeContrast } from "../dev/past";
import { type Plain, toPlain } from "../src/domain/experiments";
import type { Compare } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, openTab, press, start } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
  vi.useRealTimers();
});

type Model = ReturnType<typeof start>["model"];
const asked = (model: Model): Compare => {
  const request = model.sent.findLast((sent) => sent.kind === "compare");
  if (request?.kind !== "compare") throw new Error("no comparison was asked for");
  return request;
};
const count = (model: Model) => model.sent.filter((sent) => sent.kind === "compare").length;

/** What the kernel does with a comparison: the answer by the sides' own experiments. */
function contrast(model: Model, { id, left, right }: Compare = asked(model)) {
  const with_ = (side: Compare["left"]) => ({
    ...side,
    answer: makeAnswer(sceneOf(side.experiment, 6, 0, null)),
  });
  void model.reply({ id, ok: true, error: null } as never);
  model.write({ contrast: makeContrast(id, with_(left), with_(right)) });
}

const slot = (layer: number, position: number) => ({
  ...{ layer, position, source: "italy", source_position: position },
});
const two = sceneOf(
  { ...spainAndItaly().scene.experiment, slots: [slot(1, 3), slot(2, 4)] },
  6,
  1,
  null,
);
const traits = () => ({
  scene: two,
  answer: makeAnswer(two),
  past: addPast(null, two, makeAnswer(two)),
});

describe("a comparison", () => {
  it("asks when it is opened, previews what is known, and is exact when the kernel says", () => {
    const { model, answers, compare } = start(traits());
    expect(count(model)).toBe(0);
    compare.toggle();
    expect([asked(model).left.title, asked(model).right.title]).toEqual(["base", "intervened"]);
    expect(asked(model).left.experiment).toMatchObject({ sources: [], slots: [] });
    expect(compare.label.value).toBe("preview");
    const known = compare.shown.value;
    expect(known?.verdict).toBeNull();
    const shown = answers.newest.value?.tokens[0];
    expect(known?.tokens[0]).toEqual({
      id: shown?.token_id,
      label: shown?.label,
      probabilities: [shown?.probabilities[0], shown?.probabilities.at(-1)],
    });
    for (const row of known?.differences ?? [])
      expect(row.kl).toBeCloseTo(row.after * Math.log(row.after / row.before), 12);
    contrast(model);
    expect(compare.label.value).toBe("exact");
    expect(compare.shown.value?.verdict?.verdict).toBe("different");
    expect(count(model)).toBe(1);
  });

  it("previews one slot alone from the map", () => {
    const { model, compare, map } = start(traits());
    compare.toggle();
    compare.choose("right", "slot:0");
    expect(asked(model).right.experiment.slots?.map((s) => s.skip)).toEqual([false, true]);
    const cell = map.value?.cells.find((c) => c.layer === 1 && c.position === 3);
    expect(compare.label.value).toBe("preview");
    const [top] = cell?.top ?? [];
    const row = compare.shown.value?.tokens.find(({ id }) => id === top?.token_id);
    expect(row?.probabilities[1]).toBe(top?.probability);
  });

  it("follows the experiment on the screen once the kernel has taken it", () => {
    const { model, compare, gestures } = start(traits());
    compare.toggle();
    compare.choose("left", "slot:1");
    contrast(model);
    const before = count(model);
    gestures.apply({ row: 3, column: 4 }, "replace");
    expect(count(model)).toBe(before); // the kernel may still refuse it
    const scene = accept(model, 2);
    // Slot 1 is gone: base stands in for it, and comes back as slot 1 when there is one again.
    expect(asked(model).left.title).toBe("base");
    expect(asked(model).right.experiment.slots?.[0]?.layer).toBe(3);
    answer(model, scene);
    gestures.apply({ row: 0, column: 3 }, "add");
    accept(model, 3);
    const { left } = asked(model);
    expect([left.title, left.experiment.slots?.map((s) => s.skip)]).toEqual([
      "slot 1",
      [true, false],
    ]);
    expect(left.experiment.slots?.[1]?.layer).toBe(0);
  });

  it("asks nothing while it is closed, or while neither side has changed", () => {
    const { model, compare, gestures } = start(traits());
    compare.toggle();
    compare.choose("right", "source:italy");
    contrast(model);
    const before = count(model);
    gestures.apply({ row: 3, column: 4 }, "replace");
    answer(model, accept(model, 2));
    expect(count(model)).toBe(before);
    expect(compare.label.value).toBe("exact");
    compare.toggle();
    compare.choose("right", "result");
    expect(count(model)).toBe(before);
  });

  it("is never overwritten by one that comes late", () => {
    const { model, compare } = start(traits());
    compare.toggle();
    const first = asked(model);
    compare.choose("right", "source:italy");
    contrast(model);
    const newer = compare.shown.value;
    contrast(model, first);
    expect(compare.shown.value).toEqual(newer);
    expect(compare.shown.value?.right).toBe("italy");
    compare.choose("right", "result"); // what came late is not lost either
    expect(compare.label.value).toBe("exact");
    expect(count(model)).toBe(2);
  });

  it("swaps its sides", () => {
    const { model, compare } = start(traits());
    compare.toggle();
    contrast(model);
    const before = compare.shown.value;
    compare.swap();
    contrast(model);
    const after = compare.shown.value;
    expect([after?.left, after?.right]).toEqual([before?.right, before?.left]);
    for (const row of after?.differences ?? []) {
      const other = before?.differences.find(({ id }) => id === row.id);
      if (other) expect([row.before, row.after]).toEqual([other.after, other.before]);
    }
  });

  it("compares an entry of the history whose name a source has too", () => {
    const past = addPast(null, two, makeAnswer(two));
    const [entry] = past.entries;
    if (!entry) throw new Error("no entry");
    const named = { ...entry, name: "italy" };
    const { model, compare } = start({ ...traits(), past: { ...past, entries: [named] } });
    compare.compareWith(named);
    expect(asked(model).left.title).toBe("history italy");
    expect(asked(model).left.experiment.slots).toHaveLength(2);
  });

  it("asks again when another view’s question took the place of its own", () => {
    const { model, compare } = start(traits());
    compare.toggle();
    const mine = asked(model);
    const theirs = { ...mine, id: "another-view" };
    contrast(model, theirs);
    expect(count(model)).toBe(2);
    expect(compare.label.value).toBe("preview");
    contrast(model);
    expect(compare.label.value).toBe("exact");
    contrast(model, { ...theirs, id: "another-view-2" });
    expect(count(model)).toBe(2); // the screen waits for nothing
  });

  it("says why there is none, and asks once more on demand", async () => {
    const { model, compare, notices } = start(traits());
    compare.toggle();
    await model.reply({
      id: asked(model).id,
      ok: false,
      error: "layer 9 is out of range",
    } as never);
    expect([compare.label.value, compare.error.value]).toEqual([
      ...["preview", "layer 9 is out of range"], // what is known stays in sight
    ]);
    expect(compare.shown.value?.verdict).toBeNull();
    model.write({ map: {} });
    compare.choose("right", "slot:0");
    await model.reply({ id: asked(model).id, ok: false, error: "no" } as never);
    expect(compare.label.value).toBe("none");
    compare.choose("right", "result");
    expect(notices.error.value).toBeNull(); // the answer on the screen is not in doubt
    expect(count(model)).toBe(2);
    compare.again();
    expect([count(model), compare.error.value]).toEqual([3, null]);
    contrast(model);
    expect(compare.label.value).toBe("exact");
  });

  it("is of the model as it is: after a change it is asked anew, and nothing old is a preview", () => {
    const { model, compare } = start(traits());
    compare.toggle();
    contrast(model);
    const { id } = asked(model);
    expect(compare.sides.value.at(-1)?.note).toMatch(/ %$/);
    const failed = { request: id, error: "The model has changed since: compare again." };
    model.write({ contrast: { ...(model.traits.contrast as object), ...failed } });
    model.write({ scene: { ...two, revision: 5, request: null, model_since: 5 } });
    expect(asked(model).id).not.toBe(id);
    expect([compare.error.value, compare.label.value]).toEqual([null, "busy"]);
    expect(compare.sides.value.at(-1)?.note).toMatch(/ % \(before the model changed\)$/);
    contrast(model);
    expect(compare.label.value).toBe("exact");
    expect(count(model)).toBe(2);
  });

  it("says that it waits when nobody answers", () => {
    vi.useFakeTimers();
    const { model, compare } = start(traits());
    compare.toggle();
    expect(compare.isWaiting.value).toBe(false);
    vi.advanceTimersByTime(2600);
    expect(compare.isWaiting.value).toBe(true);
    contrast(model);
    expect(compare.isWaiting.value).toBe(false);
  });
});

describe("the panel", () => {
  const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);
  const named = (name: string) => $(`[aria-label="${name}"]`) as HTMLSelectElement;
  const panel = () => $('section[aria-label="Compare"]');
  const opener = () => $("[data-opens=compare]") as HTMLElement;

  it("opens from its tab or with C, below the map, and closes with Escape", async () => {
    screen = mount(traits());
    expect(panel()).toBeNull();
    await openTab(screen.el, "compare");
    expect(opener().getAttribute("aria-expanded")).toBe("true");
    expect($("[role=grid]")).not.toBeNull();
    press(named("Left side"), "Escape");
    await drawn();
    expect(panel()).toBeNull();
    expect(document.activeElement).toBe(opener());
    press(opener(), "c");
    await drawn();
    expect(panel()).not.toBeNull();
    press(named("Left side"), "c"); // a menu's own key
    await drawn();
    expect(panel()).not.toBeNull();
    press(opener(), "c");
    await drawn();
    expect(panel()).toBeNull();
  });

  it("offers every side, the history’s newest first, and names what it shows", async () => {
    const past = addPast(
      traits().past,
      { ...two, experiment: spainAndItaly().scene.experiment },
      {
        ...makeAnswer(two),
      },
    );
    screen = mount({ ...traits(), past });
    await openTab(screen.el, "compare");
    expect([...named("Left side").options].map((option) => option.value)).toEqual([
      ...["base", "source:italy", "slot:0", "slot:1", "result", "past:1", "past:0"],
    ]);
    contrast(screen.model);
    await drawn();
    const rows = (table: string) => panel()?.querySelectorAll(`${table} tbody tr`).length ?? 0;
    expect([rows(".vene-rows:not(.vene-differences)"), rows(".vene-differences")]).toEqual([8, 8]);
    expect(panel()?.querySelector(".vene-status")?.textContent).toMatch(/^exact · .* nats$/);
    const verdict = panel()?.querySelector(".vene-verdict") as HTMLElement;
    expect(verdict.dataset.verdict).toBe("different");
    for (const words of ["base vs intervened", "7.3", "layer 0", "all positions"])
      expect(verdict.textContent).toContain(words);
    for (const words of ["7.29675", "tolerance 0.00001", "layer 0", "all positions"])
      expect(verdict.title).toContain(words);
    const select = named("Right side");
    select.value = "slot:1";
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect(asked(screen.model).right.title).toBe("slot 1");
    expect(panel()?.querySelector(".vene-status")?.textContent).toBe("preview");
    expect(panel()?.querySelector(".vene-verdict")).toBeNull();
    click(named("Swap sides"));
    await drawn();
    expect([named("Left side").value, named("Right side").value]).toEqual(["slot:1", "base"]);
  });

  it("keeps the pair before in sight, dimmed, while nothing is known of the new one", async () => {
    screen = mount({ ...traits(), map: {} });
    await openTab(screen.el, "compare");
    contrast(screen.model);
    await drawn();
    const select = named("Right side");
    select.value = "slot:1";
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect(panel()?.querySelector(".vene-status")?.textContent).toBe("running");
    expect(panel()?.querySelector(".vene-compare-body.vene-old")).not.toBeNull();
    expect(panel()?.querySelector(".vene-verdict.vene-old")?.textContent).toContain(
      "base vs intervened",
    );
  });

  it("shows tokens as text", async () => {
    const markup = "<img src=x onerror=alert(1)>";
    const experiment: Plain = toPlain({ ...two.experiment, sources: [[markup, markup]] });
    const scene = sceneOf({ ...experiment, slots: [] }, 6, 1, null);
    screen = mount({ scene, answer: makeAnswer(scene), past: {} });
    await openTab(screen.el, "compare");
    contrast(screen.model);
    await drawn();
    expect(panel()?.querySelector("img")).toBeNull();
    expect(panel()?.textContent).toContain(markup);
  });
});
