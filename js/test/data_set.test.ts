// A data set: the map of means, the pairs behind a tile, a pair and back, on a page without a kernel.
import { afterEach, describe, expect, it } from "vitest";
import { aDataSet, sceneOf, spainAndItaly } from "../dev/fixtures";
import { createDataSet } from "../src/features/dataset/state";
import widget from "../src/index";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import type { DataSet } from "../src/kernel/wire";
import { click, drawn, hover, mount, press, refuse, start, tile, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text, at, said, button } = within(() => screen);
const open = (more: Partial<DataSet> = {}, traits = {}) =>
  mount({ data_set: { ...aDataSet(), ...more }, ...traits });
const rows = () => $$(".vene-data-pair").map((row) => row.textContent);
const back = () => button("← 6 pairs");

/** Many pairs: the n-th has the value n / 1000 in every tile. */
function many(count = 1000, spread = 180, ends = 10): DataSet {
  const set = aDataSet();
  const all = [
    ...Array.from({ length: spread }, (_, n) => Math.round((n * (count - 1)) / (spread - 1))),
    ...Array.from({ length: 2 * ends }, (_, n) => (n < ends ? n + 1 : count - 2 - n + ends)),
    ...[333, 334, 335], // far out elsewhere
  ];
  const numbers = [...new Set(all)];
  const values = numbers.map((n) => n / 1000);
  return {
    ...set,
    pairs: count,
    shown: numbers.map((number) => ({ number, words: [["A"], ["b", "c"]] })),
    ...{ spread, ends },
    tiles: set.tiles.map((one) =>
      one.possible ? { ...one, n: count, mean: 0.4995, values } : one,
    ),
  };
}

describe("the map of means", () => {
  it("is a grid of layers × places with one tab stop, each tile in words", () => {
    screen = open();
    expect($$("[role=grid] [role=gridcell]")).toHaveLength(30);
    expect($$('[role=gridcell][tabindex="0"]')).toHaveLength(1);
    expect(said(0, 3)).toBe(`layer 0, position 3, ${aDataSet().tiles[3]?.words}`);
    expect(said(0, 3)).toMatch(
      /^layer 0, position 3, Mean recovery 0\.9\d+, interval .* 6 pairs, q/,
    );
    expect(at(0, 0).className).toContain("vene-tile-idle");
    expect(at(0, 3).querySelector(".vene-tile-number")).toHaveProperty("dataset.text", "0.98");
    expect(text(".vene-data-facts")).toBe(aDataSet().facts);
    expect($(".vene-panel-slots, .vene-drawer")).toBeNull();
  });

  it("says of a tile what it holds, and marks what a control explains", async () => {
    const set = aDataSet();
    set.tiles = set.tiles.map((one, n) => ({ ...one, explained: n === 3 }));
    screen = open(set);
    expect(at(0, 3).className).toContain("vene-data-explained");
    expect(at(1, 3).className).not.toContain("vene-data-explained");
    await hover(at(1, 3));
    expect(text(".vene-readout")).toContain(set.tiles[8]?.words);
    // An interval is drawn where there is one.
    expect(at(1, 3).querySelector(".vene-whisker")).not.toBeNull();
    expect(at(1, 0).querySelector(".vene-whisker")).toBeNull();
  });

  it("is chosen from and walked by keys", async () => {
    screen = open();
    expect(text(".vene-sentence-what")).toBe("After block 0, position 3");
    at(0, 3).focus();
    press(at(0, 3), "ArrowUp");
    await drawn();
    expect((document.activeElement as HTMLElement).dataset.layer).toBe("1");
    expect(at(0, 3).getAttribute("aria-selected")).toBe("true");
    press(at(1, 3), "Enter");
    await drawn();
    expect(at(1, 3).getAttribute("aria-selected")).toBe("true");
    expect(text(".vene-sentence-what")).toBe("After block 1, position 3");
    click(at(1, 0)); // nothing can be there
    await drawn();
    expect(text(".vene-sentence-what")).toBe("After block 1, position 3");
    expect(screen.model.sent).toEqual([]);
  });

  it("has heads as columns where there is one place, and a menu of heads where there are more", async () => {
    const set = aDataSet();
    const ofHead = (head: number) => set.tiles.map((one) => ({ ...one, head, mean: head / 10 }));
    screen = open({ heads: [4, 7], tiles: [...ofHead(4), ...ofHead(7)] });
    expect(at(0, 3).querySelector(".vene-tile-number")).toHaveProperty("dataset.text", "0.4");
    const menu = $("[aria-label='Head of the map']") as HTMLSelectElement;
    menu.value = "7";
    menu.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect(at(0, 3).querySelector(".vene-tile-number")).toHaveProperty("dataset.text", "0.7");
    screen.close();
    const last = [...ofHead(4), ...ofHead(7)]
      .filter(({ place }) => place === 4)
      .map((one) => ({ ...one, place: 0 }));
    screen = open({ heads: [4, 7], places: ["last"], tiles: last });
    expect($$("[role=columnheader]").map((head) => head.textContent)).toEqual(["head 4", "head 7"]);
    expect(said(5, 1)).toMatch(/^layer 5, head 7, /);
  });

  it("fills while pairs run, and says how far it is", async () => {
    const empty = { ...aDataSet(), tiles: [], shown: [] };
    screen = mount({
      data_set: empty,
      data_progress: { words: "1,200 of 10,000 pairs", share: 0.06 },
      status: { busy: "pairs", progress: 0.06, error: null, note: null },
    });
    expect(said(0, 3)).toBe("layer 0, position 3, not computed yet");
    expect(text(".vene-data-facts")).toContain("1,200 of 10,000 pairs");
    expect(button("Cancel").style.visibility).toBe("visible");
    click(button("Cancel"));
    expect(screen.model.sent).toMatchObject([{ kind: "cancel" }]);
    screen.model.write({ data_set: { ...aDataSet(), note: "Stopped." }, data_progress: {} });
    await drawn();
    expect(text(".vene-data-facts")).toContain("Stopped.");
    expect(rows()).toHaveLength(6);
  });
});

