// A saved page: the map answers, what was saved is exact, and what would have to run is not offered.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import { toPlain } from "../src/domain/experiments";
import widget from "../src/index";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import { click, drawn, press, tile } from "./helpers";

let el: HTMLElement;
let close: () => void;
afterEach(() => {
  close?.();
  document.body.innerHTML = "";
});

function open(traits: object = {}): OfflineModel {
  const model = new OfflineModel({ ...spainAndItaly(), ...traits } as unknown as SavedTraits);
  el = document.createElement("div");
  document.body.append(el);
  close = widget.render({ model, el, signal: new AbortController().signal } as never);
  return model;
}

const $ = <E extends HTMLElement>(selector: string) => el.querySelector<E>(selector);
const label = () => $(".vene-status")?.dataset.label;

describe("a saved page", () => {
  it("answers a click from its map, as a preview, and asks nobody", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    expect(label()).toBe("preview");
    expect($(".vene-sentence")?.textContent).toContain("after block 1");
    expect($('[data-slot="0"]')).not.toBeNull();
    expect($(".vene-error, [role=alert]")?.textContent ?? "").toBe("");
  });

  it("is exact again at the experiment that was saved", async () => {
    open();
    const saved = $(".vene-sentence")?.textContent;
    click(tile(el, 1, 3));
    await drawn();
    press($(".vene-root") as HTMLElement, "z", { ctrlKey: true });
    await drawn();
    expect(label()).toBe("exact");
    expect($(".vene-sentence")?.textContent).toBe(saved);
  });

  it("keeps what it shows when a gesture or a key would need a run", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    const root = $(".vene-root") as HTMLElement;
    const before = $(".vene-sentence")?.textContent;
    click(tile(el, 4, 4), { shiftKey: true });
    press(tile(el, 1, 3), "l");
    press(tile(el, 1, 3), "1");
    await drawn();
    expect($("[role=alert]")).toBeNull();
    expect(el.querySelectorAll("[data-slot]")).toHaveLength(1);
    expect($(".vene-sentence")?.textContent).toBe(before);
    expect(label()).toBe("preview");
    // One step back is the experiment that was saved: nothing else was asked for.
    press(root, "z", { ctrlKey: true });
    await drawn();
    expect(label()).toBe("exact");
  });

  it("shows the base's run when the only slot is skipped", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    press(tile(el, 1, 3), " ");
    await drawn();
    expect(label()).toBe("exact");
    const roles = [...el.querySelectorAll("th[data-role]")].map(
      (th) => (th as HTMLElement).dataset.role,
    );
    expect(roles.filter((role) => role !== "ghost")).toEqual(["base", "source"]);
    expect($(".vene-sentence")?.textContent).toContain(
      "The only slot is skipped. The model predicts “Madrid”",
    );
  });

  it("walks a story that was saved with it", async () => {
    const model = open();
    const scene = sceneOf({ ...spainAndItaly().scene.experiment }, 6, 9, null);
    const { base, sources, experiment, slots } = scene;
    const step = { title: "one", text: "", question: null, choices: [], answer: null };
    const result = { ...makeAnswer(scene), sentence: "told" };
    const told = { ...step, base, sources, experiment, slots, result, map: 0 };
    const other = new OfflineModel({
      ...(spainAndItaly() as unknown as SavedTraits),
      steps: { steps: [told], maps: [makeMap(scene)] } as never,
    });
    other.send({ id: "a", kind: "step", step: 0 });
    other.send({ id: "b", kind: "step", step: 1 });
    const replies: unknown[] = [];
    other.on("msg:custom", (reply) => void replies.push(reply));
    await drawn();
    expect((other.get("answer") as { sentence: string }).sentence).toBe("told");
    expect(other.get("step")).toBe(0);
    expect(replies).toMatchObject([
      { id: "a", ok: true },
      { id: "b", ok: false },
    ]);
    expect(model.get("offline")).toContain("needs a kernel");
  });
});

