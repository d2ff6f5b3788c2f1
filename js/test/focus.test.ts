// Where the focus is after what had it has gone: on the screen, so that its keys go on working.
import { afterEach, describe, expect, it } from "vitest";
import { click, drawn, mount, press, tile } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.controller.abort();
  document.body.innerHTML = "";
});

const IDLE = { busy: null, progress: null, error: null };
const root = () => screen.el.querySelector<HTMLElement>(".vene-root");
const named = (name: string) => {
  const found = screen.el.querySelector<HTMLElement>(`[aria-label="${name}"]`);
  if (!found) throw new Error(`nothing is named ${name}`);
  return found;
};

/** Presses a button as a person does: it has the focus then. */
async function push(button: HTMLElement): Promise<void> {
  button.focus();
  expect(document.activeElement).toBe(button);
  click(button);
  await drawn();
}

describe("after an error is dismissed the focus", () => {
  it("returns to where it was when the error came", async () => {
    screen = mount();
    tile(screen.el, 1, 3).focus();
    screen.model.write({ status: { ...IDLE, error: "layer 9 is out of range" } });
    await drawn();
    await push(named("Dismiss"));
    expect(screen.el.querySelector("[role=alert]")).toBeNull();
    expect(document.activeElement).toBe(tile(screen.el, 1, 3));
  });

  it("goes to the screen when that is gone, or was elsewhere on the page", async () => {
    screen = mount({ status: { ...IDLE, error: "layer 9 is out of range" } });
    await push(named("Dismiss"));
    expect(document.activeElement).toBe(root());
    named("Edit base").focus();
    screen.model.write({ status: { ...IDLE, error: "layer 8 is out of range" } });
    await drawn();
    named("Dismiss").focus();
    click(named("Edit base"));
    await drawn();
    await push(named("Dismiss"));
    expect(document.activeElement).toBe(root());
  });

  it("stays where it is when the error goes by itself", async () => {
    screen = mount({ status: { ...IDLE, error: "layer 9 is out of range" } });
    tile(screen.el, 1, 3).focus();
    screen.model.write({ status: IDLE });
    await drawn();
    expect(document.activeElement).toBe(tile(screen.el, 1, 3));
  });
});

it("after a note is dismissed it is on the screen", async () => {
  screen = mount({ status: { ...IDLE, note: "The model has changed." } });
  await push(named("Dismiss"));
  expect(document.activeElement).toBe(root());
});

describe("after the list of keys is closed the focus", () => {
  it("returns to the button that opened it", async () => {
    screen = mount();
    await push(named("Clicks and keys"));
    await push(named("Close this list"));
    expect(document.activeElement).toBe(named("Clicks and keys"));
  });

  it("returns to the tile on which ? was pressed, also by Escape", async () => {
    for (const leave of ["cross", "Escape"]) {
      screen = mount();
      tile(screen.el, 1, 3).focus();
      press(tile(screen.el, 1, 3), "?");
      await drawn();
      const cross = named("Close this list");
      if (leave === "cross") await push(cross);
      else {
        cross.focus();
        press(cross, "Escape");
        await drawn();
      }
      expect(screen.el.querySelector("[role=dialog]"), leave).toBeNull();
      expect(document.activeElement, leave).toBe(tile(screen.el, 1, 3));
      screen.controller.abort();
      screen.el.remove();
    }
  });
});
