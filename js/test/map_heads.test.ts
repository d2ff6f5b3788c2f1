// Maps of all heads: of one layer, and of all layers at one token.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import { fromScene } from "../src/domain/experiments";
import { cellOf } from "../src/domain/preview";
import { click, drawn, hover, mapOf, mount, press, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, named, text, at, choose, experiments } = within(() => screen);

describe("a map of all heads of a layer", () => {
  const component = "head_value_output";
  const heads = () => mapOf({ component, head: "all", layer: 2 });
  const rows = () =>
    $$(".vene-map-head[data-layer]").map((head) => [
      head.dataset.layer,
      head.getAttribute("aria-label"),
    ]);

  it("is chosen in one menu, which begins with all heads of all layers", async () => {
    screen = mount();
    await choose("Component of the map", component);
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: "all", layer: null });
    const menu = named("Heads of the map") as HTMLSelectElement;
    const groups = [...menu.querySelectorAll("optgroup")].map((group) =>
      [...group.querySelectorAll("option")].map((option) => option.text),
    );
    expect(groups[0]?.slice(-2)).toEqual(["at 3 ␣Spain", "at 4 ␣is"]);
    expect(groups[1]?.slice(0, 2)).toEqual(["head 0", "head 1"]);
    expect(groups[2]?.slice(0, 2)).toEqual(["in L0", "in L1"]);
    const { heads, layers } = spainAndItaly().scene.model;
    const { base } = spainAndItaly().scene;
    expect(groups.map((group) => group.length)).toEqual([base.length, heads[component], layers]);
    expect(menu.selectedOptions[0]?.text).toBe("at 4 ␣is");
    await choose("Heads of the map", "layer 2");
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: "all", layer: 2 });
    expect(menu.selectedOptions[0]?.text).toBe("in L2");
    await choose("Heads of the map", "1");
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: 1, layer: null });
    await choose("Component of the map", "head_query_output");
    expect(screen.model.sent.at(-1)).toMatchObject({ head: 1, layer: null });
    await choose("Heads of the map", "position 3");
    expect(screen.model.sent.at(-1)).toMatchObject({ head: "all", layer: null, position: 3 });
    await choose("Heads of the map", "layer 2");
    expect(screen.model.sent.at(-1)).toMatchObject({ head: "all", layer: 2, position: null });
    await choose("Component of the map", component);
    await choose("Component of the map", "head_query_output");
    expect(screen.model.sent.at(-1)).toMatchObject({ head: "all", layer: 2 });
    await choose("Component of the map", "mlp_output");
    expect(screen.model.sent.at(-1)).toMatchObject({ head: null, layer: null });
  });

  it("has the heads as rows, and a click makes a slot there", async () => {
    screen = mount({ map: heads() });
    const count = spainAndItaly().scene.model.heads[component] as number;
    expect(rows().map(([row]) => row)).toEqual(
      Array.from({ length: count }, (_, n) => String(count - 1 - n)),
    );
    expect(rows().at(-1)?.[1]).toBe("Pin head 0");
    expect(text(".vene-map-corner")).toBe("head");
    expect($("[role=grid]")?.getAttribute("aria-label")).toContain("heads of layer 2 from bottom");
    expect(at(1, 3).dataset.head).toBe("1");
    expect(at(1, 3).getAttribute("aria-label")).toMatch(/^head 1, position 3 ␣Spain, /);
    await hover(at(1, 3));
    expect(text(".vene-readout-value")).toContain("layer 2 · head 1 · 3");
    click(at(1, 3));
    expect(experiments().at(-1)?.slots).toMatchObject([
      { layer: 2, head: 1, component, position: 3, source: "italy", intervention: "vanilla" },
    ]);
    await drawn();
    expect(at(1, 3).getAttribute("aria-selected")).toBe("true");
    expect(at(2, 3).getAttribute("aria-selected")).toBe("false");
    const cell = heads().cells.find((c) => c.head === 1 && c.position === 3);
    expect(text(".vene-sentence")).toContain(cell?.sentence.split(":")[0] ?? "?");
  });

  it("is walked, painted and pinned by the keys", async () => {
    screen = mount({ map: heads() });
    at(0, 3).focus();
    press(at(0, 3), "ArrowUp");
    expect(document.activeElement).toBe(at(1, 3));
    press(at(1, 3), "ArrowRight", { shiftKey: true });
    press(at(1, 4), "Enter");
    expect(experiments().at(-1)?.slots).toMatchObject([
      { layer: 2, head: 1, position: 3, group: "A" },
      { layer: 2, head: 1, position: 4, group: "A" },
    ]);
    press(at(1, 4), "p");
    await drawn();
    expect(text(".vene-pin-name")).toBe("head 1 · 4 ␣is");
  });

  it("has pins of its own, which wait while layers are shown", async () => {
    screen = mount({ map: heads() });
    press(at(3, 3), "p");
    await drawn();
    expect($$(".vene-pin")).toHaveLength(1);
    screen.model.write({ map: mapOf({}) });
    await drawn();
    expect($$(".vene-pin")).toHaveLength(0);
    screen.model.write({ map: heads() });
    await drawn();
    expect(text(".vene-pin-name")).toBe("head 3 · 3 ␣Spain");
  });

  it("tells slots of other layers and heads apart", () => {
    const { scene } = spainAndItaly();
    const found = (fields: object) => {
      const slot = { layer: 2, position: 3, component, head: 1, source: "italy", ...fields };
      const experiment = { ...scene.experiment, slots: [slot] };
      return cellOf(fromScene({ ...scene, experiment }), heads())?.head;
    };
    expect(found({})).toBe(1);
    expect(found({ head: 3 })).toBe(3);
    expect(found({ layer: 1 })).toBeUndefined();
    expect(found({ component: "head_query_output" })).toBeUndefined();
  });
});

