// The rows of the slots: moved, duplicated, removed, changed in their details.
import { afterEach, describe, expect, it } from "vitest";
import { click, drawn, mount, press, threeSlots, toggleDetails, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { named, slotsSent, spoken, settle } = within(() => screen);
const row = (index: number) => screen.el.querySelector(`[data-slot="${index}"]`) as HTMLElement;
const details = () => screen.el.querySelector<HTMLElement>("[data-details]");

function open(...of: Parameters<typeof traitsOf>) {
  screen = mount(traitsOf(...of));
}
async function press_(name: string) {
  click(named(name));
  await settle();
}
async function choose(name: string, value: string) {
  const field = named(name);
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  await settle();
}

describe("a row", () => {
  it("moves with Alt and the arrows, keeps the focus and what is open in it, and is announced", async () => {
    open(threeSlots);
    await toggleDetails(screen.el, 2);
    named("Move slot 2").focus();
    press(named("Move slot 2"), "ArrowUp", { altKey: true });
    await settle();
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 2, 1]);
    expect(named("More of slot 1").getAttribute("aria-expanded")).toBe("true");
    expect(named("More of slot 2").getAttribute("aria-expanded")).toBe("false");
    expect(details()?.dataset.details).toBe("1");
    expect(named("Layer of slot 1").value).toBe("2");
    expect(document.activeElement).toBe(named("Move slot 1"));
    expect(spoken()).toBe("Slot 2 is now slot 1, number 2 of 3.");
    press(named("Move slot 0"), "ArrowUp", { altKey: true });
    await drawn();
    expect(spoken()).toBe("Slot 0 is the first.");
    const sent = screen.model.sent.length;
    press(named("Move slot 0"), "ArrowDown");
    expect(screen.model.sent).toHaveLength(sent);
    await press_("Undo");
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 1, 2]);
    expect(named("More of slot 2").getAttribute("aria-expanded")).toBe("true");
  });

  it("moves under the pointer, shows where it would go, and Escape leaves it", async () => {
    open(threeSlots);
    screen.el.querySelectorAll("[data-slot]").forEach((element, i) => {
      element.getBoundingClientRect = () => ({ top: 100 * i, height: 100 }) as DOMRect;
    });
    const at = (type: string, clientY: number) =>
      named("Move slot 0").dispatchEvent(
        new PointerEvent(type, { clientY, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 50);
    at("pointermove", 160);
    await drawn();
    expect([0, 1, 2].map((i) => row(i).dataset.drop)).toEqual(["dragged", "after", undefined]);
    press(named("Move slot 0"), "Escape");
    at("pointerup", 160);
    await drawn();
    expect(row(1).dataset.drop).toBeUndefined();
    expect(screen.model.sent).toHaveLength(0);
    at("pointerdown", 50);
    at("pointermove", 290);
    at("pointerup", 290);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([1, 2, 0]);
  });

  it("is duplicated and removed without what is open jumping to another", async () => {
    open(threeSlots);
    await toggleDetails(screen.el, 1);
    await press_("Duplicate slot 1");
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 1, 1, 2]);
    const opened = () =>
      [0, 1, 2, 3].map((i) => named(`More of slot ${i}`)?.getAttribute("aria-expanded"));
    expect(opened()).toEqual(["false", "true", "false", "false"]);
    expect(screen.el.querySelectorAll("[data-details]")).toHaveLength(1);
    expect(document.activeElement).toBe(named("Move slot 2"));
    await press_("Remove slot 0");
    expect(opened().slice(0, 3)).toEqual(["true", "false", "false"]);
    expect(spoken()).toBe("Slot 0 is removed; 3 left.");
  });

  it("leaves the focus on the screen when the last is removed: the keys undo it", async () => {
    open(threeSlots.slice(0, 1));
    named("Remove slot 0").focus();
    await press_("Remove slot 0");
    expect(document.activeElement?.textContent?.trim()).toBe("Add slot");
    expect(spoken()).toBe("Slot 0 is removed; 0 left.");
    press(document.activeElement as Element, "z", { ctrlKey: true });
    expect(slotsSent()).toHaveLength(1);
  });

  it("has several pairs: one more, one less, counted on the line", async () => {
    open([{ ...(threeSlots[0] as object), layer: 0, position: 3 } as never]);
    await toggleDetails(screen.el, 0);
    await press_("Add a position to slot 0");
    await press_("Add a position to slot 0");
    expect(slotsSent()[0]).toMatchObject({ position: [3, 0, 1], source_position: [3, 0, 1] });
    await choose("Source position of slot 0, pair 3", "4");
    expect(slotsSent()[0]?.source_position).toEqual([3, 0, 4]);
    // A position is spoken for once.
    const options = [...named("Base position of slot 0").querySelectorAll("option")];
    expect(options.map((option) => option.value)).toEqual(["2", "3", "4"]);
    expect(row(0).querySelector(".vene-slot-tokens")?.textContent).toBe("␣Spain ⟵ ␣Italy +2");
    await press_("Take position 0 out of slot 0");
    expect(slotsSent()[0]).toMatchObject({ position: [3, 1], source_position: [3, 4] });
    expect(row(0).querySelector(".vene-slot-tokens")?.textContent).toBe("␣Spain ⟵ ␣Italy +1");
  });

  it("tells the strength in a slider and a number, with its formula", async () => {
    open(threeSlots);
    await toggleDetails(screen.el, 0);
    const slider = named("Strength of slot 0");
    slider.value = "0.3";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
    expect(named("Strength of slot 0 as a number").value).toBe("0.3");
    expect(screen.model.sent).toHaveLength(0); // asked for when it is let go
    expect(slider.value).toBe("0.3");
    slider.dispatchEvent(new Event("change", { bubbles: true }));
    await settle();
    expect(slotsSent()[0]?.strength).toBe(0.3);
    await choose("Strength of slot 0 as a number", "0.25");
    expect(slotsSent()[0]?.strength).toBe(0.25);
    expect(named("Strength of slot 0").title).toContain("b + strength · (intervention − b)");
    // The slider has no undo of its own.
    press(named("Strength of slot 0"), "z", { ctrlKey: true });
    await settle();
    expect(slotsSent()[0]?.strength).toBe(0.3);
    const sent = screen.model.sent.length;
    press(named("Dims of slot 0"), "z", { ctrlKey: true });
    press(named("Strength of slot 0"), "g");
    expect(screen.model.sent).toHaveLength(sent);
  });

  it("is split in two halves, of which one may be chosen", async () => {
    open(threeSlots);
    expect(named("Split dims of slot 0")).toBeNull();
    await toggleDetails(screen.el, 0);
    await press_("Split dims of slot 0");
    expect(slotsSent()[0]?.partition).toEqual({ a: [0, 64], b: [64, 128] });
    expect(named("Split dims of slot 0")).toBeNull();
    await press_("Subspace b of slot 0");
    expect(slotsSent()[0]?.subspace).toBe("b");
  });

  it("scrolls its list while it is held near the edge", async () => {
    open(threeSlots);
    const list = screen.el.querySelector(".vene-slots") as HTMLElement;
    list.getBoundingClientRect = () => ({ top: 0, bottom: 150, height: 150 }) as DOMRect;
    screen.el.querySelectorAll("[data-slot]").forEach((element, i) => {
      element.getBoundingClientRect = () => ({ top: 100 * i, height: 100 }) as DOMRect;
    });
    const at = (type: string, clientY: number) =>
      named("Move slot 0").dispatchEvent(
        new PointerEvent(type, { clientY, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 50);
    for (let i = 0; i < 12; i++) at("pointermove", 140);
    expect(list.scrollTop).toBe(144);
    await drawn();
    // 140 in the window is 284 in the list: behind the last middle.
    expect(row(2).dataset.drop).toBe("after");
    at("pointerup", 140);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([1, 2, 0]);
  });

  it("of a mean says where in the prompts", async () => {
    open(threeSlots);
    await toggleDetails(screen.el, 0);
    await choose("Intervention of slot 0", "mean");
    await choose("Positions in the prompts of slot 0", "-1");
    expect(slotsSent()[0]?.source_position).toBe(-1);
    expect(named("Positions in the prompts of slot 0").value).toBe("-1");
  });

  it("has rank and scale just for what uses them", async () => {
    open(threeSlots);
    await toggleDetails(screen.el, 0);
    for (const [name, has] of [
      ["vanilla", []],
      ["zero", []],
      ["noise", ["Scale"]],
      ["low_rank_rotated_space", ["Rank"]],
    ] as const) {
      if (name !== "vanilla") await choose("Intervention of slot 0", name);
      expect(["Rank", "Scale"].filter((field) => named(`${field} of slot 0`))).toEqual(has);
    }
  });
});
