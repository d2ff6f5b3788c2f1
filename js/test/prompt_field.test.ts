// The field that a prompt is edited in.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sceneOf, tokens } from "../dev/fixtures";
import { accept, click, drawn, mount, point, press } from "./helpers";

let screen: ReturnType<typeof mount>;
const named = (name: string) =>
  screen.el.querySelector<HTMLInputElement>(`[aria-label="${name}"]`) as HTMLInputElement;
const type = (field: HTMLInputElement, text: string) => {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
const experiments = () => screen.model.sent.filter(({ kind }) => kind === "experiment");

beforeEach(() => {
  screen = mount();
  screen.model.answer = (request) => {
    if (request.kind !== "tokens") return;
    const found = tokens(request.text);
    const error = found.length ? null : "prompt '' has no tokens";
    void screen.model.reply({ id: request.id, ok: !error, error, tokens: error ? null : found });
  };
});
afterEach(() => {
  screen.close();
  document.body.innerHTML = "";
});

it("closes with the first valid prompt after a refused one, and the pencil stays unpressed", async () => {
  click(named("Edit base"));
  await drawn();
  type(named("Edit base"), "");
  press(named("Edit base"), "Enter");
  await drawn();
  const field = named("Edit base");
  expect(field.matches("textarea[aria-invalid=true]")).toBe(true);
  // A refused prompt keeps the focus: only a field that is left gives it to the pencil.
  point(document.body, "pointerdown");
  field.blur();
  await drawn();
  expect(document.activeElement).not.toBe(named("Edit base"));
  click(named("Edit base"));
  await drawn();
  type(named("Edit base"), "The capital of France is");
  // Not cancelled, the key would go on to the pencil, which gets the focus, and press it.
  expect(press(named("Edit base"), "Enter").defaultPrevented).toBe(true);
  await vi.waitFor(() => expect(named("Edit base").matches("button")).toBe(true));
  accept(screen.model, 2);
  await drawn();
  expect(named("Edit base").matches("button")).toBe(true);
});

it("says what Enter and Escape do", async () => {
  click(named("Edit base"));
  await drawn();
  expect(screen.el.querySelector(".vene-prompt-edit")?.textContent).toContain(
    "Enter: apply · Esc: cancel",
  );
});

it("refuses an empty new source with a sentence, as it does an empty base", async () => {
  click(screen.el.querySelector(".vene-add-source") as HTMLElement);
  await drawn();
  press(named("New source"), "Enter");
  await vi.waitFor(() =>
    expect(screen.el.querySelector("[role=alert]")?.textContent).toBe("prompt '' has no tokens"),
  );
  expect(named("New source").matches("textarea")).toBe(true);
  expect(experiments()).toEqual([]);
});

describe("a prompt with line breaks", () => {
  const LINES = "One\nTwo\n\tThree";
  const open = async (base: string) => {
    screen.close();
    screen = mount({ scene: sceneOf({ base, sources: [], slots: [] }, 6, 1, null) });
    click(named("Edit base"));
    await drawn();
    return named("Edit base") as unknown as HTMLTextAreaElement;
  };

  it.each(["\n", "\r\n", "\r"])(
    "is the same after an edit that changes nothing: %j",
    async (end) => {
      const field = await open(LINES.replaceAll("\n", end));
      expect(field.value.split(/\r\n|\r|\n/)).toEqual(["One", "Two", "\tThree"]);
      press(field, "Enter");
      await vi.waitFor(() => expect(named("Edit base").matches("button")).toBe(true));
      expect(experiments()).toEqual([]);
    },
  );

  it.each(["\n", "\r\n"])("keeps them in an edit that changes a word: %j", async (end) => {
    const field = await open(LINES.replaceAll("\n", end));
    type(field as never, field.value.replace("Two", "2"));
    press(field, "Enter");
    await vi.waitFor(() =>
      expect(experiments()).toMatchObject([
        { experiment: { base: LINES.replace("Two", "2").replaceAll("\n", end) } },
      ]),
    );
  });

  it("takes one more with Shift-Enter, and with an Enter that ends a composed word none", async () => {
    const field = await open(LINES);
    for (const more of [{ shiftKey: true }, { isComposing: true }]) {
      expect(press(field, "Enter", more).defaultPrevented).toBe(false);
      await drawn();
      expect(named("Edit base").matches("textarea")).toBe(true);
    }
  });
});
