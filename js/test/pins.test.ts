// What is pinned on the map: tiles, rows, columns.
import { afterEach, describe, expect, it } from "vitest";
import { makeMap, spainAndItaly, tokens } from "../dev/fixtures";
import { click, drawn, hover, mount, press, unfold, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, named, at } = within(() => screen);

describe("pins", () => {
  const pinned = () =>
    $$(".vene-pin").map((pin) => pin.querySelector(".vene-pin-name")?.textContent);

  it("come by P on tiles and by a click or P on headers, live together, and go again", async () => {
    screen = mount();
    at(1, 3).focus();
    press(at(1, 3), "p");
    await drawn();
    click(named("Pin layer 2"));
    press(named("Pin column ␣is 4"), "p");
    await drawn();
    expect(pinned()).toEqual(["layer 1 · 3 ␣Spain", "layer 2", "4 ␣is"]);
    expect(at(1, 3).dataset.pins).toBe("cell");
    expect(at(2, 4).dataset.pins).toBe("row column");
    expect(at(1, 3).getAttribute("aria-label")).toMatch(/, pinned$/);
    expect(named("Pin layer 2").getAttribute("aria-pressed")).toBe("true");
    press(at(1, 3), "P");
    click(named("Unpin layer 2"));
    click(named("Pin column ␣is 4"));
    await drawn();
    expect(pinned()).toEqual([]);
    expect(at(2, 4).dataset.pins).toBeUndefined();
    expect(screen.model.sent).toEqual([]);
  });

  it("are reached by the arrows: headers are the grid's edge", async () => {
    screen = mount();
    await unfold(screen.el);
    at(1, 0).focus();
    press(at(1, 0), "ArrowLeft");
    await drawn();
    expect(document.activeElement).toBe(named("Pin layer 1"));
    expect($$('[role=grid] [tabindex="0"]')).toEqual([document.activeElement]);
    expect(press(named("Pin layer 1"), "Enter").defaultPrevented).toBe(false);
    press(named("Pin layer 1"), "ArrowRight");
    await drawn();
    expect(document.activeElement).toBe(at(1, 0));
  });

  it("keep a tile's value beside the one pointed at", async () => {
    screen = mount();
    press(at(1, 3), "p");
    await hover(at(1, 4));
    const rome = spainAndItaly().map.targets.findIndex((t) => t.label === "␣Rome");
    const value = (layer: number, position: number) =>
      spainAndItaly().map.cells.find((c) => c.layer === layer && c.position === position)
        ?.probabilities[rome] as number;
    const shown = $$(".vene-pin .vene-number").map((number) => number.title);
    expect(shown[0]).toBe(String(value(1, 3)));
    expect($(".vene-pin .vene-dim")?.title).toBe(String(value(1, 4) - value(1, 3)));
  });

  it("draw a row or column as a line that says its ends, and mark the tile pointed at", async () => {
    screen = mount();
    click(named("Pin column ␣Spain 3 ⟵ ␣Italy"));
    await hover(at(2, 3));
    const line = $(".vene-profile") as HTMLElement;
    expect(line.getAttribute("aria-label")).toBe(
      "P(␣Rome) along 3 ␣Spain: lowest 0.077\u00a0% at layer 4, highest 94\u00a0% at layer 1",
    );
    expect(
      line.querySelector("path.vene-profile-line")?.getAttribute("d")?.split("L"),
    ).toHaveLength(6);
    expect($$(".vene-profile-here")).toHaveLength(1);
    await hover(at(2, 4));
    expect($$(".vene-profile-here")).toHaveLength(0);
  });

  it("of a prompt that became shorter are not shown", async () => {
    screen = mount();
    press(at(1, 4), "p");
    await drawn();
    const scene = { ...spainAndItaly().scene, revision: 2, base: tokens("The capital") };
    const map = { ...makeMap(scene), revision: 2, positions: [0, 1] };
    screen.model.write({ scene, map });
    await drawn();
    expect(pinned()).toEqual([]);
  });
});
