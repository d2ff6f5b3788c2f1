import { describe, expect, it } from "vitest";
import { METRICS } from "../dev/fixtures";
import {
  colourOf,
  contrast,
  css,
  partOf,
  type Rgb,
  textOn,
  tileColours,
} from "../src/domain/colour";
import { full, milliseconds, rankMove, signed } from "../src/domain/format";
import { divergingBar, FLOOR, move, onLogAxis, sharedEnds, tileSize } from "../src/domain/geometry";
import {
  changeText,
  endsOf,
  limitOf,
  type MetricName,
  probabilityLimit,
  readingOf,
  roundUp,
  spell,
  tileText,
  valueText,
} from "../src/domain/metrics";
import type { Cell, MetricInfo } from "../src/kernel/wire";

describe("the log axis", () => {
  it("runs from its fixed floor to 1 in equal steps per power of ten", () => {
    expect(
      [1, 0.1, 0.01, 0.001, 1e-4, FLOOR].map(onLogAxis).map((x) => Number(x.toFixed(12))),
    ).toEqual([1, 0.8, 0.6, 0.4, 0.2, 0]);
    expect(onLogAxis(0)).toBe(0);
    expect(onLogAxis(1e-12)).toBe(0);
  });
});

describe("a diverging bar", () => {
  it("starts or ends at zero and never leaves its axis", () => {
    expect(divergingBar(0.5, 1)).toEqual({ start: 0.5, length: 0.25 });
    expect(divergingBar(-0.5, 1)).toEqual({ start: 0.25, length: 0.25 });
    expect(divergingBar(-9, 1)).toEqual({ start: 0, length: 0.5 });
    expect(divergingBar(0, 0)).toEqual({ start: 0.5, length: 0 });
  });
});

describe("steps on the grid", () => {
  const layers = [0, 1, 2];
  const positions = [0, 1];
  it("go up with the layers and stop at the edges", () => {
    const at = { row: 2, column: 1 };
    expect(move("ArrowUp", at, layers, positions)).toEqual(at);
    expect(move("ArrowDown", at, layers, positions)).toEqual({ row: 1, column: 1 });
    expect(move("ArrowLeft", at, layers, positions)).toEqual({ row: 2, column: 0 });
    expect(move("End", { row: 0, column: 0 }, layers, positions)?.column).toBe(1);
    expect(move("ArrowRight", at, layers, positions)).toEqual(at);
    expect(move("PageDown", at, layers, positions)).toEqual({ row: 0, column: 1 });
    expect(move("x", at, layers, positions)).toBeNull();
  });

  it("reach the headers at the left and below, but no corner", () => {
    const row = { row: 1, column: null };
    const column = { row: null, column: 1 };
    expect(move("ArrowLeft", { row: 1, column: 0 }, layers, positions)).toEqual(row);
    expect(move("ArrowUp", row, layers, positions)).toEqual({ row: 2, column: null });
    expect(move("ArrowRight", row, layers, positions)).toEqual({ row: 1, column: 0 });
    expect(move("ArrowDown", { row: 0, column: 1 }, layers, positions)).toEqual(column);
    expect(move("ArrowUp", column, layers, positions)).toEqual({ row: 0, column: 1 });
    const first = { row: null, column: 0 };
    expect(move("ArrowLeft", first, layers, positions)).toEqual(first);
    const lowest = { row: 0, column: null };
    expect(move("ArrowDown", lowest, layers, positions)).toEqual(lowest);
  });
});

describe("tiles", () => {
  it("carry numbers only where they fit, and turn labels that would overlap", () => {
    expect(tileSize(600, 5, 6, ["␣capital"])).toMatchObject({ hasNumbers: true, turned: false });
    expect(tileSize(600, 40, 30, ["␣capital"])).toMatchObject({ hasNumbers: false, turned: true });
  });
});

describe("two prompts", () => {
  it("share their beginning and end, whatever their lengths", () => {
    expect(sharedEnds([1, 2, 3, 4], [1, 2, 9, 4])).toEqual({ start: 2, end: 1 });
    expect(sharedEnds([1, 2, 4], [1, 2, 9, 9, 4])).toEqual({ start: 2, end: 1 });
    expect(sharedEnds([1, 1], [1, 1, 1])).toEqual({ start: 2, end: 0 });
    expect(sharedEnds([], [1])).toEqual({ start: 0, end: 0 });
  });
});

