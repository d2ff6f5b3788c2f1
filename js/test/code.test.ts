// The code panel: whose names, which lines the last change made, and what it says where it has none.
import { afterEach, describe, expect, it, vi } from "vitest";
import { ANSWERS, sceneOf } from "../dev/fixtures";
import { changedLines } from "../src/features/code/state";
import { accept, answer, click, drawn, mount, openTab, tile } from "./helpers";

describe("changed lines", () => {
  it("are those that the earlier script has not got, in order", async () => {
    expect([...changedLines(["a", "b", "c"], ["a", "x", "c", "d"])]).toEqual([1, 3]);
    expect([...changedLines(["a", "b"], ["b", "a"])]).toHaveLength(1);
    expect([...changedLines(["a", "b", "c"], ["a", "c"])]).toEqual([]);
    expect([...changedLines([], ["a"])]).toEqual([0]);
  });
});

describe("the panel", () => {
  let screen: ReturnType<typeof mount>;
  afterEach(() => {
    screen?.close();
    document.body.innerHTML = "";
    vi.unstubAllGlobals();
  });
  const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);
  const lines = () => [...screen.el.querySelectorAll(".vene-code code")];

  async function open(traits: Record<string, unknown> = {}): Promise<void> {
    screen = mount(traits);
    await openTab(screen.el, "code");
  }

  it("is opened by its tab, which says whether it is open", async () => {
    await open();
    expect($("[data-opens=code]")?.getAttribute("aria-expanded")).toBe("true");
    expect(lines()[0]?.textContent).toBe("import vene_widgets as vw\n");
    expect($(".vene-code-changed")).toBeNull();
    click($("[data-opens=data]") as HTMLElement);
    await drawn();
    expect($(".vene-code")).toBeNull();
  });

  it("marks the lines that the last change made, once its answer is there", async () => {
    await open();
    click(tile(screen.el, 1, 3));
    await drawn();
    expect($(".vene-code-changed")).toBeNull();
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const marked = [...screen.el.querySelectorAll(".vene-code-changed")];
    expect(marked.map((line) => line.textContent)).toEqual([
      "    slots=[\n",
      '        vw.Slot(layer=1, position=3, source="italy"),\n',
      "    ],\n",
    ]);
  });

  it("has a line for each further question, chosen and copied, in this package's names", async () => {
    const written: string[] = [];
    vi.stubGlobal("navigator", {
      clipboard: { writeText: async (text: string) => void written.push(text) },
    });
    const { experiment, answer: single } = ANSWERS.single;
    await open({ scene: sceneOf(experiment, 6, single.revision, null), answer: single });
    const asked = single.questions ?? [];
    expect(asked.length).toBeGreaterThan(8);
    const select = () => $('[aria-label="Ask more"]') as HTMLSelectElement;
    expect([...select().options].map(({ value }) => value)).toEqual(asked.map(({ name }) => name));
    expect($(".vene-ask-line")?.textContent).toBe(asked[0]?.code);
    select().value = "recovery";
    select().dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect(select().value).toBe("recovery");
    const line = asked.find(({ name }) => name === "recovery")?.code;
    expect(line).toContain('.plot("recovery")');
    expect($(".vene-ask-line")?.textContent).toBe(line);
    click($(".vene-ask button") as HTMLElement);
    await drawn();
    expect(written).toEqual([line]);
    const names = $('[aria-label="Names of"]') as HTMLSelectElement;
    names.value = "pyvene";
    names.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect($(".vene-ask")).toBeNull();
  });

  it("shows the reason where those names have no word for it", async () => {
    const { experiment, answer: weak } = ANSWERS.weak;
    await open({ scene: sceneOf(experiment, 6, weak.revision, null), answer: weak });
    const select = $('[aria-label="Names of"]') as HTMLSelectElement;
    select.value = "pyvene";
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await drawn();
    expect($(".vene-code")).toBeNull();
    expect($(".vene-panel-code .vene-hint")?.textContent).toContain("pyvene has no strength");
  });

  it("copies the script without marks, and says when the browser refuses", async () => {
    await open();
    const writeText = vi.fn().mockResolvedValueOnce(undefined).mockRejectedValueOnce(new Error());
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    const button = [...screen.el.querySelectorAll("button")].find((b) => b.textContent === "Copy");
    const said = () => button?.parentElement?.querySelector(".vene-copy-said")?.textContent;
    click(button as HTMLElement);
    await drawn();
    expect(writeText.mock.calls[0]?.[0]).toMatch(/^import vene_widgets as vw\n[^#]+$/);
    expect(said()).toBe("Copied");
    expect(button?.textContent).toBe("Copy");
    click(button as HTMLElement);
    await drawn();
    expect(said()).toBe("The browser refused");
  });
});
