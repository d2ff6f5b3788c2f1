// The logit lens on the map's tiles: asked for when it is shown, read beside the base's.
import { afterEach, describe, expect, it } from "vitest";
import type { LensGrid } from "../src/kernel/wire";
import { accept, answer, click, drawn, hover, mount, tile, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text } = within(() => screen);

const SLOTS = [{ layer: 0, position: 3, source: "italy", source_position: 3 }];

/** Six layers of five tokens; the last token's best is another in each run. */
function gridOf(slots: typeof SLOTS, more: Partial<LensGrid> = {}): LensGrid {
  const { scene } = traitsOf(slots);
  const run = (name: string, best: number, p: number) => ({
    name,
    length: 5,
    best: Array.from({ length: 30 }, (_, n) => (n % 5 === 4 ? best : 0)),
    probabilities: Array.from({ length: 30 }, () => p),
    ranks: [Array.from({ length: 30 }, (_, n) => n + 1)],
    shares: [Array.from({ length: 30 }, () => 0.25)],
  });
  const tokens = ["␣a", "␣Madrid", "␣Rome"].map((label, n) => ({ token_id: n + 7, label }));
  return {
    revision: 2,
    note: null,
    experiment: scene.experiment,
    layers: [0, 1, 2, 3, 4, 5],
    tokens,
    targets: [{ token_id: 7, label: "␣a" }],
    runs: [run("base", 1, 0.5), run("italy", 2, 0.75), run("patched", 2, 0.9)],
    ...more,
  };
}

function choose(name: string): void {
  const select = $('[aria-label="Metric"]') as HTMLSelectElement;
  select.value = name;
  select.dispatchEvent(new Event("change", { bubbles: true }));
}

const asked = () => screen.model.sent.filter(({ kind }) => kind === "lens");
const label = (row: number, column: number) =>
  tile(screen.el, row, column).getAttribute("aria-label");

describe("the lens on the map", () => {
  it("is asked for once, and its tokens stand on the tiles", async () => {
    screen = mount(traitsOf(SLOTS));
    choose("lens patched");
    await drawn();
    expect(asked()).toHaveLength(1);
    expect(label(5, 4)).toContain("not computed yet");
    expect(text(".vene-legend")).toContain("Reading the layers…");
    const target = asked()[0] as { targets: number[] };
    screen.model.write({
      lens: gridOf(SLOTS, {
        targets: target.targets.map((token_id) => ({ token_id, label: `t${token_id}` })),
      }),
    });
    await drawn();
    expect(asked()).toHaveLength(1);
    expect(label(5, 4)).toContain("lens of patched: ␣Rome 90\u00a0%, base: ␣Madrid");
    expect(tile(screen.el, 5, 4).classList).toContain("vene-tile-differs");
    expect(label(5, 3)).toContain("lens of patched: ␣a 90");
    expect(tile(screen.el, 5, 3).classList).not.toContain("vene-tile-differs");
    expect($(".vene-tile-word")?.getAttribute("data-text")).toBeTruthy();
    expect(text(".vene-legend")).toContain("another token than base");
    await hover(tile(screen.el, 5, 4));
    expect(text(".vene-readout")).toContain("lens reads ␣Rome = 90");
    expect(text(".vene-readout-sentence")).toContain("Base: ␣Madrid. ");
    choose("lens source");
    await drawn();
    expect(label(5, 4)).toContain("lens of source: ␣Rome 75");
    choose("probability");
    await drawn();
    expect(label(5, 4)).toContain("P(");
    expect($$(".vene-tile-word")).toHaveLength(0);
  });

  it("of the result is old after a click, and read anew after its answer; that of the base stays", async () => {
    screen = mount({ ...traitsOf(SLOTS), lens: gridOf(SLOTS) });
    choose("lens base");
    await drawn();
    const before = asked().length; // its targets are others than the map's
    click(tile(screen.el, 2, 3));
    await drawn();
    expect(label(5, 4)).toContain("lens of base: ␣Madrid 50");
    expect($(".vene-map[data-old]")).toBeNull();
    choose("lens patched");
    await drawn();
    expect($(".vene-map[data-old]")).not.toBeNull();
    expect(asked()).toHaveLength(before); // nothing to read before the answer is there
    const scene = accept(screen.model, 3);
    answer(screen.model, scene);
    await drawn();
    expect(asked()).toHaveLength(before + 1);
  });

  it("that cannot be read says why, and the metric stays", async () => {
    screen = mount(traitsOf(SLOTS));
    choose("lens base");
    await drawn();
    screen.model.write({ lens: gridOf([], { runs: [], experiment: null, note: "No lens here." }) });
    await drawn();
    expect(text(".vene-legend")).toContain("No lens here.");
    expect(label(5, 4)).toContain("P(");
    expect(($('[aria-label="Metric"]') as HTMLSelectElement).value).toBe("probability");
    choose("lens base");
    await drawn();
    expect(text(".vene-legend")).not.toContain("No lens here.");
    expect(asked()).toHaveLength(2);
  });

  it("is not offered of other components, and the menu says why", async () => {
    const traits = traitsOf(SLOTS);
    screen = mount({ ...traits, map: { ...traits.map, component: "mlp_output" } });
    const options = [...($('[aria-label="Metric"]')?.querySelectorAll("option") ?? [])];
    expect(options.filter(({ value }) => value.startsWith("lens "))).toHaveLength(0);
    expect(options.at(-1)?.disabled).toBe(true);
    expect(options.at(-1)?.textContent).toBe("reads the residual stream after a block");
  });

  it("of another model is old", async () => {
    const traits = traitsOf(SLOTS);
    const scene = { ...traits.scene, model_since: 5 };
    screen = mount({ ...traits, scene, lens: gridOf(SLOTS) });
    choose("lens base");
    await drawn();
    expect($(".vene-map[data-old]")).not.toBeNull();
  });

  it("stays on a saved page, without asking", async () => {
    screen = mount({ ...traitsOf(SLOTS), lens: gridOf(SLOTS), offline: "Not here." });
    const values = () =>
      [...($('[aria-label="Metric"]')?.querySelectorAll("option") ?? [])].map(({ value }) => value);
    expect(values()).toContain("lens patched");
    choose("lens patched");
    await drawn();
    expect(label(5, 4)).toContain("lens of patched: ␣Rome 90");
    expect(asked()).toHaveLength(0);
    screen.close();
    screen = mount({ ...traitsOf([]), lens: gridOf(SLOTS), offline: "Not here." });
    expect(values()).toContain("lens base");
    expect(values()).not.toContain("lens patched");
  });
});
