// The menus of the map, and maps of other operators.
import { afterEach, describe, expect, it } from "vitest";
import { ITALY, makeMap, makeScene, SPAIN, spainAndItaly } from "../dev/fixtures";
import { fromScene } from "../src/domain/experiments";
import { cellOf } from "../src/domain/preview";
import { click, drawn, mapOf, mount, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, named, text, at, choose, experiments } = within(() => screen);

describe("the menus of the map", () => {
  const options = (name: string) =>
    [...(named(name) as HTMLSelectElement).options].map((option) => option.text);

  it("are in words and in groups", async () => {
    screen = mount();
    const groups = [...named("Component of the map").querySelectorAll("optgroup")];
    expect(groups.map((group) => group.label)).toEqual([
      ...["Residual stream", "Attention heads", "Attention", "MLP"],
    ]);
    expect(options("Component of the map")).toContain("residual stream, after block");
    expect(options("Operator of the map")).toEqual(["patch", "zero", "mean", "noise"]);
    expect(options("Metric").slice(0, 2)).toEqual(["probability of", "change of probability of"]);
    await choose("Metric", "logit_difference");
    const chosen = $$(".vene-map-tools select").map(
      (select) => (select as HTMLSelectElement).selectedOptions[0]?.text,
    );
    expect(chosen.slice(3)).toEqual(["logit difference", "␣Rome", "␣Madrid"]);
    expect($$(".vene-tool-group")[1]?.querySelector(".vene-target + *")).not.toBeNull();
    expect([...($$(".vene-tool-group")[1]?.childNodes ?? [])].map((n) => n.nodeType)).toContain(3);
    expect(text(".vene-map-tools")).not.toMatch(/[tu] =/);
  });

  it("without a source have only what needs none, and ask for no operator by name", async () => {
    const scene = makeScene(SPAIN, {}, 6);
    const zeroed = { intervention: "zero", operator: "zero" };
    screen = mount({ scene, map: makeMap(scene, 1, zeroed), answer: {} });
    expect(options("Operator of the map")).toEqual(["zero", "noise"]);
    expect((named("Operator of the map") as HTMLSelectElement).value).toBe("zero");
    expect(text(".vene-legend")).not.toContain("source");
    await choose("Component of the map", "mlp_output");
    // The kernel zeroes by itself, and copies once there is a source.
    expect(screen.model.sent.at(-1)).toMatchObject({
      component: "mlp_output",
      intervention: "vanilla",
    });
    await choose("Operator of the map", "noise");
    expect(screen.model.sent.at(-1)).toMatchObject({ intervention: "noise", source: null });
  });
});

describe("a map of another operator", () => {
  const { scene } = spainAndItaly();
  const prompts = [SPAIN, ITALY];
  const lastSlot = () => experiments().at(-1)?.slots?.at(-1);

  it.each([
    ["zero", { intervention: "zero", source: null, source_position: null, prompts: [] }],
    ["noise", { intervention: "noise", source: null, scale: 1, seed: 0 }],
    ["mean", { intervention: "mean", source: null, source_position: 3, prompts }],
  ])("of %s is asked for, and a click makes such a slot", async (name, fields) => {
    screen = mount();
    await choose("Operator of the map", name);
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "sweep", intervention: name });
    await screen.model.reply({ id: screen.model.sent.at(-1)?.id ?? "", ok: true, error: null });
    screen.model.write({ map: mapOf({ intervention: name, operator: `${name} in words` }) });
    await drawn();
    expect($("[role=grid]")?.getAttribute("aria-label")).toContain(`(${name} in words)`);
    expect(named("Operator of the map").title).toBe(`${name} in words`);
    click(at(1, 3));
    expect(lastSlot()).toMatchObject({ layer: 1, position: 3, group: null, ...fields });
    await drawn();
    const cell = mapOf({}).cells.find((c) => c.layer === 1 && c.position === 3);
    expect(text(".vene-sentence")).toContain(cell?.sentence.split(":")[0] ?? "?");
    click(at(2, 4), { shiftKey: true });
    expect(experiments().at(-1)?.slots).toHaveLength(2);
    expect(lastSlot()).toMatchObject({ layer: 2, intervention: name, group: null });
    await drawn();
    expect(at(1, 3).getAttribute("aria-selected")).toBe("true");
  });

  it("has no shared tokens to fold, and hatches only what leads nowhere", async () => {
    screen = mount({ map: mapOf({ intervention: "zero" }) });
    expect($(".vene-fold")).toBeNull();
    expect(at(2, 0).className).not.toContain("vene-tile-idle");
    expect(at(5, 3).className).toContain("vene-tile-idle");
    expect($(".vene-map-from")).toBeNull();
    // Not filled yet, it does not take equal tokens for tiles without an effect either.
    const map = mapOf({ intervention: "zero" });
    screen.model.write({ map: { ...map, cells: map.cells.slice(0, 5), done: 5 } });
    await drawn();
    expect(at(2, 0).className).not.toContain("vene-tile-idle");
  });

  it("is a preview of slots of its own operator only", () => {
    const places = { vanilla: { source: "italy" }, mean: { prompts } } as Record<string, object>;
    const names = ["vanilla", "zero", "noise", "mean"];
    const plain = (fields: object) =>
      fromScene({
        ...scene,
        experiment: { ...scene.experiment, slots: [{ layer: 1, position: 3, ...fields }] },
      });
    const found = (fields: object, of: string) =>
      cellOf(plain(fields), mapOf({ intervention: of }));
    for (const name of names) {
      const fields = { intervention: name, ...places[name] };
      for (const of of names) {
        if (of === name) expect(found(fields, of)).toMatchObject({ layer: 1, position: 3 });
        else expect(found(fields, of)).toBeNull();
      }
      expect(found({ ...fields, strength: 0.5 }, name)).toBeNull();
    }
    const noise = { intervention: "noise" };
    expect(found({ ...noise, seed: 1 }, "noise")).toBeNull();
    expect(found({ ...noise, scale: 2 }, "noise")).toBeNull();
    expect(found({ intervention: "mean", prompts: [SPAIN] }, "mean")).toBeNull();
    expect(found({ intervention: "mean", prompts, source_position: 4 }, "mean")).toBeNull();
    expect(
      found({ intervention: "zero", source: "italy", source_position: 0 }, "zero"),
    ).not.toBeNull();
  });
});