describe("on a saved page", () => {
  const named = (name: string) => $(`[aria-label="${name}"]`);
  const select = (name: string) => named(name) as HTMLSelectElement;
  const texts = (name: string) => [...select(name).options].map((option) => option.text);

  it("prompts are only read", () => {
    open();
    expect($(".vene-prompt-tools, .vene-add-source")).toBeNull();
    expect(named("Rename source italy")).toBeNull();
    $(".vene-prompt-line")?.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    expect($(".vene-prompt-field")).toBeNull();
    for (const chip of el.querySelectorAll<HTMLButtonElement>("button.vene-chip"))
      expect([chip.disabled, chip.title.includes("needs a kernel")]).toEqual([true, true]);
  });

  it("menus of the map are fixed, those of the metric are not", async () => {
    open();
    for (const name of ["Component of the map", "Operator of the map"]) {
      expect([name, select(name).disabled, texts(name).length]).toEqual([name, true, 1]);
      expect(select(name).title).toContain("needs a kernel");
    }
    expect(select("Metric").disabled).toBe(false);
    expect(texts("Target token")).not.toContain("type a token…");
    expect(texts("Target token").length).toBeGreaterThan(1);
    const data = $('[data-opens="data"]') as HTMLElement;
    click(data);
    await drawn();
    const held = spainAndItaly().map.targets.map((target) => target.label);
    for (const token of el.querySelectorAll<HTMLButtonElement>(".vene-data .vene-token-button"))
      expect([token.textContent, token.disabled]).toEqual([
        token.textContent,
        !held.includes(token.textContent ?? ""),
      ]);
  });

  it("a slot can be moved to every other tile, skipped and removed, and nothing else", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    for (const name of ["Skip slot 0", "Remove slot 0"])
      expect((named(name) as HTMLButtonElement).disabled).toBe(false);
    expect((named("Move slot 0") as HTMLButtonElement).disabled).toBe(true);
    expect($<HTMLButtonElement>(".vene-add-slot")?.disabled).toBe(true);
    click(named("More of slot 0") as HTMLElement);
    await drawn();
    const { layers } = spainAndItaly().scene.model;
    expect(texts("Layer of slot 0")).toHaveLength(layers);
    expect(texts("Base position of slot 0").length).toBeGreaterThan(1);
    for (const name of ["Component of slot 0", "Intervention of slot 0"])
      expect(select(name).disabled, name).toBe(true);
    const fields = [...el.querySelectorAll<HTMLInputElement>("[data-details] input")];
    expect(fields.length).toBeGreaterThan(2);
    for (const field of fields)
      expect([field.disabled, field.title.includes("needs a kernel")]).toEqual([true, true]);
    select("Layer of slot 0").value = "4";
    select("Layer of slot 0").dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect($(".vene-sentence")?.textContent).toContain("after block 4");
  });

  it("the history goes back to what the page holds, and names and compares nothing", async () => {
    const scene = sceneOf({ ...spainAndItaly().scene.experiment }, 6, 1, null);
    const slot = { layer: 2, position: 4, source: "italy", source_position: 4 };
    const entry = (number: number, slots: object[]) => ({
      ...{ number, name: null, sentence: "", tokens: 5, revision: 1, token_id: 1 },
      ...{ label: "x", probability: 0.5, experiment: { ...scene.experiment, slots } },
    });
    const entries = [
      entry(1, [slot]),
      entry(2, [slot, { ...slot, layer: 3 }]),
      entry(3, [{ ...slot, component: "mlp_output" }]),
    ];
    open({ past: { entries, current: 1 } });
    const chips = [...el.querySelectorAll<HTMLElement>(".vene-past")];
    expect(chips.map((chip) => chip.getAttribute("aria-disabled"))).toEqual([null, "true", "true"]);
    for (const chip of chips.slice(1)) expect(chip.title).toContain("needs a kernel");
    expect($(".vene-panel-history .vene-button")).toBeNull();
    press(chips[0] as Element, "F2");
    chips[0]?.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    await drawn();
    expect($(".vene-panel-history .vene-field")).toBeNull();
    const before = $(".vene-sentence")?.textContent;
    click(chips[1] as Element);
    await drawn();
    expect($(".vene-sentence")?.textContent).toBe(before);
    click(chips[0] as Element);
    await drawn();
    expect($(".vene-sentence")?.textContent).toContain("after block 2");
    expect($("[role=alert]")).toBeNull();
  });

  it("two runs that it holds are compared, without a verdict and without asking for one", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    click($('[data-opens="compare"]') as HTMLElement);
    await drawn();
    expect(texts("Left side")).toEqual(["base", "italy", "slot 0 · alone", "intervened"]);
    expect(el.querySelectorAll(".vene-compare tbody tr").length).toBeGreaterThan(2);
    expect($(".vene-compare .vene-hint")?.textContent).toContain("needs a kernel");
    expect($(".vene-compare [role=alert]")).toBeNull();
  });

  it("a drag paints nothing", async () => {
    open();
    const down = { bubbles: true, isPrimary: true, button: 0 };
    tile(el, 1, 3).dispatchEvent(new PointerEvent("pointerdown", down));
    tile(el, 3, 4).dispatchEvent(new PointerEvent("pointerover", down));
    await drawn();
    expect($(".vene-tile-painted")).toBeNull();
    window.dispatchEvent(new PointerEvent("pointerup", down));
    await drawn();
    expect($("[data-slot]")).toBeNull();
  });

  it("the figure has a tab only if there is a picture", () => {
    open();
    expect($('[data-opens="figure"]')).toBeNull();
    expect($('[data-opens="code"]')).not.toBeNull();
  });

  it("undo returns to other prompts of a story with their own map and answer", async () => {
    const paris = sceneOf({ base: "The capital of France is", sources: [], slots: [] }, 6, 2, null);
    const step = { title: "two", text: "", question: null, choices: [], answer: null, map: null };
    const { base, sources, experiment, slots } = paris;
    const result = { ...makeAnswer(paris), sentence: "of France" };
    open({ steps: { steps: [{ ...step, base, sources, experiment, slots, result }], maps: [] } });
    const model = new OfflineModel({
      ...(spainAndItaly() as unknown as SavedTraits),
      steps: { steps: [{ ...step, base, sources, experiment, slots, result }], maps: [] } as never,
    });
    const { scene } = spainAndItaly();
    const slot = { layer: 1, position: 3, source: "italy", source_position: 3 };
    const spain = toPlain({ ...scene.experiment, slots: [slot] });
    const asked = { kind: "experiment", experiment: spain } as const;
    expect(model.refusal(asked)).toBeNull();
    model.send({ id: "a", kind: "step", step: 0 });
    await drawn();
    expect(model.get("map")).toEqual({});
    // No tile of another prompt's map is taken for one of this prompt.
    expect(model.refusal({ ...asked, experiment: { ...spain, base } as never })).not.toBeNull();
    expect(model.refusal(asked)).toBeNull();
    model.send({ ...asked, id: "b" });
    await drawn();
    expect((model.get("scene") as typeof scene).base).toEqual(scene.base);
    expect((model.get("map") as { positions: number[] }).positions).toHaveLength(5);
  });
});
