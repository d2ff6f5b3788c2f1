// Which source token goes into which base token.
import { afterEach, describe, expect, it } from "vitest";
import { ranges } from "../src/domain/format";
import { click, drawn, mount, press, threeSlots, tile, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { named, slotsSent, spoken, settle } = within(() => screen);

function open(...of: Parameters<typeof traitsOf>) {
  screen = mount(traitsOf(...of));
}

describe("tokens of unequal prompts", () => {
  const long = { sources: [["italy", "The capital of old Italy is"]] as [string, string][] };
  const captions = (prompt: string) =>
    [...screen.el.querySelectorAll(`[data-prompt="${prompt}"] .vene-chip-caption`)].map(
      (caption) => caption.textContent,
    );

  it("say where they go; those of equal ones do not", () => {
    open(threeSlots);
    expect(captions("base")).toEqual([]);
    screen.close();
    open([], long);
    expect(captions("base")).toEqual(["0", "1", "2", "3", "4"]);
    expect(captions("italy")).toHaveLength(6);
    expect(captions("italy")).toContain("–");
  });

  it("say it in ranges where one goes into many", () => {
    open([], { sources: [["italy", "Italy is"]] });
    expect(captions("italy").join(" ")).toMatch(/→ \d–\d/);
    expect([[], [7], [1, 2], [0, 1, 2], [32, 33, 34, 35, 40, 41, 43]].map(ranges)).toEqual([
      ...["", "7", "1, 2", "0–2", "32–35, 40, 41, 43"],
    ]);
  });

  it("are paired with the keyboard: Enter, arrows, Enter; the focus comes back", async () => {
    open(threeSlots, long);
    const chip = named("4 ␣Italy: pick up to pair") ?? screen.el.querySelector('[data-token="4"]');
    chip.focus();
    click(chip); // what Enter does on a button
    await drawn();
    expect(screen.el.querySelector(".vene-carry")?.textContent).toContain("␣Italy is picked up");
    const focused = () => document.activeElement as HTMLElement;
    const from = Number(focused().dataset.base);
    press(focused(), from > 3 ? "ArrowLeft" : "ArrowRight");
    await drawn();
    while (Number(focused().dataset.base) !== 3) {
      press(focused(), Number(focused().dataset.base) > 3 ? "ArrowLeft" : "ArrowRight");
      await drawn();
    }
    click(focused());
    await settle();
    expect(slotsSent().map((slot) => slot.source_position)).toEqual([4, 4, 4]);
    expect(screen.model.sent.find((request) => request.kind === "sweep")).toMatchObject({
      source_positions: expect.arrayContaining([4]),
    });
    expect(spoken()).toBe(
      "4 ␣Italy now goes into 3 ␣Spain: in slots 0, 1, 2 and in the map’s column 3.",
    );
    expect(focused().dataset.token).toBe("4");
    expect(captions("italy")[4]).toContain("3");
    expect(screen.el.querySelector('[data-prompt="italy"]')?.textContent).toContain(
      "Paired by hand",
    );
    click(named("Pair italy as suggested"));
    await drawn();
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "sweep", source_positions: null });
  });

  it("say that those that differ are paired in order", () => {
    const note = () => screen.el.querySelector('[data-prompt="italy"] .vene-prompt-note');
    open(threeSlots);
    expect(note()).toBeNull();
    screen.close();
    open([], long);
    expect(note()?.textContent).toContain("paired in order. Drag one");
  });

  it("are put back with Escape, and nothing is asked for", async () => {
    open(threeSlots, long);
    click(screen.el.querySelector('[data-token="4"]') as HTMLElement);
    await drawn();
    press(document.activeElement as HTMLElement, "Escape");
    await drawn();
    expect(screen.el.querySelector(".vene-carry")).toBeNull();
    expect(screen.model.sent).toHaveLength(0);
  });

  it("are dropped by the pointer on the base token under it; a column without a slot remembers", async () => {
    open([], long);
    const chip = screen.el.querySelector('[data-token="4"]') as HTMLElement;
    const target = () => screen.el.querySelector('[data-base="3"]') as HTMLElement;
    document.elementsFromPoint = () => [target()];
    const at = (type: string, clientX: number) =>
      chip.dispatchEvent(
        new PointerEvent(type, { clientX, clientY: 0, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 0);
    at("pointermove", 2);
    await drawn();
    expect(screen.el.querySelector(".vene-carry")).toBeNull(); // a hand is never quite still
    at("pointermove", 40);
    await drawn();
    expect(target().dataset.over).toBe("true");
    at("pointerup", 40);
    click(chip);
    await drawn();
    expect(screen.model.sent).toMatchObject([{ kind: "sweep" }]);
    expect(spoken()).toContain("no slot is there yet, the next click on it will use that");
    click(tile(screen.el, 1, 3));
    expect(slotsSent()[0]).toMatchObject({ position: 3, source_position: 4 });
  });
});
