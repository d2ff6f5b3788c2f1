// The tile under the pointer, previewed in the answer and read out.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, spainAndItaly } from "../dev/fixtures";
import { SHORT_WAIT } from "../src/domain/estimate";
import { VISIBLE } from "../src/features/answer/rows";
import { accept, answer, click, drawn, hover, mount, point, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, named, text, at } = within(() => screen);

describe("the tile under the pointer", () => {
  it("is previewed in answer and differences by hollow marks, which go with it", async () => {
    screen = mount();
    click(at(1, 3));
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const rows = () => $$(".vene-rows tr").map((row) => row.textContent);
    const before = rows();
    expect(before).toHaveLength(2 * (1 + VISIBLE));
    await hover(at(1, 4));
    expect($$("[data-panel=answer] .vene-ghost")).toHaveLength(VISIBLE);
    expect($$("[data-panel=difference] .vene-ghost-bar")).toHaveLength(VISIBLE);
    const ghost = $("[data-panel=answer] .vene-ghost") as HTMLElement;
    const label = ghost.closest("tr")?.querySelector("th")?.textContent ?? "";
    const n = spainAndItaly().map.targets.findIndex((target) => target.label === label);
    const cell = spainAndItaly().map.cells.find((c) => c.layer === 1 && c.position === 4);
    expect(Number.parseFloat(ghost.style.insetInlineStart)).toBeCloseTo(
      100 * (cell?.probabilities[n] as number),
      9,
    );
    expect(rows()).toEqual(before);
    point(named("Map").querySelector("[role=grid]") as Element, "pointerleave");
    await drawn();
    expect($$(".vene-ghost, .vene-ghost-bar")).toHaveLength(0);
  });

  it("is marked on the axis too while there is no result", async () => {
    screen = mount();
    const columns = () => $$("[data-panel=answer] thead th").map((th) => th.textContent);
    const before = columns();
    expect($$("[data-panel=answer] .vene-ghost")).toHaveLength(0);
    await hover(at(1, 3));
    expect(columns()).toEqual(before);
    const rome = $$("[data-panel=answer] tbody tr").find((row) =>
      row.textContent?.includes("Rome"),
    );
    const left = rome?.querySelector<HTMLElement>(".vene-ghost")?.style.insetInlineStart ?? "";
    expect(Number.parseFloat(left)).toBeCloseTo(93.7, 0);
  });

  it("changes nothing on the map itself", async () => {
    screen = mount();
    const seen: MutationRecord[] = [];
    const observer = new MutationObserver((records) => seen.push(...records));
    observer.observe($("[role=grid]") as Node, {
      subtree: true,
      childList: true,
      attributes: true,
    });
    await hover(at(1, 3));
    await hover(at(1, 4));
    expect(text(".vene-readout")).toContain("layer 1 · 4");
    expect(seen).toEqual([]);
    observer.disconnect();
  });

  it("says about how long its exact answer takes when that is long", async () => {
    const traits = spainAndItaly();
    const scene = { ...traits.scene };
    screen = mount();
    click(at(3, 3));
    const shown = accept(screen.model, 2);
    screen.model.write({ answer: { ...makeAnswer(shown), milliseconds: 3 * SHORT_WAIT } });
    await hover(at(0, 4));
    expect(text(".vene-readout-wait")).toContain("in about 3.0 s");
    await hover(at(3, 4));
    expect(text(".vene-readout-wait")).toContain("in about 1.5 s");
    await hover(at(5, 4)); // a third of what three layers took
    expect(text(".vene-readout-wait")).toBe("");
    screen.model.write({ map: { ...makeMap(scene), slow: "the model has cross-attention" } });
    await hover(at(5, 4));
    expect(text(".vene-readout-wait")).not.toBe("");
  });
});
