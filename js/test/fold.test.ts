// Tokens that both prompts share: one column of the map, until they are shown or a slot acts there.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import type { OrderedExperiment as Experiment } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, press, start, tile, unfold, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, named } = within(() => screen);
const header = () => $(".vene-map-fold");
const folder = () => named("Fold the tokens that both prompts share");
const columns = () =>
  [...screen.el.querySelectorAll<HTMLElement>(".vene-map-head[data-position]")].map((head) =>
    Number(head.dataset.position),
  );
const { experiment } = spainAndItaly().scene;

function traits(more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...experiment, ...more }, 6, 2, null);
  return { scene, map: makeMap(scene), answer: makeAnswer(scene) };
}

describe("the shared beginning", () => {
  it("is one column, which says in words that nothing can happen there", () => {
    screen = mount();
    expect(header()?.textContent).toBe("3 in common");
    expect(header()?.title).toContain("The ␣capital ␣of");
    expect(columns()).toEqual([3, 4]);
    const folds = [...screen.el.querySelectorAll(".vene-fold")];
    expect(folds).toHaveLength(6);
    expect(folds[0]?.getAttribute("aria-label")).toBe(
      "layer 5, the first 3 tokens, which both prompts share: no effect possible",
    );
    // The columns that are left keep their own names.
    expect(named("Pin column ␣Spain 3 ⟵ ␣Italy")).not.toBeNull();
    expect(named("Pin column ␣is 4")).not.toBeNull();
    expect($("[role=grid]")?.style.getPropertyValue("--vene-columns")).toBe("2");
  });

  it("is shown by a click on its header and folded again, without the kernel", async () => {
    screen = mount();
    expect(folder()).toBeNull();
    header()?.focus();
    await unfold(screen.el);
    expect(columns()).toEqual([0, 1, 2, 3, 4]);
    expect($(".vene-fold")).toBeNull();
    expect(header()).toBeNull();
    expect(tile(screen.el, 2, 0).className).toContain("vene-tile-idle");
    expect(document.activeElement).toBe(folder()); // the header is gone, the keys stay
    click(folder());
    await drawn();
    expect(columns()).toEqual([3, 4]);
    expect(document.activeElement).toBe(header());
    expect(screen.model.sent).toEqual([]);
  });

  it("takes no click: nothing is patched there", () => {
    screen = mount();
    click($(".vene-fold") as HTMLElement);
    expect(screen.model.sent).toEqual([]);
  });

  it("is skipped by the keys", async () => {
    screen = mount();
    tile(screen.el, 1, 4).focus();
    for (const [key, reached] of [
      ["ArrowLeft", () => tile(screen.el, 1, 3)],
      ["ArrowLeft", () => named("Pin layer 1")],
      ["ArrowRight", () => tile(screen.el, 1, 3)],
      ["End", () => tile(screen.el, 1, 4)],
      ["Home", () => tile(screen.el, 1, 3)],
    ] as const) {
      press(document.activeElement as Element, key);
      await drawn();
      expect(document.activeElement).toBe(reached());
    }
  });

  it("gives its tab stop away when it is folded", async () => {
    screen = mount();
    await unfold(screen.el);
    tile(screen.el, 1, 0).focus();
    await drawn();
    expect(tile(screen.el, 1, 0).tabIndex).toBe(0);
    click(folder());
    await drawn();
    const stops = [...screen.el.querySelectorAll("[role=gridcell][tabindex='0']")];
    expect(stops).toEqual([tile(screen.el, 5, 4)]);
  });

  it("is shown while a slot acts there, also one from Python, and folded when it has gone", async () => {
    screen = mount();
    const slot = { layer: 2, position: 1, source: "italy" };
    screen.model.write(traits({ slots: [slot] }));
    await drawn();
    expect(columns()).toEqual([0, 1, 2, 3, 4]);
    expect(tile(screen.el, 2, 1).getAttribute("aria-selected")).toBe("true");
    expect(folder()).toBeNull(); // what cannot be folded is not offered
    click(named("Remove slot 0"));
    answer(screen.model, accept(screen.model, 3));
    await drawn();
    expect(columns()).toEqual([3, 4]);
  });

  it("stays folded for a slot elsewhere, and for the others of its group", async () => {
    screen = mount(traits({ slots: [{ layer: 2, position: [3, 4], source: "italy" }] }));
    expect(columns()).toEqual([3, 4]);
    screen.model.write(traits({ slots: [{ layer: 2, position: [3, 2], source: "italy" }] }));
    await drawn();
    expect(columns()).toEqual([0, 1, 2, 3, 4]);
  });

  it("follows the prompts", async () => {
    screen = mount();
    screen.model.write(traits({ base: "The capital city of Spain is" }));
    await drawn();
    expect(header()?.textContent).toBe("2 in common");
    expect(columns()).toEqual([2, 3, 4, 5]);
    await unfold(screen.el);
    screen.model.write(traits({ base: "A city of Spain is" }));
    await drawn();
    expect(columns()).toEqual([0, 1, 2, 3, 4]);
    expect(folder()).toBeNull();
  });

  it.each([
    ["of one token", { base: "The city of Spain is" }, 5],
    ["of no token", { base: "A capital of Spain is" }, 5],
  ])("%s is not folded", (_, more, count) => {
    screen = mount(traits(more));
    expect(header()).toBeNull();
    expect(columns()).toHaveLength(count);
  });

  it("is not folded when it is the whole prompt: no column would be left", () => {
    const { scene, map } = traits({ base: "The capital of Italy is" });
    screen = mount({ scene, map: { ...map, cells: [], done: 0, first_difference: 5 } });
    expect(tile(screen.el, 2, 4).className).toContain("vene-tile-idle");
    expect(header()).toBeNull();
    expect(columns()).toHaveLength(5);
  });

  it("is not folded without a source", () => {
    const scene = sceneOf({ ...experiment, sources: [] }, 6, 2, null);
    screen = mount({ scene, map: {} });
    expect(header()).toBeNull();
    expect(columns()).toHaveLength(5);
  });

  it("ends where a token is paired by hand with another, which has an effect", () => {
    const { map } = spainAndItaly();
    screen = mount({ map: { ...map, cells: [], done: 0, source_positions: [0, 1, 0, 3, 4] } });
    expect(header()?.textContent).toBe("2 in common");
    expect(columns()).toEqual([2, 3, 4]);
    screen.close();
    screen = mount({ map: { ...map, cells: [], done: 0, source_positions: [1, 1, 2, 3, 4] } });
    expect(columns()).toEqual([0, 1, 2, 3, 4]);
  });
});

