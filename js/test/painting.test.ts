// Tiles painted into a group, by the pointer and by keys.
import { afterEach, describe, expect, it } from "vitest";
import { accept, answer, click, drawn, mount, point, press, unfold, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $$, named, text, at, experiments } = within(() => screen);
const slots = () =>
  experiments()
    .at(-1)
    ?.slots?.map((slot) => [slot.layer, slot.position, slot.group ?? null]);

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
