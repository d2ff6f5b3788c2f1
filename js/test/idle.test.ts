// Rows of differences: their order, and that an idle tile's are zero.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, spainAndItaly } from "../dev/fixtures";
import { fromCell, type Known, tablesOf } from "../src/domain/preview";
import type { Cell, Map as Sweep } from "../src/kernel/wire";
import { click, drawn, mount, start, tile, unfold } from "./helpers";

/** A map whose idle tiles differ from the base by the rounding of another batch. */
function rounded(): Sweep {
  const map = makeMap(spainAndItaly().scene);
  const off = (p: number) => p * (1 + 4 * Number.EPSILON);
  const cells = map.cells.map((cell) =>
    cell.idle === null
      ? cell
      : {
          ...cell,
          top: cell.top.map((one) => ({ ...one, probability: off(one.probability) })),
          probabilities: cell.probabilities.map(off),
        },
  );
  return { ...map, cells };
}

const IDLE = [
  { layer: 2, position: 0, why: "same" },
  { layer: 5, position: 3, why: "causal" },
];
const find = (map: Sweep, { layer, position }: { layer: number; position: number }) =>
  map.cells.find((cell) => cell.layer === layer && cell.position === position) as Cell;

describe("an idle tile", () => {
  it.each(IDLE)("changes nothing at all: $why", (place) => {
    const map = rounded();
    const cell = find(map, place);
    expect(cell.idle).toBe(place.why);
    const target = map.targets.find(({ token_id }) => token_id === cell.top[0]?.token_id);
    expect(cell.top[0]?.probability).not.toBe(target?.base);
    for (const last of [null, makeAnswer(spainAndItaly().scene)]) {
      const shown = fromCell(cell, map, last);
      expect(shown.differences.length).toBeGreaterThanOrEqual(cell.top.length);
      for (const row of shown.differences) {
        expect([row.after - row.before, row.kl]).toEqual([0, 0]);
        expect(row.rankAfter).toBe(row.rankBefore);
      }
      for (const { probabilities } of shown.tokens) {
        expect(probabilities.at(-1)).toBe(probabilities[0]);
      }
      // The likeliest tokens first, as the kernel lists them.
      const ps = shown.differences.map((row) => row.before);
      expect(ps).toEqual([...ps].sort((a, b) => b - a));
    }
  });

  it("has the base's numbers even where only the tile knows a token", () => {
    const map = rounded();
    const cell = find(map, { layer: 2, position: 0 });
    const few = { ...map, targets: map.targets.slice(0, 1) };
    const shown = fromCell({ ...cell, probabilities: cell.probabilities.slice(0, 1) }, few, null);
    expect(shown.differences.map((row) => row.id).sort()).toEqual(
      cell.top.map((one) => one.token_id).sort(),
    );
    expect(shown.differences.every((row) => row.after === row.before)).toBe(true);
  });

  it("compared with the base differs by nothing", () => {
    const scene = spainAndItaly().scene;
    const { compare, gestures } = start({ map: rounded(), answer: makeAnswer(scene) });
    gestures.apply({ row: 2, column: 0 }, "replace");
    compare.toggle();
    const rows = compare.shown.value?.differences ?? [];
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every((row) => row.after === row.before && row.kl === 0)).toBe(true);
  });

  let screen: ReturnType<typeof mount> | undefined;
  afterEach(() => {
    screen?.close();
    document.body.innerHTML = "";
  });

  it("is shown without bars, on an axis of ±100", async () => {
    screen = mount({ map: rounded() });
    await unfold(screen.el);
    click(tile(screen.el, 2, 0));
    await drawn();
    const bars = [...screen.el.querySelectorAll<HTMLElement>(".vene-differences .vene-bar")];
    expect(bars.length).toBeGreaterThan(0);
    expect(bars.map((bar) => bar.style.inlineSize)).toEqual(bars.map(() => "0%"));
    expect(screen.el.querySelector(".vene-bar-head")?.textContent).toBe("−100+100");
  });

  it("leaves other tiles their changes", () => {
    const map = rounded();
    const shown = fromCell(find(map, { layer: 0, position: 3 }), map, null);
    expect(
      Math.abs((shown.differences[0]?.after ?? 0) - (shown.differences[0]?.before ?? 0)),
    ).toBeGreaterThan(0.5);
  });
});

describe("rows of differences", () => {
  const known = (...ps: number[]): Known => ({ ps: new Map(ps.entries()), ranks: new Map() });
  const order = (before: number[], after: number[]) => {
    const [one, other] = [known(...before), known(...after)];
    // Reversed, so that the order of the labels is not what is seen.
    const labels = new Map([...before.keys()].reverse().map((id) => [id, `t${id}`]));
    return tablesOf(labels, [one, other], one, other).differences.map((row) => row.id);
  };

  it("begin with the largest change, also of a token that falls to nothing", () => {
    expect(order([0.02, 0.94, 0.03, 0.01], [0.5, 1e-9, 0.3, 0.2])).toEqual([1, 0, 2, 3]);
  });

  it("with equal changes go by id, those without a change by probability", () => {
    expect(order([0.125, 0.25, 0.0625, 0.5, 0.0625], [0.125, 0.5, 0.0625, 0.25, 0.0625])).toEqual([
      1, 3, 0, 2, 4,
    ]);
  });
});
