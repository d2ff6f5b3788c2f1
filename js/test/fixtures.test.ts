// The fixtures' builders give back what was recorded, where it was.
import { describe, expect, it } from "vitest";
import {
  ANSWERS,
  ITALY,
  makeAnswer,
  makeMap,
  makeScene,
  SPAIN,
  sceneOf,
  spainAndItaly,
} from "../dev/fixtures";
import recorded from "../dev/fixtures/spain_italy.json";
import type { Answer } from "../src/kernel/wire";

const opened = makeScene(SPAIN, { italy: ITALY }, recorded.scene.model.layers);

describe("the builders", () => {
  it("make the recorded scene and its map", () => {
    expect({ ...opened, experiment: null }).toEqual({ ...recorded.scene, experiment: null });
    expect(makeMap(opened)).toEqual(recorded.map);
    expect(spainAndItaly()).toMatchObject({ answer: recorded.answer, status: recorded.status });
    const { runs, tokens } = makeAnswer(opened);
    expect({ runs, tokens }).toEqual({
      runs: recorded.answer.runs,
      tokens: recorded.answer.tokens,
    });
  });

  it.each(Object.entries(ANSWERS))("resolve the slots: %s", (_, { experiment, slots }) => {
    expect(sceneOf(experiment, 6, 1, null).slots).toEqual(slots);
  });

  it.each(["single", "skipped", "grouped", "several"] as const)("answer: %s", (name) => {
    const { experiment, answer } = ANSWERS[name];
    const made = makeAnswer(sceneOf(experiment, 6, answer.revision, null));
    const { runs, tokens, differences, receipts, sentence, verdicts, kl } = made;
    const ids = (rows: { token_id: number }[]) => rows.map((row) => row.token_id);
    expect(ids(tokens)).toEqual(ids(answer.tokens));
    expect(ids(differences)).toEqual(ids(answer.differences));
    expect([sentence, verdicts]).toEqual([answer.sentence, answer.verdicts]);
    expect(runs.map(({ role, source_runs }) => [role, source_runs])).toEqual(
      answer.runs.map(({ role, source_runs }) => [role, source_runs]),
    );
    expect(kl ?? 0).toBeCloseTo(answer.kl ?? 0, 4);
    const numbers = (of: Pick<Answer, "tokens" | "differences">) => [
      ...of.tokens.flatMap((row) => row.probabilities),
      ...of.differences.flatMap((row) => [row.before, row.after, row.kl]),
      ...of.differences.flatMap((row) => [row.rank_before, row.rank_after]),
    ];
    const expected = numbers(answer);
    // Of one slot the numbers are those of its cell, which the sweep computed.
    numbers(made).forEach((number, i) => {
      expect(number).toBeCloseTo(expected[i] as number, 4);
    });
    expect(receipts.map(({ reason }) => reason)).toEqual(answer.receipts.map((r) => r.reason));
  });
});
