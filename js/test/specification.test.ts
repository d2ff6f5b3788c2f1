// Is it real?: the curve, the choices below it, and what is said without one.
import { afterEach, describe, expect, it } from "vitest";
import { makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import type { Specification } from "../src/kernel/wire";
import { click, drawn, hover, mount, openTab, tile, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text, button } = within(() => screen);

const CURVE: Specification = {
  request: "r1",
  share: null,
  base: "The capital of Spain is",
  source: "The capital of Italy is",
  site: "␣Spain after block 0",
  agreed: 3,
  count: 4,
  sentence: "␣Spain after block 0: same sign in 3 of 4 specifications.",
  rows: [
    { choices: ["corrupt", "zero", "1", "probability"], effect: -0.2 },
    { choices: ["restore", "swap", "3", "logit_difference"], effect: 0.4 },
    { choices: ["restore", "swap", "1", "probability"], effect: 0.9 },
    { choices: ["corrupt", "swap", "1", "log_probability"], effect: 1 },
  ],
  left_out: ["restore × mean: a mean needs two prompts as long as the source"],
  note: null,
  templates: [],
  findings: [],
};

async function open(specification: Partial<Specification> | object, more: object = {}) {
  screen = mount({ specification, ...more });
  await openTab(screen.el, "specification");
}

describe("a specification curve", () => {
  it("has an effect for each specification and a mark for each of its choices", async () => {
    await open(CURVE);
    expect(text(".vene-specification strong")).toBe("Same sign in 3 of 4");
    expect(text(".vene-specification figcaption")).toContain("“The capital of Spain is”");
    expect(text(".vene-specification figcaption")).toContain("left out: restore × mean");
    expect($$(".vene-specification circle")).toHaveLength(4);
    expect($$('.vene-specification circle[data-up="true"]')).toHaveLength(3);
    expect($$(".vene-specification rect")).toHaveLength(16);
    const names = $$(".vene-specification svg > text").map((one) => one.textContent);
    expect(names).toEqual([
      ...["restore", "corrupt", "swap", "zero", "1 layer", "3 layers"],
      ...["logit difference", "probability", "log probability"],
    ]);
    expect($(".vene-specification svg")?.getAttribute("aria-label")).toBe(CURVE.sentence);
    expect($$(".vene-specification title").map((one) => one.textContent)[0]).toBe(
      "corrupt, zero, 1 layer, probability: -0.2",
    );
    // Larger effects are higher, and later ones further right.
    const at = (name: string) =>
      $$(".vene-specification circle").map((one) => Number(one.getAttribute(name)));
    expect(at("cy")).toEqual([...at("cy")].sort((a, b) => b - a));
    expect(at("cx")).toEqual([...at("cx")].sort((a, b) => a - b));
  });

  it("marks each choice in its own row", async () => {
    await open(CURVE);
    const rowOf = new Map(
      $$(".vene-specification svg > text").map((one) => [
        one.textContent,
        Number(one.getAttribute("y")) - 4,
      ]),
    );
    const first = [...($$(".vene-specification svg > g")[3]?.querySelectorAll("rect") ?? [])];
    expect(first.map((one) => Number(one.getAttribute("y")) + 2.5)).toEqual(
      ["corrupt", "zero", "1 layer", "probability"].map((name) => rowOf.get(name)),
    );
  });

  it("is asked for by its button, and says that it runs", async () => {
    await open({});
    expect(text("[data-panel=specification] .vene-hint")).toContain("Patch a tile, then run");
    click(button("Run every choice"));
    await drawn();
    expect(screen.model.sent.map(({ kind }) => kind)).toEqual(["specification"]);
    screen.close();
    await open({ ...CURVE, rows: [], share: 0.25 });
    expect($("[data-panel=specification] progress")).toHaveProperty("value", 0.25);
  });

  it("shows why it could not be run", async () => {
    await open({ ...CURVE, rows: [], note: "Stopped." });
    expect(text("[data-panel=specification] .vene-hint")).toBe("Stopped.");
  });

  it("takes other templates, a row for each", async () => {
    await open({});
    const field = $('[aria-label="Other templates"]') as HTMLTextAreaElement;
    field.value = "People in {} speak\n\n {} is ";
    field.dispatchEvent(new Event("change", { bubbles: true }));
    click(button("Run every choice"));
    await drawn();
    expect(screen.model.sent[0]).toMatchObject({ templates: ["People in {} speak", "{} is"] });
    screen.close();
    const rows = CURVE.rows.map(({ choices, effect }, n) => ({
      choices: [...choices, n % 2 ? "People in {} speak" : "The capital of {} is"],
      effect,
    }));
    await open({ ...CURVE, rows, templates: ["People in {} speak"] });
    const names = $$(".vene-specification svg > text").map((one) => one.textContent);
    expect(names.slice(-2)).toEqual(["People in {} speak", "The capital of {} is"]);
    expect($$(".vene-specification rect")).toHaveLength(20);
    expect(($('[aria-label="Other templates"]') as HTMLTextAreaElement).value).toBe(
      "People in {} speak",
    );
  });

  it("says on its tile what came out, for these prompts alone", async () => {
    const found = { component: "block_output", head: null, layer: 0, position: 3 };
    const { base, source } = CURVE;
    const findings = [{ ...found, base, source, agreed: 46, count: 48 }];
    await open({ ...CURVE, findings });
    const here = tile(screen.el, 0, 3);
    expect(here.getAttribute("aria-label")).toContain("same sign in 46 of 48");
    await hover(here);
    expect(text(".vene-readout-sentence")).toContain("Same sign in 46 of 48 specifications");
    expect($$(".vene-tile-agreed").map((one) => one.getAttribute("data-text"))).toEqual(["46/48"]);
    screen.close();
    await open({ ...CURVE, findings: findings.map((one) => ({ ...one, source: "another" })) });
    expect($$(".vene-tile-agreed")).toHaveLength(0);
    screen.close();
    // It ran without the slots that the map holds.
    const slots = [{ layer: 1, position: 3, source: "italy", source_position: 3, hold: true }];
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 6, 1, null);
    const map = { ...makeMap(scene), held: slots };
    await open({ ...CURVE, findings }, { scene, map });
    expect(tile(screen.el, 0, 3).getAttribute("aria-label")).not.toContain("not computed");
    expect($$(".vene-tile-agreed")).toHaveLength(0);
  });
});
