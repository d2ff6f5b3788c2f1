// The map's view: metrics and tokens, pins, painting, previews under the pointer.
import { afterEach, describe, expect, it } from "vitest";
import {
  ITALY,
  makeAnswer,
  makeMap,
  makeScene,
  SPAIN,
  spainAndItaly,
  tokens,
} from "../dev/fixtures";
import { SHORT_WAIT } from "../src/domain/estimate";
import { fromScene } from "../src/domain/experiments";
import { cellOf } from "../src/domain/preview";
import { VISIBLE } from "../src/features/answer/rows";
import type { Map as Sweep } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, openTab, press, tile, unfold } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);
const $$ = (selector: string) => [...screen.el.querySelectorAll<HTMLElement>(selector)];
const named = (name: string) => $(`[aria-label="${name}"]`) as HTMLElement;
const text = (selector: string) => $(selector)?.textContent ?? "";
const idOf = (label: string) =>
  spainAndItaly().map.targets.find((target) => target.label === label)?.token_id as number;
const at = (layer: number, position: number) => tile(screen.el, layer, position);
const point = (target: Element, type: string, more: PointerEventInit = {}) =>
  target.dispatchEvent(
    new PointerEvent(type, { bubbles: true, cancelable: true, isPrimary: true, ...more }),
  );
const hover = async (target: Element) => {
  point(target, "pointerover");
  await drawn();
};
const choose = async (name: string, value: string) => {
  const select = named(name) as HTMLSelectElement;
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  await drawn();
};
const experiments = () =>
  screen.model.sent.flatMap((request) =>
    request.kind === "experiment" ? [request.experiment] : [],
  );
const slots = () =>
  experiments()
    .at(-1)
    ?.slots?.map((slot) => [slot.layer, slot.position, slot.group ?? null]);

describe("the metric", () => {
  it("is described by the kernel alone, and changes without asking it", async () => {
    screen = mount();
    const labels = [...(named("Metric") as HTMLSelectElement).options].map((o) => o.text);
    expect(labels).toEqual(spainAndItaly().scene.model.metrics.map((metric) => metric.label));
    for (const { name, title } of spainAndItaly().scene.model.metrics) {
      await choose("Metric", name);
      const words = title.replace(/\bt\b/, "␣Rome").replace(/\bu\b/, "␣Madrid");
      expect(at(1, 3).getAttribute("aria-label")).toContain(`, ${words} `);
    }
    expect(screen.model.sent).toEqual([]);
  });

  it("shows its formula, unit and limits, with the tokens in them", async () => {
    screen = mount();
    await choose("Metric", "logit_difference");
    const scale = $(".vene-legend-item:has(.vene-legend-scale)");
    expect(scale?.title).toContain("ln (P(␣Rome) / P(␣Madrid)) after patching");
    expect(text(".vene-legend-scale")).toMatch(/^−([\d.]+)\+\1 logits$/);
    await choose("Metric", "rank");
    expect(text(".vene-legend-scale")).toMatch(/^\d+1 = most likely$/);
    expect(at(1, 3).querySelector<HTMLElement>("[data-text]")?.dataset.text).toBe("1");
  });

  it("sets the target against a second token of one's choice", async () => {
    screen = mount();
    expect(named("Second token")).toBeNull();
    await choose("Metric", "logit_difference");
    await choose("Second token", String(idOf("␣Warsaw")));
    await hover(at(1, 3));
    const cell = spainAndItaly().map.cells.find((c) => c.layer === 1 && c.position === 3);
    const p = (label: string) =>
      cell?.probabilities[
        spainAndItaly().map.targets.findIndex((t) => t.label === label)
      ] as number;
    const value = screen.el.querySelector<HTMLElement>(".vene-readout .vene-number");
    expect(value?.textContent).toBe("logit(␣Rome) − logit(␣Warsaw) = +5.65\u00a0logits");
    expect(value?.title).toBe(String(Math.log(p("␣Rome")) - Math.log(p("␣Warsaw"))));
  });
});