it("a column in which a tile has an effect is not folded: not every model is causal", () => {
  const { map } = spainAndItaly();
  const open = (position: number) =>
    map.cells.map((cell) =>
      cell.position === position && cell.layer === 4 ? { ...cell, idle: null } : cell,
    );
  screen = mount({ map: { ...map, cells: open(2) } });
  expect(columns()).toEqual([2, 3, 4]);
  screen.close();
  screen = mount({ map: { ...map, cells: open(0) } });
  expect(columns()).toEqual([0, 1, 2, 3, 4]);
});

describe("painting beside the fold", () => {
  it("takes the columns that are seen", async () => {
    screen = mount();
    tile(screen.el, 1, 3).focus();
    for (const key of ["ArrowUp", "ArrowRight", "Home"]) {
      press(document.activeElement as Element, key, { shiftKey: true });
      await drawn();
    }
    press(document.activeElement as Element, "Enter");
    const request = screen.model.sent.at(-1);
    const slots = request?.kind === "experiment" ? request.experiment.slots : [];
    expect(slots?.map((slot) => [slot.layer, slot.position])).toEqual([
      [1, 3],
      [2, 3],
    ]);
  });
});

it("each view folds for itself", () => {
  const [one, other] = [start(), start()];
  one.lens.toggleFold();
  expect([one.lens.folded.value, other.lens.folded.value]).toEqual([[], [0, 1, 2]]);
});
