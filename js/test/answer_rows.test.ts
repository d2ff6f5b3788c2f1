// Rows of the answer: their order, what they hold, and the axes that fit them.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  type AnswerRow,
  answerRows,
  axisEnd,
  changeEnd,
  changeOf,
  split,
} from "../src/domain/answer_rows";
import type { Ghost } from "../src/domain/ghost";
import type { Change, Shown } from "../src/domain/preview";

type Role = Shown["runs"][number]["role"];

/** An answer by its columns: role, name, and the probabilities of tokens 0, 1, 2, … */
function shownOf(columns: [Role, string, (number | null)[]][], differences: Change[] = []): Shown {
  const count = columns[0]?.[2].length ?? 0;
  return {
    runs: columns.map(([role, name]) => ({ role, name, sourceRuns: null })),
    // Backwards, so that the order of the message is not the one that is seen.
    tokens: Array.from({ length: count }, (_, id) => ({
      ...{ id, label: `t${id}` },
      probabilities: columns.map(([, , ps]) => ps[id] ?? null),
    })).reverse(),
    differences,
    verdicts: [],
    sentence: "",
  };
}

const ids = (rows: AnswerRow[]) => rows.map(({ id }) => id);
const rowsOf = (before: (number | null)[], after: (number | null)[]) =>
  answerRows(
    shownOf([
      ["base", "base", before],
      ["intervened", "intervened", after],
    ]),
    null,
  ).rows;

describe("the order of rows", () => {
  const cases: {
    name: string;
    input: { before: number[]; after: number[] };
    expected: number[];
  }[] = JSON.parse(readFileSync("../tests/cases/differences.json", "utf8"));
  it.each(cases)("with a result is Python’s: $name", ({ input, expected }) => {
    expect(ids(rowsOf(input.before, input.after))).toEqual(expected);
  });

  it("has tokens last whose change is not known, behind those without any", () => {
    const rows = rowsOf([0.3, null, 0.2, 0.4, 0.1, null], [0.3, 0.5, 0.1, null, null, null]);
    expect(ids(rows)).toEqual([2, 0, 3, 4, 1, 5]);
    expect(rows.map(changeOf)).toEqual([-0.1, 0, null, null, null, null]);
    expect(rows[4]).toMatchObject({ base: null, now: 0.5 });
  });

  it("without a result has the likeliest first, in the base or in the source; equal ones by id", () => {
    const { rows, result, source } = answerRows(
      shownOf([
        ["base", "base", [0.1, 0.6, 0.2, 0.05, 0.1]],
        ["source", "italy", [0.1, 0.1, 0.2, 0.7, 0.05]],
      ]),
      "italy",
    );
    expect(ids(rows)).toEqual([3, 1, 2, 0, 4]);
    expect([result, source]).toEqual([null, "italy"]);
    expect(rows.map(({ now }) => now)).toEqual(rows.map(() => null));
  });
});

describe("a row", () => {
  const four = (grouped: number[], ungrouped: number[]): Shown =>
    shownOf([
      ["base", "base", [0.9, 0.1]],
      ["source", "italy", [0.2, 0.8]],
      ["source", "peru", [0.3, 0.7]],
      ["ungrouped", "ungrouped", ungrouped],
      ["grouped", "grouped", grouped],
    ]);

  it("has the base, the result and one source: the one asked for, else the first", () => {
    const shown = four([0.4, 0.6], [0.4, 0.6]);
    const peru = answerRows(shown, "peru");
    expect(peru.rows[0]).toMatchObject({ id: 0, base: 0.9, now: 0.4, source: 0.3 });
    expect([peru.result, peru.source]).toEqual(["grouped", "peru"]);
    for (const name of ["gone", null])
      expect(answerRows(shown, name)).toMatchObject({
        source: "italy",
        rows: [{ source: 0.2 }, {}],
      });
  });

  it("has ungrouped only where it differs, be it in one token by one bit", () => {
    const equal = answerRows(four([0.4, 0.6], [0.4, 0.6]), null);
    expect([equal.hasUngrouped, equal.rows.map(({ ungrouped }) => ungrouped)]).toEqual([
      ...[false, [null, null]],
    ]);
    const off = 0.6 + Number.EPSILON / 2;
    expect(off).not.toBe(0.6);
    const other = answerRows(four([0.4, 0.6], [0.4, off]), null);
    expect([other.hasUngrouped, other.rows.map(({ ungrouped }) => ungrouped)]).toEqual([
      ...[true, [0.4, off]],
    ]);
  });

  it("takes rank and part of the KL divergence from the differences, and tokens only they have", () => {
    const change = (id: number, before: number, after: number): Change => ({
      ...{ id, label: `d${id}`, before, after, kl: 0.25, rankBefore: 7, rankAfter: 3 },
    });
    const shown = shownOf(
      [
        ["base", "base", [0.5, 0.1]],
        ["source", "italy", [0.2, 0.3]],
        ["intervened", "intervened", [0.4, 0.1]],
      ],
      [change(0, 0.5, 0.4), change(9, 0.01, 0.03)],
    );
    const { rows } = answerRows(shown, null);
    expect(ids(rows)).toEqual([0, 9, 1]);
    expect(rows[0]).toMatchObject({ source: 0.2, rankBefore: 7, rankAfter: 3, kl: 0.25 });
    expect(rows[1]).toMatchObject({ label: "d9", base: 0.01, now: 0.03, source: null });
    expect(rows[2]).toMatchObject({ rankBefore: null, kl: null });
  });

  it("without a run of the base has no change", () => {
    const shown = shownOf([["intervened", "intervened", [0.4]]]);
    expect(answerRows(shown, null).rows).toMatchObject([{ base: null, now: 0.4, source: null }]);
  });
});

