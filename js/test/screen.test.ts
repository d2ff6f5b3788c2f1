// The screen as a whole, its slots and its prompts.
import { afterEach, describe, expect, it, vi } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
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
  within,
} from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, named, experimentSent, placesSent, slotsSent } = within(() => screen);

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
    expect(slotsSent().map((slot) => slot.skip)).toEqual([false, false]);
    await drawn();
    click(named("Remove slot 0"));
    expect(placesSent()).toEqual([[2, 4, "A"]]);
  });

  it("group and ungroup by button", async () => {
    screen = mount(grouped());
    const button = (text: string) =>
      [...screen.el.querySelectorAll("button")].find((b) => b.textContent === text) as HTMLElement;
    click(button("Ungroup"));
    expect(placesSent()).toEqual([
      [0, 3, null],
      [2, 4, null],
    ]);
    await drawn();
    click(button("Group"));
    expect(placesSent()).toEqual([
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
    expect(slotsSent()[0]).toMatchObject({ component: "head_value_output", head: 0 });
    await drawn();
    expect($('[aria-label="Head of slot 0"]')).not.toBeNull();
  });
});

describe("a prompt", () => {
  const edit = async (text: string, key: string) => {
    click(named("Edit base"));
    await drawn();
    const field = $(".vene-prompt-field") as HTMLTextAreaElement;
    field.value = text;
    press(field, key);
    await drawn();
  };

  it("is edited in place: Enter commits, Escape leaves it", async () => {
    screen = mount();
    await edit("The capital of France is", "Escape");
    expect(screen.model.sent).toHaveLength(0);
    await edit("The capital of France is", "Enter");
    expect(experimentSent().base).toBe("The capital of France is");
    expect($(".vene-prompt-field")).toBeNull();
  });

  it("that the kernel refuses is open again with the reason, and Escape leaves the good one", async () => {
    screen = mount();
    await edit("bad", "Enter");
    await refuse(screen.model, "prompt 'bad' has no tokens");
    await drawn();
    expect($("[role=alert]")?.textContent).toContain("prompt 'bad' has no tokens");
    const field = await vi.waitFor(() => {
      const found = $('[data-prompt="base"] textarea') as HTMLTextAreaElement | null;
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
