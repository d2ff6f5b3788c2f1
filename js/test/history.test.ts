import { afterEach, describe, expect, it } from "vitest";
import { FakeModel } from "../dev/fake_model";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { addPast } from "../dev/past";
import widget from "../src/index";
import type { Past, Scene } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, press, start } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const base = spainAndItaly().scene.experiment;
const slot = (layer: number, position = 3, more: object = {}) => ({
  ...{ layer, position, source: "italy", source_position: position },
  ...more,
});
const sceneAt = (revision: number, ...slots: ReturnType<typeof slot>[]) =>
  sceneOf({ ...base, slots }, 6, revision, null);

/** A history of a plain base, layer 1, and a group; the group is on the screen. */
function traits() {
  const scenes = [
    sceneAt(1),
    sceneAt(2, slot(1)),
    sceneAt(3, slot(0, 3, { group: "A" }), slot(2, 4, { group: "A", skip: true })),
  ];
  let past: Past | null = null;
  for (const scene of scenes) past = addPast(past, scene, makeAnswer(scene));
  const last = scenes[2] as Scene;
  return { scene: last, answer: makeAnswer(last), past };
}

const chips = () => [...screen.el.querySelectorAll<HTMLButtonElement>(".vene-past")];
const chip = (n: number) => chips()[n] as HTMLButtonElement;
const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);

