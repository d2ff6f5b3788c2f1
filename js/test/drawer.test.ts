// The drawer: one tab open at a time, and what each of them shows.
import { afterEach, describe, expect, it, vi } from "vitest";
import { ANSWERS, makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { addPast } from "../dev/past";
import { TABS } from "../src/app/tabs";
import { accept, answer, click, drawn, mount, openTab, press, tile, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const { $, $$ } = within(() => screen);
const names = TABS.map(({ name }) => name);
const tab = (name: string) => $(`[data-opens=${name}]`) as HTMLElement;
/** Panels inside the drawer, by name. */
const inside = () => $$("[data-panel=drawer] [data-panel]").map((panel) => panel.dataset.panel);
const opened = () =>
  $$("[role=tab]").flatMap((one) =>
    one.getAttribute("aria-selected") === "true" ? [one.dataset.opens] : [],
  );

const { experiment } = spainAndItaly().scene;
const slot = (layer: number, position: number, more: object = {}) => ({
  ...{ layer, position, source: "italy", source_position: position },
  ...more,
});
function traits(...slots: ReturnType<typeof slot>[]) {
  const scene = sceneOf({ ...experiment, slots }, 6, 2, null);
  return { scene, answer: makeAnswer(scene) };
}

describe("the tabs", () => {
  it("open with the figure, and nothing else is drawn", () => {
    screen = mount();
    expect($$("[role=tablist] [role=tab]").map((one) => one.dataset.opens)).toEqual(names);
    expect(opened()).toEqual(["figure"]);
    expect(inside()).toEqual(["figure"]);
    expect($("[role=tabpanel]")?.getAttribute("aria-label")).toBe("Figure");
  });

  it("show each its own panel, one at a time", async () => {
    screen = mount();
    for (const name of [...names.slice(1), "figure"]) {
      await openTab(screen.el, name);
      expect(opened()).toEqual([name]);
      expect(inside()).toEqual([name]);
      expect($("[data-panel=drawer]")?.dataset.tab).toBe(name);
      expect($$("[role=tabpanel]")).toHaveLength(1);
    }
  });

  it("stay open when the open one is clicked, and close by a button", async () => {
    screen = mount();
    await openTab(screen.el, "data");
    click(tab("data"));
    await drawn();
    expect(opened()).toEqual(["data"]);
    click($('[aria-label="Close the drawer"]') as HTMLElement);
    await drawn();
    expect(opened()).toEqual([]);
    expect($('[aria-label="Close the drawer"]')).toBeNull();
    expect(document.activeElement?.getAttribute("role")).toBe("tab"); // keys stay on the screen
    expect($("[role=tabpanel]")).toBeNull();
    expect(tab("data").getAttribute("aria-expanded")).toBe("false");
    expect($$("[role=tab]").map((one) => one.tabIndex)).toEqual(names.map((_, n) => (n ? -1 : 0)));
    click(tab("data"));
    await drawn();
    expect(opened()).toEqual(["data"]);
    expect($$("[role=tab]").map((one) => one.tabIndex)).toEqual(
      names.map((_, n) => (n === names.length - 1 ? 0 : -1)),
    );
  });

  it("are moved between by the arrows, around the ends, with the focus", async () => {
    screen = mount();
    tab("figure").focus();
    for (const [key, name] of [
      ["ArrowLeft", "data"],
      ["ArrowLeft", "receipts"],
      ["ArrowRight", "data"],
      ["ArrowRight", "figure"],
      ["ArrowRight", "code"],
    ] as const) {
      expect(press(document.activeElement as Element, key).defaultPrevented).toBe(true);
      await drawn();
      expect(opened()).toEqual([name]);
      expect(document.activeElement).toBe(tab(name));
    }
    expect(press(tab("code"), "ArrowDown").defaultPrevented).toBe(false);
  });

  it("come into sight when they are opened, not when the screen is", async () => {
    const seen = vi.spyOn(Element.prototype, "scrollIntoView").mockImplementation(() => {});
    const count = () =>
      seen.mock.contexts.filter((element) => (element as HTMLElement).dataset.panel === "drawer")
        .length;
    const painted = () => new Promise((done) => setTimeout(done, 150)); // effects come after it
    screen = mount(traits(slot(1, 3)));
    await painted();
    expect(count()).toBe(0);
    await openTab(screen.el, "code");
    await vi.waitFor(() => expect(count()).toBe(1));
    click($('[aria-label="Close the drawer"]') as HTMLElement);
    await painted();
    for (const isLecture of [true, false]) {
      press($(".vene-root") as HTMLElement, "f");
      await painted();
      expect($(".vene-root")?.matches(".vene-lecture")).toBe(isLecture);
    }
    expect(count()).toBe(1);
  });

  it("are not the kernel’s business, but for the comparison", async () => {
    screen = mount(traits(slot(1, 3)));
    for (const name of ["code", "receipts", "data", "figure"]) await openTab(screen.el, name);
    expect(screen.model.sent).toEqual([]);
    await openTab(screen.el, "compare");
    expect(screen.model.sent.map((request) => request.kind)).toEqual(["compare"]);
    await openTab(screen.el, "data");
    click(tile(screen.el, 2, 3));
    answer(screen.model, accept(screen.model, 3));
    await drawn();
    expect(screen.model.sent.map((request) => request.kind)).toEqual(["compare", "experiment"]);
  });
});

describe("the comparison", () => {
  it("is opened by C from any tab, and closed by C", async () => {
    screen = mount(traits(slot(1, 3)));
    press(tile(screen.el, 1, 3), "c");
    await drawn();
    expect(opened()).toEqual(["compare"]);
    press(tile(screen.el, 1, 3), "c");
    await drawn();
    expect(opened()).toEqual([]);
    await openTab(screen.el, "code");
    press($(".vene-root") as HTMLElement, "c");
    await drawn();
    expect(opened()).toEqual(["compare"]);
  });

  it("is opened by Shift-click in the history, also from another tab", async () => {
    const given = traits(slot(1, 3));
    const past = addPast(null, given.scene, given.answer);
    screen = mount({ ...given, past });
    await openTab(screen.el, "data");
    click($(".vene-past") as HTMLElement, { shiftKey: true });
    await drawn();
    expect(opened()).toEqual(["compare"]);
    click($(".vene-past") as HTMLElement, { shiftKey: true });
    await drawn();
    expect(opened()).toEqual(["compare"]); // once more does not close it
  });
});

describe("the receipts", () => {
  const rows = () => $$("[data-panel=receipts] tbody tr");
  const line = (n: number) => rows()[n]?.querySelector<HTMLElement>(".vene-receipt-line");

  it("are one row a slot, with its site, and say why there are none", async () => {
    screen = mount();
    await openTab(screen.el, "receipts");
    expect($("[data-panel=receipts] .vene-hint")?.textContent).toContain("no slots yet");
    screen.model.write(
      traits(slot(1, 3), slot(2, 4, { component: "head_value_output", head: 1, skip: true })),
    );
    await drawn();
    expect(rows()).toHaveLength(2);
    expect(rows()[0]?.textContent).toContain("after block 1");
    expect(rows()[1]?.textContent).toContain("head 1 of layer 2");
    expect([0, 1].map((n) => line(n)?.dataset.outcome)).toEqual(["fired", "skipped"]);
  });

  it("wait for the exact answer", async () => {
    screen = mount();
    await openTab(screen.el, "receipts");
    click(tile(screen.el, 1, 3));
    await drawn();
    expect(line(0)?.dataset.outcome).toBe("unknown");
    expect(rows()[0]?.textContent).not.toContain("‖Δ‖");
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect(line(0)?.dataset.outcome).toBe("fired");
    expect(rows()[0]?.textContent).toContain("‖Δ‖");
  });
});

describe("the data", () => {
  const cells = () =>
    $$("[data-panel=data] tbody tr").map((row) =>
      [...row.querySelectorAll<HTMLElement>("td")].slice(1, -1),
    );

  it("are every token in every run, unrounded in the title", async () => {
    const { experiment: grouped, answer: exact } = ANSWERS.grouped;
    screen = mount({ scene: sceneOf(grouped, 6, exact.revision, null), answer: exact });
    await openTab(screen.el, "data");
    const heads = $$("[data-panel=data] thead th").map((th) => th.textContent);
    expect(heads.slice(2, -1)).toEqual(["base", "italy", "ungrouped", "grouped"]);
    expect(cells().map((row) => row.map((cell) => cell.title))).toEqual(
      exact.tokens.map(({ probabilities }) => probabilities.map(String)),
    );
    const ranks = $$("[data-panel=data] tbody tr").map((row) => row.lastElementChild?.textContent);
    const change = exact.differences[0];
    const n = exact.tokens.findIndex(({ token_id }) => token_id === change?.token_id);
    expect(ranks[n]).toBe(`${change?.rank_before} → ${change?.rank_after}`);
  });

  it("leave open what a preview does not know", async () => {
    const { map } = spainAndItaly();
    screen = mount({ map: { ...map, targets: map.targets.slice(0, 2) } });
    await openTab(screen.el, "data");
    click(tile(screen.el, 1, 3));
    await drawn();
    const unknown = cells()
      .flat()
      .filter((cell) => cell.textContent === "…");
    expect(unknown.length).toBeGreaterThan(0);
    for (const cell of unknown) expect(cell.title).toBe("");
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect($("[data-panel=data]")?.textContent).not.toContain("…");
  });

  it("are copied as CSV, unrounded, whatever is in a token", async () => {
    const { experiment: single, answer: exact } = structuredClone(ANSWERS.single);
    const [first] = exact.tokens;
    if (first) first.label = '␣"a", b';
    screen = mount({ scene: sceneOf(single, 6, exact.revision, null), answer: exact });
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    await openTab(screen.el, "data");
    const button = $$("button").find((one) => one.textContent === "Copy as CSV");
    click(button as HTMLElement);
    await drawn();
    const lines = String(writeText.mock.calls[0]?.[0]).trimEnd().split("\n");
    expect(lines).toHaveLength(1 + exact.tokens.length);
    expect(lines[0]).toBe('"token","token_id","base","italy","intervened"');
    expect(lines[1]).toBe(
      ['"␣""a"", b"', first?.token_id, ...(first?.probabilities ?? [])].join(","),
    );
  });
});