describe("a map of all heads of all layers", () => {
  const component = "head_value_output";
  const heads = () => mapOf({ component, head: "all", layer: null, position: 3 });
  const model = spainAndItaly().scene.model;
  const tile = (layer: number, head: number) => at(layer, head);

  it("has layers as rows and heads as columns, and says at which token", async () => {
    screen = mount({ map: heads() });
    const columns = $$(".vene-map-head[data-position]");
    expect(columns.map((head) => head.textContent)).toEqual(
      Array.from({ length: model.heads[component] as number }, (_, n) => `H${n}`),
    );
    expect(columns[1]?.getAttribute("aria-label")).toBe("Pin H1, head 1");
    expect($$(".vene-map-head[data-layer]")).toHaveLength(model.layers);
    expect($(".vene-map-fold")).toBeNull();
    expect($("[role=grid]")?.getAttribute("aria-label")).toContain(
      "layers from bottom to top, heads at ␣Spain from left to right",
    );
    expect(tile(2, 1).getAttribute("aria-label")).toMatch(/^layer 2, head 1, /);
    expect(tile(2, 1).dataset.head).toBe("1");
    await hover(tile(2, 1));
    expect(text(".vene-readout-value")).toContain("layer 2 · head 1 · 3 ␣Spain");
  });

  it("is clicked, painted, walked and pinned like any other", async () => {
    screen = mount({ map: heads() });
    click(tile(2, 1));
    expect(experiments().at(-1)?.slots).toMatchObject([
      { layer: 2, head: 1, component, position: 3, source: "italy", source_position: 3 },
    ]);
    await drawn();
    expect($$(".vene-tile-chosen")).toEqual([tile(2, 1)]);
    const cell = heads().cells.find((one) => one.head === 1 && one.layer === 2);
    expect(text(".vene-sentence")).toContain(cell?.sentence.split(":")[0] ?? "?");
    tile(2, 1).focus();
    press(tile(2, 1), "ArrowUp");
    expect(document.activeElement).toBe(tile(3, 1));
    press(tile(3, 1), "ArrowRight", { shiftKey: true });
    press(tile(3, 2), "Enter");
    expect(experiments().at(-1)?.slots).toMatchObject([
      { layer: 3, head: 1, position: 3, group: "A" },
      { layer: 3, head: 2, position: 3, group: "A" },
    ]);
    await drawn();
    expect($$(".vene-tile-chosen")).toHaveLength(2);
    press(tile(3, 2), "p");
    await drawn();
    expect(text(".vene-pin-name")).toBe("layer 3 · head 2");
    screen.model.write({ map: mapOf({}) });
    await drawn();
    expect($$(".vene-pin")).toHaveLength(0);
  });

  it("shows the slots at its token alone", () => {
    const { scene } = spainAndItaly();
    const slot = { layer: 2, component, head: 1, source: "italy", source_position: 3 };
    const found = (position: number) => {
      const experiment = { ...scene.experiment, slots: [{ ...slot, position }] };
      return cellOf(fromScene({ ...scene, experiment }), heads())?.layer;
    };
    expect(found(3)).toBe(2);
    expect(found(4)).toBeUndefined();
  });
});