describe("the target token", () => {
  it("is any token of the answer’s rows or of the data, at a click", async () => {
    screen = mount();
    click(at(1, 3));
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const button = (panel: string, label: string) =>
      $$(`[data-panel=${panel}] .vene-token-button`).find(
        (b) => b.textContent === label,
      ) as HTMLElement;
    click(button("answer", "␣Madrid"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
    expect(button("answer", "␣Madrid").getAttribute("aria-pressed")).toBe("true");
    expect(button("answer", "␣Rome").getAttribute("aria-pressed")).toBe("false");
    await openTab(screen.el, "data");
    click(button("data", "␣Warsaw"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    expect(button("data", "␣Warsaw").getAttribute("aria-pressed")).toBe("true");
    click(button("answer", "␣Madrid"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
    expect(screen.model.sent).toHaveLength(1);
  });

  it("brings back a metric of tokens when the map shows one of whole distributions", async () => {
    screen = mount();
    await choose("Metric", "kl");
    expect(named("Target token")).toBeNull();
    click($("[data-panel=answer] .vene-token-button") as HTMLElement);
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
  });

  const type = async (value: string) => {
    await choose("Target token", "type");
    const field = named("Target token, typed") as HTMLInputElement;
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    press(field, "Enter");
    await drawn();
    return field;
  };

  it("can be typed as shown or by its id; what the map holds is not asked for", async () => {
    screen = mount();
    await type(" Dublin");
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Dublin)");
    await type(String(idOf("␣Warsaw")));
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    expect(screen.model.sent).toEqual([]);
  });

  it("makes its space visible while it is typed", async () => {
    screen = mount();
    await choose("Target token", "type");
    const field = named("Target token, typed") as HTMLInputElement;
    expect(document.activeElement).toBe(field);
    field.value = " Ro";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    expect(field.value).toBe("␣Ro");
    press(field, "Escape");
    await drawn();
    expect((named("Target token") as HTMLSelectElement).value).toBe(String(idOf("␣Rome")));
  });

  it("is asked for once when the map lacks it, and shown when it comes", async () => {
    screen = mount();
    await type(" Oslo");
    const request = screen.model.sent.at(-1);
    expect(request).toMatchObject({ kind: "follow", token: " Oslo" });
    expect(screen.model.sent).toHaveLength(1);
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Rome)");
    await screen.model.reply({ id: request?.id ?? "", ok: true, error: null, tokens: null });
    const map = spainAndItaly().map;
    const grown: Sweep = {
      ...map,
      targets: [
        ...map.targets,
        { token_id: 4242, label: "␣Oslo", base: 0.1, source: 0.2, request: request?.id ?? "" },
      ],
      cells: map.cells.map((cell) => ({
        ...cell,
        probabilities: [...cell.probabilities, 0.25],
        ranks: [...cell.ranks, 7],
      })),
    };
    screen.model.write({ map: grown });
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Oslo) 25\u00a0%");
  });

  it("that is no single token is refused at its field", async () => {
    screen = mount();
    await type(" Lyon");
    const id = screen.model.sent.at(-1)?.id ?? "";
    await screen.model.reply({ id, ok: false, error: "is 2 tokens, [' L', 'yon']", tokens: null });
    await drawn();
    expect(text(".vene-map-tools [role=alert]")).toContain("[' L', 'yon']");
    const field = named("Target token, typed") as HTMLInputElement;
    expect([field.value, field.getAttribute("aria-invalid")]).toEqual(["␣Lyon", "true"]);
    expect($$("[role=alert]")).toHaveLength(1);
    press(field, "Escape");
    await drawn();
    expect($("[role=alert]")).toBeNull();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Rome)");
  });
});

describe("tiles without effect", () => {
  it("are hatched and say why, on hover and to screen readers", async () => {
    screen = mount();
    await unfold(screen.el);
    for (const [layer, position, why] of [
      [2, 0, "identical up to"],
      [5, 3, "reads this position"],
    ] as const) {
      expect(at(layer, position).className).toContain("vene-tile-idle");
      expect(at(layer, position).title).toContain(why);
      expect(at(layer, position).getAttribute("aria-label")).toContain(why);
      await hover(at(layer, position));
      expect(text(".vene-readout-sentence")).toContain(why);
    }
    expect(at(5, 4).className).not.toContain("vene-tile-idle");
    expect(at(4, 3).className).not.toContain("vene-tile-idle");
  });

  it("are known before their cells come, by equal positions alone", async () => {
    const traits = spainAndItaly();
    const empty = { ...traits.map, cells: [], done: 0 };
    screen = mount({ map: empty });
    await unfold(screen.el);
    expect(at(2, 0).className).toContain("vene-tile-idle");
    expect(at(5, 3).className).not.toContain("vene-tile-idle");
    screen.close();
    screen = mount({ map: { ...empty, source_positions: [1, 1, 2, 3, 4] } });
    expect(at(2, 0).className).not.toContain("vene-tile-idle");
    expect(at(2, 1).className).toContain("vene-tile-idle");
  });
});

describe("pins", () => {
  const pinned = () =>
    $$(".vene-pin").map((pin) => pin.querySelector(".vene-pin-name")?.textContent);

  it("come by P on tiles and by a click or P on headers, live together, and go again", async () => {
    screen = mount();
    at(1, 3).focus();
    press(at(1, 3), "p");
    await drawn();
    click(named("Pin layer 2"));
    press(named("Pin column ␣is 4"), "p");
    await drawn();
    expect(pinned()).toEqual(["layer 1 · 3 ␣Spain", "layer 2", "4 ␣is"]);
    expect(at(1, 3).dataset.pins).toBe("cell");
    expect(at(2, 4).dataset.pins).toBe("row column");
    expect(at(1, 3).getAttribute("aria-label")).toMatch(/, pinned$/);
    expect(named("Pin layer 2").getAttribute("aria-pressed")).toBe("true");
    press(at(1, 3), "P");
    click(named("Unpin layer 2"));
    click(named("Pin column ␣is 4"));
    await drawn();
    expect(pinned()).toEqual([]);
    expect(at(2, 4).dataset.pins).toBeUndefined();
    expect(screen.model.sent).toEqual([]);
  });

  it("are reached by the arrows: headers are the grid's edge", async () => {
    screen = mount();
    await unfold(screen.el);
    at(1, 0).focus();
    press(at(1, 0), "ArrowLeft");
    await drawn();
    expect(document.activeElement).toBe(named("Pin layer 1"));
    expect($$('[role=grid] [tabindex="0"]')).toEqual([document.activeElement]);
    expect(press(named("Pin layer 1"), "Enter").defaultPrevented).toBe(false);
    press(named("Pin layer 1"), "ArrowRight");
    await drawn();
    expect(document.activeElement).toBe(at(1, 0));
  });

  it("keep a tile's value beside the one pointed at", async () => {
    screen = mount();
    press(at(1, 3), "p");
    await hover(at(1, 4));
    const rome = spainAndItaly().map.targets.findIndex((t) => t.label === "␣Rome");
    const value = (layer: number, position: number) =>
      spainAndItaly().map.cells.find((c) => c.layer === layer && c.position === position)
        ?.probabilities[rome] as number;
    const shown = $$(".vene-pin .vene-number").map((number) => number.title);
    expect(shown[0]).toBe(String(value(1, 3)));
    expect($(".vene-pin .vene-dim")?.title).toBe(String(value(1, 4) - value(1, 3)));
  });

  it("draw a row or column as a line that says its ends, and mark the hovered tile", async () => {
    screen = mount();
    click(named("Pin column ␣Spain 3 ⟵ ␣Italy"));
    await hover(at(2, 3));
    const line = $(".vene-profile") as HTMLElement;
    expect(line.getAttribute("aria-label")).toBe(
      "P(␣Rome) along 3 ␣Spain: lowest 0.077\u00a0% at layer 4, highest 94\u00a0% at layer 1",
    );
    expect(
      line.querySelector("path.vene-profile-line")?.getAttribute("d")?.split("L"),
    ).toHaveLength(6);
    expect($$(".vene-profile-here")).toHaveLength(1);
    await hover(at(2, 4));
    expect($$(".vene-profile-here")).toHaveLength(0);
  });

  it("of a prompt that became shorter are not shown", async () => {
    screen = mount();
    press(at(1, 4), "p");
    await drawn();
    const scene = { ...spainAndItaly().scene, revision: 2, base: tokens("The capital") };
    const map = { ...makeMap(scene), revision: 2, positions: [0, 1] };
    screen.model.write({ scene, map });
    await drawn();
    expect(pinned()).toEqual([]);
  });
});

describe("painting", () => {
  const drag = async (from: HTMLElement, to: HTMLElement, more: PointerEventInit = {}) => {
    point(from, "pointerdown", { button: 0, ...more });
    point(to, "pointerover", more);
    await drawn();
  };
  const painted = () => $$(".vene-tile-painted").length;

  it("puts a rectangle of tiles into one group, in one step of the history", async () => {
    screen = mount();
    await unfold(screen.el);
    await drag(at(1, 2), at(3, 4));
    expect(painted()).toBe(6); // the third column agrees with the source
    expect(text(".vene-readout")).toContain("6 slots in one group");
    expect(experiments()).toHaveLength(0);
    point(at(3, 4), "pointerup");
    await drawn();
    expect(experiments()).toHaveLength(1);
    expect(slots()).toEqual([
      [1, 3, "A"],
      [1, 4, "A"],
      [2, 3, "A"],
      [2, 4, "A"],
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
    expect(painted()).toBe(0);
    answer(screen.model, accept(screen.model, 2));
    click(named("Undo"));
    expect(slots()).toEqual([]);
  });

  it("adds to the group with shift, leaving what is in, and begins another with alt", async () => {
    screen = mount();
    click(at(1, 3));
    answer(screen.model, accept(screen.model, 2));
    await drag(at(1, 3), at(1, 4), { shiftKey: true });
    point(at(1, 4), "pointerup", { shiftKey: true });
    expect(slots()).toEqual([
      [1, 3, "A"],
      [1, 4, "A"],
    ]);
    answer(screen.model, accept(screen.model, 3));
    await drag(at(2, 3), at(2, 4), { altKey: true });
    point(at(2, 4), "pointerup");
    expect(slots()?.slice(2)).toEqual([
      [2, 3, "B"],
      [2, 4, "B"],
    ]);
  });

  it("is dropped by Escape, and the click of its release too", async () => {
    screen = mount();
    await drag(at(1, 3), at(2, 4));
    press(document.body, "Escape");
    await drawn();
    expect(painted()).toBe(0);
    point(at(1, 3), "pointerup");
    click(at(1, 3));
    expect(experiments()).toHaveLength(0);
  });

  it("is dropped when the pointer is taken away, as by a scroll", async () => {
    screen = mount();
    await drag(at(1, 3), at(2, 4));
    window.dispatchEvent(new Event("pointercancel"));
    await drawn();
    expect(painted()).toBe(0);
    point(at(2, 4), "pointerup");
    expect(experiments()).toHaveLength(0);
  });

  it("is a plain click when it ends where it began, and no drag without the main button", async () => {
    screen = mount();
    await drag(at(1, 3), at(2, 3));
    point(at(1, 3), "pointerover");
    point(at(1, 3), "pointerup");
    click(at(1, 3));
    expect(slots()).toEqual([[1, 3, null]]);
    await drag(at(1, 3), at(2, 3), { button: 2 });
    expect(painted()).toBe(0);
  });

  it("works from the keyboard: Shift with arrows paints, Enter applies, Escape drops", async () => {
    screen = mount();
    at(1, 3).focus();
    press(at(1, 3), "ArrowUp", { shiftKey: true });
    press(at(2, 3), "ArrowRight", { shiftKey: true });
    await drawn();
    expect(painted()).toBe(4);
    expect(document.activeElement).toBe(at(2, 4));
    press(at(2, 4), "Escape");
    await drawn();
    expect(painted()).toBe(0);
    press(at(2, 4), "ArrowDown", { shiftKey: true });
    press(at(1, 4), "Enter");
    expect(slots()).toEqual([
      [1, 4, "A"],
      [2, 4, "A"],
    ]);
  });

  it("leaves no listener behind when the view goes while a button is held", async () => {
    screen = mount();
    await drag(at(1, 3), at(2, 4));
    const element = at(2, 4);
    screen.close();
    point(element, "pointerup");
    window.dispatchEvent(new Event("pointerup"));
    expect(experiments()).toHaveLength(0);
  });
});

describe("the tile under the pointer", () => {
  it("is previewed in answer and differences by hollow marks, which go with it", async () => {
    screen = mount();
    click(at(1, 3));
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const rows = () => $$(".vene-rows tr").map((row) => row.textContent);
    const before = rows();
    expect(before).toHaveLength(2 * (1 + VISIBLE));
    await hover(at(1, 4));
    expect($$("[data-panel=answer] .vene-ghost")).toHaveLength(VISIBLE);
    expect($$("[data-panel=difference] .vene-ghost-bar")).toHaveLength(VISIBLE);
    const ghost = $("[data-panel=answer] .vene-ghost") as HTMLElement;
    const label = ghost.closest("tr")?.querySelector("th")?.textContent ?? "";
    const n = spainAndItaly().map.targets.findIndex((target) => target.label === label);
    const cell = spainAndItaly().map.cells.find((c) => c.layer === 1 && c.position === 4);
    expect(Number.parseFloat(ghost.style.insetInlineStart)).toBeCloseTo(
      100 * (cell?.probabilities[n] as number),
      9,
    );
    expect(rows()).toEqual(before);
    point(named("Map").querySelector("[role=grid]") as Element, "pointerleave");
    await drawn();
    expect($$(".vene-ghost, .vene-ghost-bar")).toHaveLength(0);
  });

  it("is marked on the axis too while there is no result", async () => {
    screen = mount();
    const columns = () => $$("[data-panel=answer] thead th").map((th) => th.textContent);
    const before = columns();
    expect($$("[data-panel=answer] .vene-ghost")).toHaveLength(0);
    await hover(at(1, 3));
    expect(columns()).toEqual(before);
    const rome = $$("[data-panel=answer] tbody tr").find((row) =>
      row.textContent?.includes("Rome"),
    );
    const left = rome?.querySelector<HTMLElement>(".vene-ghost")?.style.insetInlineStart ?? "";
    expect(Number.parseFloat(left)).toBeCloseTo(93.7, 0);
  });

  it("changes nothing on the map itself", async () => {
    screen = mount();
    const seen: MutationRecord[] = [];
    const observer = new MutationObserver((records) => seen.push(...records));
    observer.observe($("[role=grid]") as Node, {
      subtree: true,
      childList: true,
      attributes: true,
    });
    await hover(at(1, 3));
    await hover(at(1, 4));
    expect(text(".vene-readout")).toContain("layer 1 · 4");
    expect(seen).toEqual([]);
    observer.disconnect();
  });

  it("says about how long its exact answer takes when that is long", async () => {
    const traits = spainAndItaly();
    const scene = { ...traits.scene };
    screen = mount();
    click(at(3, 3));
    const shown = accept(screen.model, 2);
    screen.model.write({ answer: { ...makeAnswer(shown), milliseconds: 3 * SHORT_WAIT } });
    await hover(at(0, 4));
    expect(text(".vene-readout-wait")).toContain("in about 3.0 s");
    await hover(at(3, 4));
    expect(text(".vene-readout-wait")).toContain("in about 1.5 s");
    await hover(at(5, 4)); // a third of what three layers took
    expect(text(".vene-readout-wait")).toBe("");
    screen.model.write({ map: { ...makeMap(scene), slow: "the model has cross-attention" } });
    await hover(at(5, 4));
    expect(text(".vene-readout-wait")).not.toBe("");
  });
});

it("a slow map says why", async () => {
  screen = mount({ map: { ...spainAndItaly().map, slow: "the model carries hooks of its own" } });
  expect(text(".vene-legend-slow")).toContain("the model carries hooks of its own");
});

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
    expect(chosen.slice(2)).toEqual(["logit difference", "␣Rome", "␣Madrid"]);
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

/** A map of another operator, or of all heads, as the kernel would send it. */
function mapOf(choice: Partial<Sweep>): Sweep {
  const { scene } = spainAndItaly();
  const { base, sources = [] } = scene.experiment;
  const prompts =
    choice.intervention === "mean" ? [base, ...sources.map(([, prompt]) => prompt)] : [];
  return makeMap(scene, 1, { operator: choice.intervention ?? "patch", prompts, ...choice });
}

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

describe("a map of all heads of a layer", () => {
  const component = "head_value_output";
  const heads = () => mapOf({ component, head: "all", layer: 2 });
  const rows = () =>
    $$(".vene-map-head[data-layer]").map((head) => [
      head.dataset.layer,
      head.getAttribute("aria-label"),
    ]);

  it("is chosen in the head menu, its layer beside it", async () => {
    screen = mount();
    await choose("Component of the map", component);
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: 0, layer: null });
    expect(named("Layer of the map")).toBeNull();
    await choose("Head of the map", "all");
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: "all", layer: 0 });
    await choose("Layer of the map", "2");
    expect(screen.model.sent.at(-1)).toMatchObject({ component, head: "all", layer: 2 });
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

describe("what the map shows first", () => {
  it("is the kernel’s token, against the base’s likeliest other one", async () => {
    screen = mount({ map: { ...mapOf({}), target: idOf("␣Warsaw") } });
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    await choose("Metric", "logit_difference");
    expect(named("Second token")).toHaveProperty("value", String(idOf("␣Madrid")));
    await choose("Target token", String(idOf("␣Madrid")));
    const { targets } = mapOf({});
    const others = targets.filter((target) => target.label !== "␣Madrid");
    const likeliest = others.reduce((a, b) => (b.base > a.base ? b : a));
    expect(named("Second token")).toHaveProperty("value", String(likeliest.token_id));
  });

  it("follows small values down, and says so", async () => {
    const map = mapOf({});
    const cells = map.cells.map((cell) => ({
      ...cell,
      probabilities: cell.probabilities.map((p) => p / 64),
    }));
    screen = mount({ map: { ...map, cells } });
    expect(text(".vene-legend-scale")).toBe("02\u00a0% ");
    expect(text(".vene-legend-note")).toBe("all below 2\u00a0%");
    screen.model.write({ map });
    await drawn();
    expect(text(".vene-legend-scale")).toBe("0100\u00a0% ");
    expect($(".vene-legend-note")).toBeNull();
  });

  it("says it where both prompts give the same prediction", async () => {
    const map = mapOf({});
    const equal = map.targets.map((target) => ({ ...target, source: target.base }));
    screen = mount({ map: { ...map, targets: equal } });
    expect(text(".vene-legend-note")).toBe("Both prompts give the same prediction here.");
    screen.model.write({ map: { ...mapOf({ intervention: "zero" }), targets: equal } });
    await drawn();
    expect($(".vene-legend-note")).toBeNull(); // zeroing says something of one prompt alone
  });
});

describe("a map that is wider than its panel", () => {
  const wide = { scrollWidth: 700, clientWidth: 400 };
  const before = Object.keys(wide).map(
    (name) => [name, Object.getOwnPropertyDescriptor(Element.prototype, name)] as const,
  );
  afterEach(() => {
    for (const [name, own] of before) if (own) Object.defineProperty(Element.prototype, name, own);
  });

  it("shows its end first, keeps its place when it is refilled, and marks what is at the left", async () => {
    for (const [name, value] of Object.entries(wide))
      Object.defineProperty(Element.prototype, name, { configurable: true, get: () => value });
    screen = mount();
    await drawn();
    const grid = () => $("[role=grid]") as HTMLElement;
    expect(grid().scrollLeft).toBeGreaterThanOrEqual(300);
    expect(grid().hasAttribute("data-more")).toBe(true);
    grid().scrollLeft = 0;
    grid().dispatchEvent(new Event("scroll"));
    expect(grid().hasAttribute("data-more")).toBe(false);
    grid().scrollLeft = 120;
    grid().dispatchEvent(new Event("scroll"));
    screen.model.write({ map: mapOf({ component: "mlp_output" }) });
    await drawn();
    expect(grid().scrollLeft).toBe(120);
    expect(grid().hasAttribute("data-more")).toBe(true);
    await unfold(screen.el);
    expect(grid().scrollLeft).toBeGreaterThanOrEqual(300);
  });
});
