// Generate: two texts as tokens, where they part, and what is said when they are old or refused.
import { afterEach, describe, expect, it } from "vitest";
import { inPercent } from "../src/domain/format";
import type { GeneratedTexts, NewToken } from "../src/kernel/wire";
import { click, drawn, mount, openTab, press, refuse, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text } = within(() => screen);
const button = (name: string) => {
  const found = $$("[data-panel=generation] button").find((one) => one.textContent === name);
  if (!found) throw new Error(`no button ${name}`);
  return found;
};

const token = (text: string, probability: number, more: Partial<NewToken> = {}): NewToken => ({
  ...{ id: text.length, text, label: text.replaceAll(" ", "␣").replaceAll("\n", "↵") },
  ...{ probability, rank: 1, best: text, best_probability: probability, ...more },
});

const { scene } = traitsOf([]);
const TEXTS: GeneratedTexts = {
  request: "r1",
  revision: scene.revision,
  experiment: scene.experiment,
  on: "prompt",
  max_new_tokens: 3,
  running: null,
  base: [token(" Madrid", 0.94), token(".", 0.5), token("\n", 0.25)],
  patched: [
    token(" Rome", 0.94),
    token(" is", 0.2, { rank: 2, best: "␣was", best_probability: 0.6 }),
  ],
  base_text: " Madrid.\n",
  patched_text: " Rome is",
  differs: 0,
  note: null,
};

async function open(generation: Partial<GeneratedTexts> | object) {
  screen = mount({ generation });
  await openTab(screen.el, "generation");
}

const pieces = (run: string) => $$(`.vene-text[data-run=${run}] .vene-piece`);
const words = () => text(".vene-texts-words");

describe("generated texts", () => {
  it("are tokens with their probability, and the first difference is marked", async () => {
    await open(TEXTS);
    expect(pieces("base").map((one) => one.textContent)).toEqual([" Madrid", ".", "↵\n"]);
    expect(pieces("patched").map((one) => one.getAttribute("aria-label"))).toEqual([
      `␣Rome ${inPercent(0.94)}, first difference`,
      `␣is ${inPercent(0.2)}`,
    ]);
    expect($$(".vene-piece[data-differs=true]").map((one) => one.textContent)).toEqual([
      " Madrid",
      " Rome",
    ]);
    expect(words()).toBe(
      `≠ First difference at new token 1: ␣Madrid ${inPercent(0.94)} in base, ␣Rome ${inPercent(0.94)} in patched`,
    );
  });

  it("are read token by token with the arrows", async () => {
    await open(TEXTS);
    const [first, second] = pieces("patched") as [HTMLElement, HTMLElement];
    expect([first.tabIndex, second.tabIndex]).toEqual([0, -1]);
    first.focus();
    press(first, "ArrowRight");
    await drawn();
    expect(document.activeElement).toBe(second);
    expect(words()).toBe(
      `patched, new token 2: ␣is ${inPercent(0.2)} · rank 2 · most likely ␣was ${inPercent(0.6)}`,
    );
    expect(second.tabIndex).toBe(0);
  });

  it("are asked for with a number of tokens and where slots act, and can be stopped", async () => {
    await open({});
    expect(text("[data-panel=generation] .vene-hint")).toContain("goes on after the base prompt");
    const field = $('[aria-label="Number of new tokens"]') as HTMLInputElement;
    field.value = "7";
    field.dispatchEvent(new Event("change", { bubbles: true }));
    const on = $('[aria-label="Where the slots act"]') as HTMLSelectElement;
    on.value = "every";
    on.dispatchEvent(new Event("change", { bubbles: true }));
    click(button("Generate"));
    await drawn();
    expect(screen.model.sent).toMatchObject([{ kind: "generate", max_new_tokens: 7, on: "every" }]);
    click(button("Stop"));
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "stop" });
  });

  it("say why they were refused, and the last ones stay", async () => {
    await open(TEXTS);
    click(button("Generate"));
    await refuse(screen.model, "max_new_tokens must be from 1 to 60, got 99.");
    await drawn();
    expect(text("[role=alert]")).toBe("max_new_tokens must be from 1 to 60, got 99.");
    expect(pieces("base")).toHaveLength(3);
    expect(button("Generate")).toBeTruthy();
  });

  it("are old for another experiment and for another model", async () => {
    const { experiment } = traitsOf([{ layer: 0, position: 3, source: "italy" }]).scene;
    await open({ ...TEXTS, experiment });
    expect(words()).toContain("Of another experiment.");
    expect($(".vene-texts")?.classList).toContain("vene-old");
    screen.close();
    await open({ ...TEXTS, revision: -1 });
    expect(words()).toContain("From before the model changed.");
    screen.close();
    await open(TEXTS);
    expect($(".vene-texts")?.classList).not.toContain("vene-old");
  });

  it("come while they are written", async () => {
    await open({ ...TEXTS, patched: [], running: "base", base_text: null, patched_text: null });
    expect(words()).toBe("Writing base …");
    expect($('[aria-busy="true"] .vene-text-caret')).toBeTruthy();
    expect(pieces("patched")).toHaveLength(0);
    expect(button("Stop")).toBeTruthy();
  });

  it("are on a saved page, which generates no others", async () => {
    screen = mount({ generation: TEXTS, offline: "needs a kernel" });
    await openTab(screen.el, "generation");
    expect(pieces("base")).toHaveLength(3);
    expect($$("[data-panel=generation] select")).toHaveLength(0);
    expect(text(".vene-text[data-run=patched] .vene-note")).toBe(
      "patched: slots act on the prompt",
    );
  });
});
