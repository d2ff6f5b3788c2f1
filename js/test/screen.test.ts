import { afterEach, describe, expect, it, vi } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import {
  accept,
  answer,
  click,
  drawn,
  mount,
  press,
  refuse,
  tile,
  toggleDetails,
  unfold,
} from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);
const named = (name: string) => $(`[aria-label="${name}"]`) as HTMLElement;
const last = () => {
  const request = screen.model.sent.at(-1);
  if (request?.kind !== "experiment") throw new Error(`last request: ${request?.kind}`);
  return request.experiment;
};
const places = () => last().slots?.map((slot) => [slot.layer, slot.position, slot.group ?? null]);

describe("the map", () => {
  it("is a grid of layers × tokens with one tab stop", async () => {
    screen = mount();
    await unfold(screen.el);
    expect(screen.el.querySelectorAll("[role=grid] [role=gridcell]")).toHaveLength(30);
    expect(screen.el.querySelectorAll('[role=gridcell][tabindex="0"]')).toHaveLength(1);
    expect(tile(screen.el, 1, 3).getAttribute("aria-label")).toMatch(
      /^layer 1, position 3 ␣Spain, P\(␣Rome\) 94\u00a0%/,
    );
    expect(tile(screen.el, 1, 0).title).toContain("identical");
  });

  it("obeys the keyboard: arrows move, Enter applies, Shift-Enter adds, Space skips", async () => {
    screen = mount();
    tile(screen.el, 5, 4).focus();
    for (const key of ["ArrowDown", "ArrowLeft", "ArrowDown"]) {
      press(document.activeElement as Element, key);
      await drawn();
    }
    const at = document.activeElement as HTMLElement;
    expect([at.dataset.layer, at.dataset.position, at.tabIndex]).toEqual(["3", "3", 0]);
    press(at, "Enter");
    expect(places()).toEqual([[3, 3, null]]);
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect(tile(screen.el, 3, 3).getAttribute("aria-selected")).toBe("true");
    press(tile(screen.el, 3, 4), "Enter", { shiftKey: true });
    expect(places()).toEqual([
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
    press(tile(screen.el, 3, 4), " ");
    expect(last().slots?.map((slot) => slot.skip)).toEqual([false, true]);
    press(tile(screen.el, 3, 4), " ");
    expect(last().slots?.map((slot) => slot.skip)).toEqual([false, false]);
    press(tile(screen.el, 3, 4), "u");
    expect(places()).toEqual([
      [3, 3, null],
      [3, 4, null],
    ]);
    press(tile(screen.el, 3, 4), "g");
    expect(places()).toEqual([
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
    press(tile(screen.el, 3, 4), "z", { ctrlKey: true });
    expect(places()).toEqual([
      [3, 3, null],
      [3, 4, null],
    ]);
    press(tile(screen.el, 3, 4), "y", { ctrlKey: true });
    expect(places()).toEqual([
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
  });

  it("keeps only the keys that it handles from the page", () => {
    screen = mount();
    const heard: string[] = [];
    document.body.addEventListener("keydown", (event) => heard.push(event.key));
    for (const key of ["ArrowUp", "Enter", "g", "b", "Tab"]) press(tile(screen.el, 2, 3), key);
    expect(heard).toEqual(["b", "Tab"]);
    expect(tile(screen.el, 2, 3).dataset.lmSuppressShortcuts).toBe("true");
  });

  it("names a dtype whose numbers are coarse, and says how coarse", async () => {
    for (const [dtype, step] of [
      ["bfloat16", "0.8 %"],
      ["float16", "0.1 %"],
      ["float32", null],
    ] as const) {
      const traits = spainAndItaly();
      const model = { ...traits.scene.model, dtype };
      screen = mount({ scene: { ...traits.scene, model } });
      await drawn();
      const status = $(".vene-status");
      expect(status?.textContent?.includes(dtype)).toBe(step !== null);
      expect(status?.title).toContain(dtype);
      if (step) expect(status?.title).toContain(`differ by up to ${step}`);
      else expect(status?.title).not.toContain("differ by");
      screen.controller.abort();
      screen.el.remove();
    }
  });

  it("gives the time of a run, and none where the run was known before", async () => {
    screen = mount();
    await drawn();
    const traits = spainAndItaly();
    screen.model.write({ answer: { ...makeAnswer(traits.scene), milliseconds: 3.21 } });
    await drawn();
    expect($(".vene-status")?.textContent).toContain("exact · 3.2 ms");
    screen.model.write({ answer: { ...makeAnswer(traits.scene), milliseconds: 0.004 } });
    await drawn();
    expect($(".vene-status")?.dataset.label).toBe("exact");
    expect($(".vene-status")?.textContent).not.toContain(" ms");
  });

  it("takes clicks: alone, with shift, with alt", async () => {
    screen = mount();
    click(tile(screen.el, 0, 3));
    await drawn();
    expect($(".vene-status")?.dataset.label).toBe("preview");
    expect($(".vene-sentence")?.textContent).toContain("block 0");
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect($(".vene-status")?.dataset.label).toBe("exact");
    click(tile(screen.el, 2, 4), { shiftKey: true });
    expect(places()).toEqual([
      [0, 3, "A"],
      [2, 4, "A"],
    ]);
    await drawn();
    expect($(".vene-status")?.dataset.label).toBe("busy");
    const scene = accept(screen.model, 3);
    answer(screen.model, scene);
    await drawn();
    expect($(".vene-verdict")?.dataset.verdict).toBe("bit-equal");
    click(tile(screen.el, 1, 4), { altKey: true });
    expect(places()?.at(-1)).toEqual([1, 4, "B"]);
    expect(document.activeElement).toBe(tile(screen.el, 1, 4));
  });

  it("reads a tile out under the pointer, and Escape clears it", async () => {
    screen = mount();
    tile(screen.el, 0, 3).dispatchEvent(new Event("pointerover", { bubbles: true }));
    await drawn();
    const cell = spainAndItaly().map.cells.find((c) => c.layer === 0 && c.position === 3);
    const value = $(".vene-readout .vene-number");
    expect(value?.textContent).toMatch(/= 94\u00a0%$/);
    expect(value?.title).toBe(String(cell?.probabilities[1]));
    expect($(".vene-readout")?.textContent).toContain(cell?.sentence);
    expect(screen.model.sent).toHaveLength(0);
    press(tile(screen.el, 0, 3), "Escape");
    await drawn();
    expect($(".vene-readout")?.textContent).not.toContain(cell?.sentence);
  });

  it("fills as cells arrive and changes its metric without the kernel", async () => {
    screen = mount({ map: makeMap(spainAndItaly().scene, 0.5) });
    expect(tile(screen.el, 5, 4).getAttribute("aria-label")).toContain("not computed yet");
    screen.model.write({ map: spainAndItaly().map });
    await drawn();
    expect(tile(screen.el, 5, 4).getAttribute("aria-label")).toContain("P(␣Rome)");
    const metric = named("Metric") as HTMLSelectElement;
    metric.value = "kl";
    metric.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect(tile(screen.el, 5, 4).getAttribute("aria-label")).toContain("KL(cell ‖ base)");
    expect(screen.model.sent).toHaveLength(0);
  });
});

describe("the slots", () => {
  const outcome = (index: number) => $(`[data-slot="${index}"] .vene-slot-outcome`);
  const grouped = () => {
    const slot = { layer: 0, position: 3, source: "italy", group: "A" };
    const experiment = {
      ...spainAndItaly().scene.experiment,
      slots: [slot, { ...slot, layer: 2, position: 4 }],
    };
    const scene = sceneOf(experiment, 6, 2, null);
    return { scene, answer: makeAnswer(scene) };
  };

  it("skip, unskip and remove by name, and keep their index", async () => {
    screen = mount(grouped());
    click(named("Skip slot 0"));
    answer(screen.model, accept(screen.model, 3));
    await drawn();
    expect($('[data-slot="0"]')?.textContent).toContain("skipped");
    expect($('[data-slot="0"]')?.getAttribute("aria-label")).toBe("Slot 0, skipped");
    expect(outcome(0)?.dataset.outcome).toBe("skipped");
    expect($('[data-slot="1"]')).not.toBeNull();
    click(named("Unskip slot 0"));
    expect(last().slots?.map((slot) => slot.skip)).toEqual([false, false]);
    await drawn();
    click(named("Remove slot 0"));
    expect(places()).toEqual([[2, 4, "A"]]);
  });

  it("group and ungroup by button", async () => {
    screen = mount(grouped());
    const button = (text: string) =>
      [...screen.el.querySelectorAll("button")].find((b) => b.textContent === text) as HTMLElement;
    click(button("Ungroup"));
    expect(places()).toEqual([
      [0, 3, null],
      [2, 4, null],
    ]);
    await drawn();
    click(button("Group"));
    expect(places()).toEqual([
      [0, 3, "A"],
      [2, 4, "A"],
    ]);
  });

  it("say when they did not fire", () => {
    const traits = grouped();
    traits.answer.receipts = traits.answer.receipts.map((receipt) => ({
      ...receipt,
      fired: receipt.index !== 1,
      idle: receipt.index === 1,
      words: `words ${receipt.index}`,
    }));
    screen = mount(traits);
    expect(outcome(1)?.title).toBe("words 1");
    expect(outcome(1)?.getAttribute("aria-label")).toBe("Slot 1: Warning: words 1");
    expect([0, 1].map((i) => outcome(i)?.dataset.outcome)).toEqual(["fired", "warning"]);
  });

  it("change layer and component, with a head just where there are heads", async () => {
    screen = mount(grouped());
    await toggleDetails(screen.el, 0);
    expect(named("Layer of slot 0")).not.toBeNull();
    expect($('[aria-label="Head of slot 0"]')).toBeNull();
    const component = named("Component of slot 0") as HTMLSelectElement;
    component.value = "head_value_output";
    component.dispatchEvent(new Event("change", { bubbles: true }));
    expect(last().slots?.[0]).toMatchObject({ component: "head_value_output", head: 0 });
    await drawn();
    expect($('[aria-label="Head of slot 0"]')).not.toBeNull();
  });
});

describe("a prompt", () => {
  const edit = async (text: string, key: string) => {
    click(named("Edit base"));
    await drawn();
    const field = $("input.vene-prompt-field") as HTMLInputElement;
    field.value = text;
    press(field, key);
    await drawn();
  };

  it("is edited in place: Enter commits, Escape leaves it", async () => {
    screen = mount();
    await edit("The capital of France is", "Escape");
    expect(screen.model.sent).toHaveLength(0);
    await edit("The capital of France is", "Enter");
    expect(last().base).toBe("The capital of France is");
    expect($("input.vene-prompt-field")).toBeNull();
  });

  it("that the kernel refuses is open again with the reason, and Escape leaves the good one", async () => {
    screen = mount();
    await edit("bad", "Enter");
    await refuse(screen.model, "prompt 'bad' has no tokens");
    await drawn();
    expect($("[role=alert]")?.textContent).toContain("prompt 'bad' has no tokens");
    const field = await vi.waitFor(() => {
      const found = $('[data-prompt="base"] input') as HTMLInputElement | null;
      if (!found) throw new Error("not open again yet");
      return found;
    });
    expect([field.value, field.getAttribute("aria-invalid")]).toEqual(["bad", "true"]);
    expect(screen.el.querySelectorAll("[role=alert]")).toHaveLength(1);
    expect($('[data-prompt="base"]')?.textContent).toContain("␣Spain");
    press(field, "Escape");
    await drawn();
    expect($("[role=alert]")).toBeNull();
    expect($('[data-prompt="base"] .vene-chips')?.textContent).toBe("The␣capital␣of␣Spain␣is");
  });
});

describe("the screen", () => {
  it("is one view with the drawer below it", () => {
    screen = mount();
    const panels = [...screen.el.querySelectorAll<HTMLElement>("[data-panel]")];
    expect(panels.map((panel) => panel.dataset.panel)).toEqual([
      ...["prompts", "map", "answer", "difference", "slots", "history", "drawer", "figure"],
    ]);
    const view = $(".vene-view");
    expect(panels.map((panel) => view?.contains(panel))).toEqual([
      ...[true, true, true, true, true, true, false, false],
    ]);
    for (const panel of panels) expect(panel.getAttribute("aria-label")).toBeTruthy();
  });

  it("shows an error over the result, until it is dismissed", async () => {
    screen = mount({ status: { busy: null, progress: null, error: "layer 9 is out of range" } });
    expect($(".vene-result [role=alert]")?.textContent).toContain("layer 9 is out of range");
    const panels = () => screen.el.querySelectorAll("[data-panel]").length;
    const count = panels();
    click(named("Dismiss"));
    await drawn();
    expect($("[role=alert]")).toBeNull();
    expect(panels()).toBe(count);
  });

  it("has its list of keys as a dialog, opened and closed by buttons", async () => {
    screen = mount();
    const opener = () => named("Clicks and keys");
    expect($("[role=dialog]")).toBeNull();
    click(opener());
    await drawn();
    expect($("[role=dialog]")?.getAttribute("aria-label")).toBe("Clicks and keys");
    expect($("button[aria-label='Clicks and keys']")?.getAttribute("aria-pressed")).toBe("true");
    click(named("Close this list"));
    await drawn();
    expect($("[role=dialog]")).toBeNull();
  });

  it("splits the sentence before its numbers and has all of it in the title", async () => {
    screen = mount();
    click(tile(screen.el, 0, 3));
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const sentence = $(".vene-sentence");
    const whole = spainAndItaly().map.cells.find(
      (c) => c.layer === 0 && c.position === 3,
    )?.sentence;
    expect(sentence?.textContent).toBe(whole);
    expect(sentence?.title).toBe(whole);
    const numbers = sentence?.querySelector(".vene-sentence-numbers")?.textContent ?? "";
    expect(numbers).toMatch(/\d/);
    expect(sentence?.firstChild?.textContent).not.toMatch(/%/);
    expect($("[aria-live].vene-visually-hidden")?.textContent).toBe(whole);
  });
});

describe("the page", () => {
  const evil = "<img src=x onerror=alert(1)>";

  it("gets labels, sentences, names and errors as text, never as markup", () => {
    const traits = spainAndItaly();
    const dirty = JSON.parse(
      JSON.stringify(traits, (key, value) =>
        ["label", "sentence", "words", "name", "text"].includes(key) && value !== "exact"
          ? evil
          : value,
      ),
    );
    dirty.scene.sources = [{ name: evil, tokens: dirty.scene.sources[0].tokens }];
    dirty.scene.experiment = { ...traits.scene.experiment, base: evil, sources: [[evil, evil]] };
    dirty.status.error = evil;
    screen = mount(dirty);
    expect(screen.el.querySelectorAll("img, [onerror]")).toHaveLength(0);
    expect(screen.el.textContent).toContain(evil);
    expect($(".vene-chip")?.textContent).toBe(evil);
  });

  it("shows the figure from its bytes and frees them", async () => {
    const made = vi.spyOn(URL, "createObjectURL").mockReturnValue("blob:one");
    const freed = vi.spyOn(URL, "revokeObjectURL").mockImplementation(() => {});
    const picture = {
      revision: 1,
      kind: "result",
      style: "light",
      name: "result_1",
      alt: "What changed",
      width: 8,
      height: 4,
      png: new DataView(new ArrayBuffer(4)),
    };
    screen = mount({ picture });
    await drawn();
    await drawn();
    expect($("img.vene-figure")?.getAttribute("alt")).toBe("What changed");
    expect($("a[download]")?.getAttribute("href")).toBe("blob:one");
    const kind = named("Kind of figure") as HTMLSelectElement;
    kind.value = "sweep_map";
    kind.dispatchEvent(new Event("change", { bubbles: true }));
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "figure", figure: "sweep_map" });
    screen.close();
    await drawn();
    expect(freed).toHaveBeenCalledTimes(made.mock.calls.length);
    vi.restoreAllMocks();
  });

  it("waits for a kernel that has written nothing", async () => {
    screen = mount({ scene: {}, map: {}, answer: {}, picture: {}, status: {} });
    expect(screen.el.textContent).toContain("Waiting for the kernel");
    screen.model.write(spainAndItaly());
    await drawn();
    expect($("[role=grid]")).not.toBeNull();
  });

  it("is as before when the view goes: no element, no listener, also for one of two views", () => {
    screen = mount();
    const other = mount();
    const { model } = screen;
    const before = model.listening;
    expect(before).toBeGreaterThan(0);
    screen.close();
    expect(model.listening).toBe(0);
    expect(screen.el.childElementCount).toBe(0);
    expect(other.el.querySelector("[role=grid]")).not.toBeNull();
    other.controller.abort();
    expect(other.model.listening).toBe(0);
    expect(other.el.childElementCount).toBe(0);
    other.close();
  });
});
