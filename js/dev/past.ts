// Histories and comparisons of the fixtures' answers, as the kernel would write them.
import type { Answer, Contrast, Past, PastEntry, Scene, Verdict } from "../src/kernel/wire";
import { CONTRASTS } from "./fixtures";

type Side = { title: string; experiment: Scene["experiment"] };

/** What the kernel does with an answer: a new experiment is one more entry, a known one stays. */
export function addPast(past: Past | null, scene: Scene, answer: Answer): Past {
  const entries = [...(past?.entries ?? [])];
  const key = JSON.stringify(scene.experiment);
  const there = entries.find((entry) => JSON.stringify(entry.experiment) === key);
  if (there) return { entries, current: there.number };
  const top =
    answer.runs[scene.slots.some((slot) => !slot.skip) ? answer.runs.length - 1 : 0]?.top[0];
  const entry: PastEntry = {
    number: (entries.at(-1)?.number ?? -1) + 1,
    name: null,
    experiment: scene.experiment,
    sentence: answer.sentence,
    tokens: scene.base.length,
    revision: answer.revision,
    token_id: top?.token_id ?? 0,
    label: top?.label ?? "",
    probability: top?.probability ?? 0,
  };
  return { entries: [...entries, entry], current: entry.number };
}

/** Two answers' last columns against each other, as if they were the sides. */
export function makeContrast(
  request: string,
  left: Side & { answer: Answer },
  right: Side & { answer: Answer },
): Contrast {
  const p = (side: Side & { answer: Answer }, id: number) => {
    const isLive = (side.experiment.slots ?? []).some((slot) => !slot.skip);
    const row = side.answer.tokens.find((token) => token.token_id === id);
    return row?.probabilities[isLive ? side.answer.runs.length - 1 : 0] ?? 1e-5;
  };
  const tokens = new Map(
    [...left.answer.tokens, ...right.answer.tokens].map((row) => [row.token_id, row.label]),
  );
  const rows = [...tokens].map(([token_id, label]) => ({
    token_id,
    label,
    before: p(left, token_id),
    after: p(right, token_id),
  }));
  const ranked = (which: "before" | "after") =>
    rows.toSorted((a, b) => b[which] - a[which]).map((row) => row.token_id);
  const [before, after] = [ranked("before"), ranked("after")];
  const isSame = rows.every((row) => row.before === row.after);
  const differences = rows
    .map((row) => ({
      ...row,
      kl: row.after * Math.log(row.after / row.before),
      rank_before: 1 + before.indexOf(row.token_id),
      rank_after: 1 + after.indexOf(row.token_id),
    }))
    .sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before))
    .slice(0, 10);
  return {
    request,
    left: left.title,
    right: right.title,
    milliseconds: CONTRASTS.different.milliseconds,
    kl: differences.reduce((sum, row) => sum + row.kl, 0),
    tokens: rows
      .map((row) => ({ ...row, probabilities: [row.before, row.after] }))
      .map(({ token_id, label, probabilities }) => ({ token_id, label, probabilities }))
      .sort((a, b) => Math.max(...b.probabilities) - Math.max(...a.probabilities)),
    differences,
    verdict: {
      ...(CONTRASTS[isSame ? "equal" : "different"].verdict as Verdict),
      left: left.title,
      right: right.title,
    },
    error: null,
  };
}