describe("the rows that are seen", () => {
  const row = (id: number, base: number, now: number): AnswerRow => ({
    ...{ id, label: `t${id}`, base, now, source: null, ungrouped: null },
    ...{ rankBefore: null, rankAfter: null, kl: null },
  });
  /** In the order of their changes. */
  const many = [
    ...[row(0, 0.01, 0.09), row(1, 0.02, 0.09), row(2, 0.08, 0.02), row(3, 0.01, 0.06)],
    ...[row(4, 0.06, 0.02), row(5, 0.2, 0.18), row(6, 0.19, 0.19), row(7, 0.01, 0.01)],
  ];

  it("are the first, in order, and all others are the rest", () => {
    const few = many.slice(0, 5);
    expect(split(few, 6)).toEqual([few, []]);
    const likely = [row(8, 0.9, 0.05), row(9, 0.01, 0.8), ...many];
    expect(split(likely, 6)).toEqual([likely.slice(0, 6), likely.slice(6)]);
  });

  it("always have the likeliest token of the base and that of the result, in their order", () => {
    // 5, the base’s, is the last of six; 6, the result’s, must not push it out.
    expect(split(many, 6).map(ids)).toEqual([
      [0, 1, 2, 3, 5, 6],
      [4, 7],
    ]);
    // Neither is among the first four.
    expect(split(many, 4).map(ids)).toEqual([
      [0, 1, 5, 6],
      [2, 3, 4, 7],
    ]);
    // One token is the likeliest of both.
    const same = [...many.slice(0, 5), row(5, 0.9, 0.9), row(6, 0.01, 0.01)];
    expect(split(same, 3).map(ids)).toEqual([
      [0, 1, 5],
      [2, 3, 4, 6],
    ]);
  });

  it("know nothing of what a preview does not know", () => {
    const rows = rowsOf([0.2, null, 0.1], [0.1, 0.7, null]);
    expect(split(rows, 2).map(ids)).toEqual([[0, 1], [2]]);
    const unknown = rowsOf([0.4, 0.5, 0.3, null, null], [0.1, 0.3, 0.2, null, null]);
    expect(split(unknown, 2).map(ids)).toEqual([
      [0, 1],
      [2, 3, 4],
    ]);
    expect(split([], 6)).toEqual([[], []]);
  });
});

describe("the axis of probabilities", () => {
  const one = (base: number | null, now: number | null, more: Partial<AnswerRow> = {}) => [
    { ...(rowsOf([base], [now])[0] as AnswerRow), ...more },
  ];

  it("ends at certainty, or just above the largest when all are small", () => {
    expect(axisEnd(one(0.94, 0.01), null)).toBe(1);
    expect(axisEnd(one(0.1, 0.01), null)).toBe(1);
    for (const largest of [0.099, 0.05, 0.0123, 3e-4, 2.1e-6]) {
      for (const rows of [one(largest, 0), one(0, largest), one(null, largest)]) {
        const end = axisEnd(rows, null);
        expect(end).toBeGreaterThanOrEqual(largest);
        expect(end).toBeLessThanOrEqual(2.5 * largest); // from 2 to 5 is the longest step
      }
    }
    expect(axisEnd(one(0, 0), null)).toBe(1);
    expect(axisEnd([], null)).toBe(1);
  });

  it("reaches the source, the ungrouped run and the tile under the pointer as well", () => {
    const small = one(0.01, 0.02);
    expect(axisEnd(one(0.01, 0.02, { source: 0.8 }), null)).toBe(1);
    expect(axisEnd(one(0.01, 0.02, { ungrouped: 0.8 }), null)).toBe(1);
    const ghost = (id: number): Ghost => ({
      ...{ layer: 0, position: 0, top: [], ps: new Map([[id, 0.8]]) },
    });
    expect(axisEnd(small, ghost(0))).toBe(1);
    expect(axisEnd(small, ghost(7))).toBe(axisEnd(small, null)); // no row has that token
  });
});

describe("the axis of changes", () => {
  it("follows the largest change to either side, and passes over what is not known", () => {
    expect(changeEnd(rowsOf([0.9, 0.1], [0.2, 0.8]))).toBe(1);
    const up = changeEnd(rowsOf([0.5, 0.5], [0.53, 0.5]));
    expect(changeEnd(rowsOf([0.53, 0.5], [0.5, 0.5]))).toBe(up);
    expect(up).toBeGreaterThanOrEqual(0.03);
    expect(up).toBeLessThan(0.06);
    expect(changeEnd(rowsOf([0.5, null], [0.53, 0.9]))).toBe(up);
    expect(changeEnd(rowsOf([0.4], [0.4]))).toBe(1);
    expect(changeEnd([])).toBe(1);
  });
});
