// The tab Attention: patterns beside each other, and slots on single weights.
import { afterEach, describe, expect, it } from "vitest";
import { toPlain } from "../src/domain/experiments";
import { follow } from "../src/domain/prompts";
import type { OrderedExperiment } from "../src/kernel/wire";
import {
  accept,
  click,
  drawn,
  mount,
  openTab,
  patternsOf,
  press,
  refuse,
  traitsOf,
  within,
} from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text } = within(() => screen);

const EDGE = {
  ...{ layer: 0, component: "attention_weight", head: 1, position: 4, source_position: 3 },
  intervention: "zero",
};

async function open(slots: NonNullable<OrderedExperiment["slots"]> = [], more: object = {}) {
  const traits = traitsOf(slots);
  screen = mount({ ...traits, attention: patternsOf(traits.scene.experiment), ...more });
  await openTab(screen.el, "attention");
}

const asked = () => screen.model.sent.filter(({ kind }) => kind === "attention");
const cell = (query: number, key: number, grid = 0) =>
  $$(".vene-weights")[grid]?.querySelector<HTMLElement>(
    `[data-query="${query}"][data-key="${key}"]`,
  ) as HTMLElement;
const choose = (name: string, value: string) => {
  const select = $(`[aria-label="${name}"]`) as HTMLSelectElement;
  select.value = value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
};
const slotsSent = () => {
  const request = screen.model.sent.at(-1) as { experiment: OrderedExperiment };
  return request.experiment.slots ?? [];
};

describe("attention", () => {
  it("shows the weights of every run of the chosen head", async () => {
    await open();
    expect(asked()).toHaveLength(0); // what is there is of this experiment
    expect($$(".vene-pattern figcaption").map((one) => one.textContent)).toEqual([
      "base",
      "italy",
      "patched",
    ]);
    expect(cell(4, 3).getAttribute("aria-label")).toBe("␣is → ␣Spain 8\u00a0%");
    expect(cell(4, 3, 1).getAttribute("aria-label")).toBe("␣is → ␣Italy 8\u00a0%");
    expect(cell(3, 4)).toBeNull(); // no token attends to a later one
    click($('[aria-label="Head 1"]') as HTMLElement);
    await drawn();
    expect(cell(4, 3).getAttribute("aria-label")).toBe("␣is → ␣Spain 16\u00a0%");
    cell(4, 3).dispatchEvent(new Event("pointerover", { bubbles: true }));
    await drawn();
    expect(text("[data-panel=attention] [role=status]")).toBe(
      "L0 H1: ␣is → ␣Spain: base 16\u00a0%, italy 16\u00a0%, patched 16\u00a0%",
    );
  });

  it("asks for another layer, once", async () => {
    await open();
    choose("Layer of the patterns", "2");
    await drawn();
    expect(asked()).toMatchObject([{ layer: 2 }]);
    expect(text("[data-panel=attention]")).toContain("reading the patterns…");
    await refuse(screen.model, "the patterns are too large");
    await drawn();
    expect(text("[data-panel=attention]")).toContain("the patterns are too large");
    expect(asked()).toHaveLength(1);
  });

  it("puts a slot on a weight by a click, and takes it off by another", async () => {
    await open([]);
    click($('[aria-label="Head 1"]') as HTMLElement);
    await drawn();
    click(cell(4, 3));
    await drawn();
    expect(slotsSent()).toMatchObject([{ ...EDGE, source: null }]);
    expect(cell(4, 3).getAttribute("aria-selected")).toBe("true");
    expect(cell(4, 3, 1).getAttribute("aria-label")).toContain("slot 0");
    expect(text(".vene-slot-words")).toContain("L0 H1␣is → ␣Spainzero weight");
    accept(screen.model, 3);
    await drawn();
    expect(cell(4, 3).getAttribute("aria-selected")).toBe("true");
    click(cell(4, 3));
    await drawn();
    expect(slotsSent()).toEqual([]);
  });

  it("copies a weight from the source when that is chosen", async () => {
    await open([]);
    choose("What a click does", "copy");
    await drawn();
    press(cell(2, 2), "Enter");
    await drawn();
    expect(slotsSent()).toMatchObject([
      {
        ...EDGE,
        head: 0,
        position: 2,
        source_position: 2,
        source: "italy",
        intervention: "vanilla",
      },
    ]);
  });

  it("is walked with arrows, along what is there", async () => {
    await open();
    const [stop] = $$('.vene-weights [tabindex="0"]');
    expect(stop).toBe(cell(4, 4));
    stop?.focus();
    press(cell(4, 4), "ArrowUp");
    await drawn();
    expect(document.activeElement).toBe(cell(3, 3)); // the key of the last token is not there
    press(cell(3, 3), "ArrowLeft");
    await drawn();
    expect(document.activeElement).toBe(cell(3, 2));
    expect($$(".vene-weights")[0]?.querySelectorAll('[tabindex="0"]')).toHaveLength(1);
  });

  it("of other slots is old where it depends on them", async () => {
    const traits = traitsOf([]);
    await open([EDGE], { attention: patternsOf(traits.scene.experiment) });
    expect($$(".vene-pattern").map((one) => one.classList.contains("vene-old"))).toEqual([
      false,
      false,
      true,
    ]);
    expect(asked()).toHaveLength(1);
  });

  it("of a long prompt says what draws it", async () => {
    await open();
    const long = Array.from({ length: 40 }, (_, n) => `${n}`).join(" ");
    const traits = traitsOf([], { base: long });
    screen.model.write({ ...traits, attention: patternsOf(traits.scene.experiment) });
    await drawn();
    expect(text("[data-panel=attention] .vene-hint")).toContain("(40 now): vw.attention(");
    expect($(".vene-weights")).toBeNull();
  });
});

describe("slots on weights", () => {
  it("keep their queries and keys as integers, whatever they read", () => {
    const { scene } = traitsOf([EDGE]);
    const plain = toPlain(scene.experiment, [
      { ...(scene.slots[0] as never as object), source: null, source_positions: [3] } as never,
    ]);
    expect(plain.slots[0]).toMatchObject({ position: 4, source_position: 3 });
  });

  it("go with their tokens, keys as well as queries", () => {
    const { scene } = traitsOf([EDGE]);
    const moved = follow(toPlain(scene.experiment), null, [1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5], []);
    expect(moved.slots[0]).toMatchObject({ position: 5, source_position: 4 });
  });
});