describe("the pairs behind a tile", () => {
  it("are listed from the furthest on, with the words in which they differ", () => {
    screen = open();
    const { tiles, shown } = aDataSet();
    const { values = [], mean } = tiles[3] ?? {};
    const far = (n: number) => Math.abs((values[n] ?? 0) - (mean ?? 0));
    const order = shown.map((_, n) => n).sort((a, b) => far(b) - far(a));
    expect($$(".vene-data-number").map((one) => Number(one.textContent))).toEqual(
      order.map((n) => shown[n]?.number),
    );
    expect(rows().some((row) => row?.includes("The capital of Spain → Italy is"))).toBe(true);
    expect($$(".vene-data-words b")[0]?.textContent).toMatch(/^\w+ → \w+$/);
    expect($$(".vene-strip circle")).toHaveLength(6);
    expect(text(".vene-strip")).toBe("base 0source 1");
    expect(text(".vene-data-count")).toContain("All 6 pairs");
  });

  it("are those spread evenly and its own ends, where not all were sent", () => {
    screen = open(many());
    const numbers = $$(".vene-data-number").map((one) => Number(one.textContent));
    const own = new Set(numbers);
    for (let n = 0; n < 10; n++) expect([own.has(n), own.has(999 - n)]).toEqual([true, true]);
    expect([333, 334].some((n) => own.has(n))).toBe(false);
    expect(text(".vene-data-count")).toBe(
      `${numbers.length} of 1,000 pairs drawn: 10 furthest at each end, an even spread`,
    );
    expect(numbers.slice(0, 4).sort((a, b) => a - b)).toEqual([0, 1, 998, 999]);
  });

  it("have a scale of their own where all effects are small", () => {
    const labels = () => $$(".vene-strip text").map((one) => one.textContent);
    screen = open({ source: 50 });
    expect(labels()).toEqual(["base 0", "source 50 →"]);
    expect($$(".vene-strip-plain line")).toHaveLength(1);
    screen.close();
    screen = open({ base: 2, source: -50 });
    expect(labels()).toEqual(["base 2", "← source −50"]);
    screen.close();
    screen = open();
    expect($$(".vene-strip-plain line")).toHaveLength(2);
  });

  it("are walked by arrows with one tab stop", async () => {
    screen = open();
    const list = $$(".vene-data-pair");
    expect(list.filter((row) => row.tabIndex === 0)).toEqual([list[0]]);
    list[0]?.focus();
    press(list[0] as Element, "ArrowDown");
    await drawn();
    expect(document.activeElement).toBe($$(".vene-data-pair")[1]);
    press(document.activeElement as Element, "PageDown");
    await drawn();
    expect(document.activeElement).toBe($$(".vene-data-pair")[5]);
    expect($$('.vene-data-pair[tabindex="0"]')).toHaveLength(1);
  });
});

