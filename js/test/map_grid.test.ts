// The map as a grid: keys, clicks, reading a tile, filling.
import { afterEach, describe, expect, it } from "vitest";
import { makeMap, spainAndItaly } from "../dev/fixtures";
import { accept, answer, click, drawn, mount, press, tile, unfold, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, named, placesSent, slotsSent } = within(() => screen);

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

  it("follows the keyboard: arrows move, Enter applies, Shift-Enter adds, Space skips", async () => {
    screen = mount();
    tile(screen.el, 5, 4).focus();
    for (const key of ["ArrowDown", "ArrowLeft", "ArrowDown"]) {
      press(document.activeElement as Element, key);
      await drawn();
    }
    const at = document.activeElement as HTMLElement;
    expect([at.dataset.layer, at.dataset.position, at.tabIndex]).toEqual(["3", "3", 0]);
    press(at, "Enter");
    expect(placesSent()).toEqual([[3, 3, null]]);
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect(tile(screen.el, 3, 3).getAttribute("aria-selected")).toBe("true");
    press(tile(screen.el, 3, 4), "Enter", { shiftKey: true });
    expect(placesSent()).toEqual([
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
    press(tile(screen.el, 3, 4), " ");
    expect(slotsSent().map((slot) => slot.skip)).toEqual([false, true]);
    press(tile(screen.el, 3, 4), " ");
    expect(slotsSent().map((slot) => slot.skip)).toEqual([false, false]);
    press(tile(screen.el, 3, 4), "u");
    expect(placesSent()).toEqual([
      [3, 3, null],
      [3, 4, null],
    ]);
    press(tile(screen.el, 3, 4), "g");
    expect(placesSent()).toEqual([
      [3, 3, "A"],
      [3, 4, "A"],
    ]);
    press(tile(screen.el, 3, 4), "z", { ctrlKey: true });
    expect(placesSent()).toEqual([
      [3, 3, null],
      [3, 4, null],
    ]);
    press(tile(screen.el, 3, 4), "y", { ctrlKey: true });
    expect(placesSent()).toEqual([
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
    expect(placesSent()).toEqual([
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
    expect(placesSent()?.at(-1)).toEqual([1, 4, "B"]);
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