describe("the strip", () => {
  it("has a chip per experiment, the newest at the right, the present one marked", () => {
    screen = mount(traits());
    expect(chips().map((c) => c.getAttribute("aria-label"))).toEqual([
      expect.stringMatching(/^#0: base Madrid [\d.]+\s%, no slots$/),
      expect.stringMatching(/^#1: L1 ␣Spain Rome [\d.]+\s%, 1 slot$/),
      expect.stringMatching(/^#2: L0 ␣Spain Rome [\d.]+\s%, 2 slots$/), // one of them is skipped
    ]);
    for (const c of chips()) expect(c.getAttribute("aria-label")).toContain(c.textContent?.trim());
    expect(chips().map((c) => c.getAttribute("aria-current"))).toEqual([null, null, "true"]);
    expect(chip(1).title).toContain(traits().past?.entries[1]?.sentence);
  });

  it("says where each acts: its first live slot, how many more, and no token of other prompts", () => {
    const sources: [string, string][] = [["italy", base.base]];
    const elsewhere = { base: "The capital of France is", sources };
    const scenes = [
      sceneAt(1, slot(0), slot(2, 4)),
      sceneAt(2, slot(0, 3, { skip: true }), slot(2, 4)),
      sceneAt(3, slot(0, 3, { skip: true })),
      sceneOf({ ...elsewhere, slots: [slot(4, 3)] }, 6, 4, null),
      // A held slot is in every experiment that it is held for.
      sceneAt(5, slot(0, 3, { hold: true }), slot(3, 4)),
    ];
    let past: Past | null = null;
    for (const scene of scenes) past = addPast(past, scene, makeAnswer(scene));
    screen = mount({ scene: scenes[0], answer: makeAnswer(scenes[0] as Scene), past });
    expect(chips().map((c) => c.querySelector(".vene-past-name")?.textContent)).toEqual([
      ...["L0 ␣Spain +1", "L2 ␣is", "base", "L4 #3", "L3 ␣is +1"],
    ]);
  });

  it("goes back with a click, as one step that can be undone", async () => {
    screen = mount(traits());
    const before = traits().scene.experiment;
    click(chip(1));
    const request = screen.model.sent.at(-1);
    if (request?.kind !== "experiment") throw new Error("no experiment was asked for");
    expect(request.experiment.slots?.map((s) => [s.layer, s.position, s.source])).toEqual([
      [1, 3, "italy"],
    ]);
    await drawn();
    expect(chip(1).getAttribute("aria-current")).toBe("true");
    press(chip(1), "z", { ctrlKey: true });
    const undone = screen.model.sent.at(-1);
    expect(undone?.kind === "experiment" && undone.experiment.slots?.length).toBe(
      before.slots?.length,
    );
  });

  it("is one stop of Tab, in which the arrows, Home and End move", async () => {
    screen = mount(traits());
    const stops = () => chips().map((c) => c.tabIndex);
    expect(stops()).toEqual([-1, -1, 0]);
    chip(2).focus();
    for (const [key, at] of [
      ["ArrowLeft", 1],
      ["ArrowLeft", 0],
      ["ArrowLeft", 0],
      ["End", 2],
      ["ArrowRight", 2],
      ["Home", 0],
      ["ArrowRight", 1],
    ] as const) {
      expect(press(document.activeElement as Element, key).defaultPrevented).toBe(true);
      await drawn();
      expect(document.activeElement).toBe(chip(at));
      expect(stops()).toEqual([0, 1, 2].map((n) => (n === at ? 0 : -1)));
    }
    expect(screen.model.sent).toEqual([]);
  });

  it("compares with shift-click and Shift-Enter, and asks for no other experiment", async () => {
    screen = mount(traits());
    click(chip(0), { shiftKey: true });
    await drawn();
    expect($("[data-panel=drawer]")?.dataset.tab).toBe("compare");
    const asked = screen.model.sent.at(-1);
    if (asked?.kind !== "compare") throw new Error("no comparison was asked for");
    expect([asked.left.title, asked.right.title]).toEqual(["#0", "grouped"]);
    press(chip(1), "Enter", { shiftKey: true });
    const next = screen.model.sent.at(-1);
    expect(next?.kind === "compare" && next.left.title).toBe("#1");
    expect(screen.model.sent.map((request) => request.kind)).toEqual(["compare", "compare"]);
  });

  it("names an entry with F2, with a double click, or the present one with the button", async () => {
    screen = mount(traits());
    const field = () => $(".vene-panel-history .vene-field") as HTMLInputElement;
    const type = (text: string, key: string) => {
      field().value = text;
      // Not cancelled, the key would press the chip that gets the focus.
      expect(press(field(), key).defaultPrevented).toBe(true);
    };
    press(chip(1), "F2");
    await drawn();
    expect(field().getAttribute("aria-label")).toBe("Name of #1");
    expect(document.activeElement).toBe(field());
    type(" one swap ", "Enter");
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "name", number: 1, name: "one swap" });
    await drawn();
    expect(field()).toBeNull();

    chip(0).dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    await drawn();
    type("other", "Escape");
    await drawn();
    expect(screen.model.sent).toHaveLength(1);

    const button = [...screen.el.querySelectorAll("button")].find((b) => b.textContent === "Name");
    click(button as Element);
    await drawn();
    expect(field().getAttribute("aria-label")).toBe("Name of #2");
    type("both", "Enter");
    expect(screen.model.sent.at(-1)).toMatchObject({ number: 2, name: "both" });
    await screen.model.reply({
      id: screen.model.sent.at(-1)?.id ?? "",
      ok: false,
      error: "name 'both' is taken",
      tokens: null,
    } as never);
    await drawn();
    expect($(".vene-history-refused")?.textContent).toBe("name 'both' is taken");

    press(chip(1), "F2");
    await drawn();
    field().value = "left";
    field().blur(); // by a click elsewhere
    await drawn();
    expect(screen.model.sent.at(-1)).toMatchObject({ number: 1, name: "left" });
    expect(screen.model.sent).toHaveLength(3);
  });

  it("shows a name in place of the slots, and keeps it in the comparison's menu", async () => {
    const given = traits();
    const entries = given.past?.entries.map((e) => (e.number === 1 ? { ...e, name: "swap" } : e));
    screen = mount({ ...given, past: { entries, current: 2 } });
    expect(chip(1).textContent?.trim()).toMatch(/^swap Rome \d+\s%$/);
    expect(chip(1).getAttribute("aria-label")).toMatch(/^swap Rome \d+\s%, 1 slot$/);
    click(chip(1), { shiftKey: true });
    await drawn();
    const menu = $('[aria-label="Left side"]') as HTMLSelectElement;
    expect(menu.selectedOptions[0]?.textContent).toMatch(/^swap · ␣Rome/);
  });

  it("is empty before the first answer, and offers no name", () => {
    screen = mount();
    expect($("[data-panel=history]")).not.toBeNull();
    expect(chips()).toEqual([]);
    const button = [...screen.el.querySelectorAll("button")].find((b) => b.textContent === "Name");
    expect(button?.disabled).toBe(true);
  });
});

describe("going back", () => {
  it("paints the kept answer as exact at once, and says which run it is from", async () => {
    screen = mount();
    for (const layer of [1, 5]) {
      click($(`[role=gridcell][data-layer="${layer}"][data-position="3"]`) as Element);
      answer(screen.model, accept(screen.model, layer + 1));
    }
    let label: string | undefined;
    screen.model.answer = () => {
      label = $(".vene-status")?.dataset.label;
    };
    screen.model.write({ map: {} });
    press($(".vene-root") as Element, "z", { ctrlKey: true });
    await drawn();
    expect(label).toBeDefined(); // the kernel was told
    expect($(".vene-status")?.dataset.label).toBe("exact");
    expect($(".vene-status")?.textContent).toContain("kept from run 2");
    expect($(".vene-sentence")?.textContent).toContain("block 1");
    answer(screen.model, accept(screen.model, 9));
    await drawn();
    expect($(".vene-status")?.textContent).not.toContain("kept");
  });

  it("over twenty steps and forth again never waits for the kernel", () => {
    const { model, answers, experiment, gestures } = start();
    const seen: (string | undefined)[] = [answers.shown.value?.sentence];
    for (let n = 0; n < 20; n++) {
      gestures.apply({ row: n % 6, column: n % 5 }, n % 3 === 2 ? "add" : "replace");
      answer(model, accept(model, n + 2));
      seen.push(answers.shown.value?.sentence);
    }
    expect(experiment.undoList.value.past).toHaveLength(20);
    model.write({ map: {} }); // no previews: what is shown was kept
    for (let n = 19; n >= 0; n--) {
      experiment.undo();
      expect([answers.label.value, answers.shown.value?.sentence]).toEqual(["exact", seen[n]]);
    }
    expect(experiment.undo()).toBe(false);
    for (let n = 1; n <= 20; n++) {
      experiment.redo();
      expect([answers.label.value, answers.shown.value?.sentence]).toEqual(["exact", seen[n]]);
    }
    expect(experiment.redo()).toBe(false);
    expect(model.sent).toHaveLength(60);
  });

  it("keeps the last fifty answers and no more", () => {
    const { model, answers, experiment } = start();
    const first = experiment.now.value;
    for (let n = 0; n < 51; n++) {
      const now = experiment.now.value;
      if (now) experiment.commit({ ...now, base: `The capital of ${n} is` });
      answer(model, accept(model, n + 2));
    }
    if (first) experiment.commit(first);
    expect(answers.exact.value).toBeNull();
    const second = first && { ...first, base: "The capital of 1 is" };
    if (second) experiment.commit(second);
    expect(answers.exact.value?.revision).toBe(3);
  });
});

describe("two views of one explorer", () => {
  it("show one strip, and what one restores the other can undo", async () => {
    const model = new FakeModel({ ...spainAndItaly(), ...traits() });
    const els = [0, 1].map(() => {
      const el = document.createElement("div");
      document.body.append(el);
      return el;
    });
    const closes = els.map((el) =>
      widget.render({ model: model.model, el, signal: new AbortController().signal } as never),
    );
    const marked = () =>
      els.map((el) => el.querySelector<HTMLElement>("[aria-current]")?.dataset.number);
    click(els[0]?.querySelectorAll(".vene-past")[1] as Element);
    expect(model.sent).toHaveLength(1);
    const scene = accept(model, 4);
    const past = addPast(traits().past, scene, makeAnswer(scene));
    model.write({ answer: makeAnswer(scene), past });
    await drawn();
    expect(marked()).toEqual(["1", "1"]);
    expect(model.sent).toHaveLength(1); // neither view answers the other
    press(els[1]?.querySelector("[role=gridcell]") as Element, "z", { ctrlKey: true });
    answer(model, accept(model, 5));
    await drawn();
    expect(marked()).toEqual(["2", "2"]);
    expect(model.sent).toHaveLength(2);
    for (const close of closes) (close as () => void)();
    expect(model.listening).toBe(0);
  });
});