describe("a pair", () => {
  it("is opened with the tile's slot, and the data set comes back as it was", async () => {
    screen = open();
    click(at(1, 3));
    await drawn();
    const row = $$(".vene-data-pair")[2] as HTMLElement;
    const number = Number(row.querySelector(".vene-data-number")?.textContent);
    ($(".vene-data-pairs") as HTMLElement).scrollTop = 40;
    $(".vene-data-pairs")?.dispatchEvent(new Event("scroll"));
    click(row);
    expect(screen.model.sent).toMatchObject([
      { kind: "pair", number, layer: 1, place: 3, head: null },
    ]);
    const asked = screen.model.sent[0]?.id ?? "";
    const slots = [{ layer: 1, position: 3, source: "italy" }];
    const experiment = { ...spainAndItaly().scene.experiment, slots };
    screen.model.write({ scene: sceneOf(experiment, 6, 2, asked) });
    await screen.model.reply({ id: asked, ok: true, error: null });
    await drawn();
    expect($(".vene-data-pairs")).toBeNull();
    expect($("[data-slot='0']")).not.toBeNull();
    click(back());
    await drawn();
    expect(text(".vene-sentence-what")).toBe("After block 1, position 3");
    expect(($(".vene-data-pairs") as HTMLElement).scrollTop).toBe(40);
    expect(document.activeElement?.querySelector(".vene-data-number")?.textContent).toBe(
      String(number),
    );
    expect($("[aria-current]")?.textContent).toContain(String(number));
  });

  it("that is refused leaves the data set there, with the reason", async () => {
    screen = open();
    click($$(".vene-data-pair")[0] as Element);
    await refuse(screen.model, "no such pair");
    await drawn();
    expect(text("[role=alert]")).toContain("no such pair");
    expect($(".vene-data-pairs")).not.toBeNull();
  });

  it("gives way to an experiment that Python puts on the screen", async () => {
    screen = open();
    const slots = [{ layer: 2, position: 3, source: "italy" }];
    const experiment = { ...spainAndItaly().scene.experiment, slots };
    screen.model.write({ scene: sceneOf(experiment, 6, 2, null) });
    await drawn();
    expect($("[data-slot='0']")).not.toBeNull();
    expect(back()).not.toBeUndefined();
  });

  it("is not there in an explorer of one experiment", () => {
    screen = mount();
    expect($(".vene-data-back, .vene-data-set")).toBeNull();
    expect(start().app.use(createDataSet).isShown.value).toBe(false);
  });
});

it("keys for an experiment do nothing on a data set", async () => {
  screen = open();
  for (const key of ["g", "u", "c", "f"]) press($(".vene-root") as Element, key);
  press($(".vene-root") as Element, "z", { ctrlKey: true });
  await drawn();
  expect(screen.model.sent).toEqual([]);
  expect($(".vene-data-set")).not.toBeNull();
  press($(".vene-root") as Element, "?");
  await drawn();
  expect($(".vene-help")).not.toBeNull();
});

it("on a saved page a pair is its own values over the map", async () => {
  const traits = { ...spainAndItaly(), data_set: aDataSet() };
  const model = new OfflineModel(traits as unknown as SavedTraits);
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.render({ model, el, signal: new AbortController().signal } as never);
  const number = (layer: number) =>
    tile(el, layer, 3).querySelector<HTMLElement>(".vene-tile-number")?.dataset.text;
  const before = number(3);
  const { shown, tiles } = aDataSet();
  const row = el.querySelectorAll<HTMLElement>(".vene-data-pair")[0] as HTMLElement;
  const which = Number(row.querySelector(".vene-data-number")?.textContent);
  click(row);
  await drawn();
  const n = shown.findIndex((one) => one.number === which);
  expect(Number(number(0))).toBeCloseTo(tiles[3]?.values[n] ?? Number.NaN, 1);
  expect(number(3)).not.toBe(before);
  expect(el.querySelector(".vene-data-facts")?.textContent).toContain("a saved page cannot run it");
  expect(el.querySelector(".vene-whisker")).toBeNull();
  click(el.querySelector(".vene-data-back button") as Element);
  await drawn();
  expect(number(3)).toBe(before);
  expect(el.querySelector(".vene-data-facts")?.textContent).toBe(aDataSet().facts);
  close();
});