describe("colours", () => {
  const steps = Array.from({ length: 201 }, (_, i) => i / 100 - 1);
  it("leave every number readable: 4.5 to 1 at every value, scale and theme", () => {
    for (const theme of ["light", "dark"] as const) {
      for (const scale of ["amount", "difference"] as const) {
        for (const value of steps) {
          const back = colourOf(value, 1, scale, theme);
          const text = textOn(back).match(/\d+/g) ?? [];
          expect(contrast(text.map(Number) as unknown as Rgb, back)).toBeGreaterThanOrEqual(4.5);
        }
      }
    }
  });

  it("grow steadily away from zero, so that brightness alone tells size", () => {
    for (const [theme, far] of [
      ["light", [0, 0, 0]],
      ["dark", [255, 255, 255]],
    ] as const) {
      for (const sign of [1, -1]) {
        const distance = [0, 0.2, 0.4, 0.6, 0.8, 1].map((part) =>
          contrast(colourOf(sign * part, 1, "difference", theme), far),
        );
        expect(distance).toEqual([...distance].sort((a, b) => b - a));
      }
    }
  });

  it("are the same at zero on both scales, and bounded by the limit", () => {
    expect(css(colourOf(0, 1, "difference", "light"))).toBe(css(colourOf(0, 1, "amount", "light")));
    expect(colourOf(7, 1, "amount", "dark")).toEqual(colourOf(1, 1, "amount", "dark"));
    expect(colourOf(1, 1, "difference", "light")).not.toEqual(
      colourOf(-1, 1, "difference", "light"),
    );
    expect(Object.keys(tileColours(0.3, 1, "amount"))).toHaveLength(4);
  });
});

