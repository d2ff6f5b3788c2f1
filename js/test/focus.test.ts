// Where the focus is after what had it has gone: on the screen, so that its keys go on working.
import { afterEach, describe, expect, it, vi } from "vitest";
import { sceneOf, spainAndItaly } from "../dev/fixtures";
import type { OrderedExperiment as Experiment } from "../src/kernel/wire";
import { click, drawn, mount, point, press, threeSlots, tile } from "./helpers";

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

describe("after the element that had it is removed or disabled the focus", () => {
  const ITALY: [string, string] = ["italy", "The capital of Italy is"];
  const POLAND: [string, string] = ["poland", "The capital of Poland is"];
  const { scene } = spainAndItaly();
  const sceneWith = (more: object) =>
    sceneOf({ ...scene.experiment, ...more } as Experiment, 6, 2, null);
  const focused = () => {
    const element = document.activeElement as HTMLElement;
    return element.getAttribute("aria-label") ?? element.textContent ?? element.className;
  };
  /** Whether Ctrl-Z reaches the screen from where the focus is. */
  const undoes = async () => {
    const before = screen.model.sent.length;
    press(document.activeElement as Element, "z", { ctrlKey: true });
    await drawn();
    return screen.model.sent.length > before;
  };
  const type = (name: string, text: string) => {
    const field = named(name) as HTMLInputElement;
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    return field;
  };

  it("goes to the next source when one is removed, to the button that adds one after the last", async () => {
    screen = mount({ scene: sceneWith({ sources: [ITALY, POLAND] }) });
    await push(named("Remove source italy"));
    expect(focused()).toBe("Rename source poland");
    await push(named("Remove source poland"));
    expect(focused()).toContain("Add a source prompt");
    expect(await undoes()).toBe(true);
  });

  it("is on a source's name after it is renamed", async () => {
    screen = mount();
    await push(named("Rename source italy"));
    press(type("New name of source italy", "rome"), "Enter");
    await drawn();
    expect(focused()).toBe("Rename source rome");
    expect(await undoes()).toBe(true);
    await push(named("Rename source italy"));
    press(named("New name of source italy"), "Escape");
    await drawn();
    expect(focused()).toBe("Rename source italy");
  });

  it("is on the new source after Enter, on the button again after Escape", async () => {
    screen = mount();
    const add = () => screen.el.querySelector(".vene-add-source") as HTMLElement;
    await push(add());
    press(named("New source"), "Escape");
    await drawn();
    expect(document.activeElement).toBe(add());
    await push(add());
    press(type("New source", "The capital of Poland is"), "Enter");
    await vi.waitFor(() => expect(focused()).toBe("Rename source poland"));
    expect(await undoes()).toBe(true);
  });

  it("is on the menu of targets after one is typed", async () => {
    for (const key of ["Escape", "Enter"]) {
      screen = mount();
      const menu = named("Target token") as HTMLSelectElement;
      menu.focus();
      menu.value = "type";
      menu.dispatchEvent(new Event("change", { bubbles: true }));
      await drawn();
      const { targets } = spainAndItaly().map;
      press(type("Target token, typed", `${targets[0]?.token_id}`), key);
      await drawn();
      expect(focused(), key).toBe("Target token");
      screen.close();
      screen.el.remove();
    }
  });

  it("goes from Group to Ungroup, from the last Undo to Redo, and Ctrl-Z works there", async () => {
    screen = mount({ scene: sceneWith({ slots: threeSlots }) });
    const button = (name: string) =>
      [...screen.el.querySelectorAll("button")].find((one) => one.textContent === name);
    await push(button("Group") as HTMLElement);
    expect(focused()).toBe("Ungroup");
    expect(await undoes()).toBe(true);
    press(document.activeElement as Element, "y", { ctrlKey: true });
    await drawn();
    await push(named("Undo"));
    expect(focused()).toBe("Redo");
  });

  it("stays on the screen after the last pin is removed", async () => {
    screen = mount();
    tile(screen.el, 1, 3).focus();
    press(tile(screen.el, 1, 3), "p");
    await drawn();
    await push(screen.el.querySelector('[aria-label^="Unpin"]') as HTMLElement);
    expect(root()?.contains(document.activeElement)).toBe(true);
  });

  it("is left to who clicked elsewhere, or went there", async () => {
    screen = mount();
    await push(named("Rename source italy"));
    point(document.body, "pointerdown");
    named("New name of source italy").blur();
    await drawn();
    expect(document.activeElement).toBe(document.body);
    const other = document.createElement("input");
    document.body.append(other);
    await push(named("Rename source italy"));
    other.focus();
    await drawn();
    expect(document.activeElement).toBe(other);
  });
});