describe("metrics", () => {
  const cell: Cell = {
    layer: 0,
    head: null,
    position: 3,
    source_position: 3,
    top: [],
    probabilities: [0.1, 0.8],
    ranks: [2, 1],
    kl: 2.5,
    kl_source: null,
    idle: null,
    sentence: "",
  };
  const targets = [
    { token_id: 1, label: "a", base: 0.9, source: 0.1, plain: 0.9, request: null },
    { token_id: 2, label: "b", base: 0.05, source: 0.9, plain: 0.05, request: null },
  ];
  const metric = (name: MetricName) => METRICS.find((info) => info.name === name) as MetricInfo;
  const read = (name: MetricName, target: number, of: Partial<Cell> = {}) =>
    readingOf(metric(name), { ...cell, ...of }, { target, other: 1 - target }, targets);

  it("are what their formulas say", () => {
    expect(read("probability", 1)).toBe(0.8);
    expect(read("delta", 1)).toBe(0.75);
    expect(read("log_ratio", 1)).toBeCloseTo(Math.log(16), 12);
    expect(read("logit_difference", 1)).toBeCloseTo(Math.log(8), 12);
    expect(read("logit_difference", 0)).toBeCloseTo(-Math.log(8), 12);
    expect(read("kl", 1)).toBe(2.5);
    expect([read("rank", 0), read("rank", 1)]).toEqual([2, 1]);
    expect(read("log_ratio", 0, { probabilities: [0, 0] })).toBeGreaterThan(-800);
  });

  it("have no value where the map holds none", () => {
    for (const info of METRICS) {
      expect(readingOf(info, undefined, { target: 0, other: 1 }, targets)).toBeNull();
      if (info.of_target) expect(read(info.name, 5)).toBeNull();
    }
  });

  it("name their tokens, also those whose labels hold the letters themselves", () => {
    expect(spell(metric("logit_difference").title, "u", "t")).toBe("logit(u) − logit(t)");
    expect(spell(metric("rank").title, "$& a")).toBe("Rank of $& a");
    expect(spell(metric("kl").title, "x")).toBe("KL(cell ‖ base)");
  });

  it("have limits that hold every value, and say them", () => {
    expect(limitOf(metric("kl"), [])).toBe(1);
    expect(limitOf(metric("rank"), [3, 412])).toBe(412);
    for (const value of [0.0123, 0.4, 0.99, 1, 7.3, 8.1, 123]) {
      expect(roundUp(value)).toBeGreaterThanOrEqual(value);
      expect(roundUp(value)).toBeLessThanOrEqual(value * 1.34);
      expect(limitOf(metric("kl"), [value])).toBe(roundUp(value));
    }
    for (const value of [1e-7, 0.0123, 0.03, 0.0999]) {
      expect(probabilityLimit(value)).toBeGreaterThanOrEqual(value);
      expect(probabilityLimit(value)).toBeLessThanOrEqual(value * 2.5);
      expect(limitOf(metric("delta"), [-value])).toBe(probabilityLimit(value));
    }
    const ends = (name: MetricName, limit: number) => {
      const { low, high } = endsOf(metric(name), limit);
      return [low, high];
    };
    const note = (name: MetricName, limit: number) => endsOf(metric(name), limit).note;
    expect(ends("probability", 1)).toEqual(["0", "100\u00a0%"]);
    expect(ends("probability", 0.02)).toEqual(["0", "2\u00a0%"]);
    expect(ends("probability", 2e-7)).toEqual(["0", "2e−5\u00a0%"]);
    expect(ends("delta", 0.5)).toEqual(["−50", "+50\u00a0points"]);
    expect(ends("log_ratio", 2.5)).toEqual(["−2.5", "+2.5"]);
    expect(ends("rank", 412)).toEqual(["412", "1"]);
    expect(note("probability", 0.02)).toBe("all below 2\u00a0%");
    expect(note("delta", 0.05)).toBe("all below 5\u00a0points");
    for (const [name, limit] of [
      ["probability", 1],
      ["delta", 1],
      ["log_ratio", 0.01],
      ["rank", 10],
    ] as const)
      expect(note(name, limit)).toBeNull();
  });

  it("fit into tiles, in at most 5 characters, and show 0 for 0 only", () => {
    const tiles = (name: MetricName, values: number[]) =>
      values.map((value) => tileText(metric(name), value));
    expect(tiles("rank", [1, 87, 1266, 50256])).toEqual(["1", "87", "1.3k", "50k"]);
    expect(
      tiles("probability", [0, 1e-9, 1e-5, 4.2e-5, 0.000798, 0.00124, 0.0349, 0.942, 0.997, 1]),
    ).toEqual(["0", "<.001", "0.001", "0.004", "0.08", "0.12", "3.5", "94", ">99", "100"]);
    expect(tiles("delta", [0, 0.00009, -0.0008, 0.009, 0.938, -0.9999])).toEqual([
      ...["0", "≈0", "−0.08", "+0.9", "+94", "−100"],
    ]);
    expect(tiles("kl", [0, 0.0004, 0.0512, 7.94, 123.4])).toEqual([
      ...["0", "<.001", "0.051", "7.9", "123"],
    ]);
    expect(tiles("logit_difference", [-12.34, 0.004, 0.666])).toEqual(["−12", "≈0", "+0.67"]);
    for (let exponent = -12; exponent <= 0; exponent += 0.01)
      for (const name of ["probability", "delta", "kl"] as const) {
        const shown = tileText(metric(name), 10 ** exponent);
        expect(shown.length, shown).toBeLessThanOrEqual(5);
        expect(shown).not.toBe("0");
      }
  });

  it("are read with their unit", () => {
    const read = (name: MetricName, value: number) => valueText(metric(name), value);
    expect(read("probability", 0.942)).toBe("94\u00a0%");
    expect(read("delta", -0.009)).toBe("−0.9\u00a0points");
    expect(read("kl", 2.3456)).toBe("2.35\u00a0nats");
    expect(read("log_ratio", 7.0719)).toBe("+7.07\u00a0nats");
    expect(read("rank", 50256)).toBe("50256");
    const change = (name: MetricName, value: number) => changeText(metric(name), value);
    expect(change("probability", -0.936)).toBe("−94\u00a0points");
    expect(change("kl", 0.6423)).toBe("+0.642\u00a0nats");
    expect(change("rank", -1265)).toBe("−1265");
  });

  it("colour the first rank most, the last least", () => {
    expect([1, 10, 100].map((rank) => partOf(rank, 100, "order"))).toEqual([1, 0.5, 0]);
    expect(partOf(-2, 1, "difference")).toBe(-1);
    expect(partOf(0.3, 0, "amount")).toBe(0);
  });
});

describe("numbers", () => {
  it("have a sign, and say when they are too small for one", () => {
    expect([7.3914, -0.0049, 0.0004, -1e-9, 0].map(signed)).toEqual([
      ...["+7.39", "−0.0049", "≈\u00a00", "≈\u00a00", "0"],
    ]);
  });

  it("have every digit where they are copied", () => {
    expect(full(0.0007981043808048975)).toBe("0.0007981043808048975");
  });

  it("of milliseconds are short", () => {
    expect([3.21, 38.2, 1234].map(milliseconds)).toEqual(["3.2 ms", "38 ms", "1.23 s"]);
  });

  it("of ranks say which way they moved", () => {
    expect([rankMove(4, 1), rankMove(1, 4), rankMove(2, 2)]).toEqual(["▲ 4 → 1", "▼ 1 → 4", "= 2"]);
  });
});
