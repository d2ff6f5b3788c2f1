// The rows of the answer: each token's probability in the base, in the result and in the other runs.
import type { Ghost } from "./ghost";
import { probabilityLimit } from "./metrics";
import type { Shown } from "./preview";

/** One token. Probabilities are null where a preview does not know them. */
export interface AnswerRow {
  id: number;
  label: string;
  base: number | null;
  /** In the result; null without a live slot. */
  now: number | null;
  source: number | null;
  /** Where it differs from the grouped run's. */
  ungrouped: number | null;
  rankBefore: number | null;
  rankAfter: number | null;
  /** Its part of KL(result || base), in nats. */
  kl: number | null;
}

export interface AnswerRows {
  /** The largest change first; without a live slot the likeliest token first. */
  rows: AnswerRow[];
  /** Name of the result's run; null without a live slot. */
  result: string | null;
  /** Name of the source that is shown. */
  source: string | null;
  hasUngrouped: boolean;
}

/** All rows that are known, in order. */
export function answerRows(shown: Shown, sourceName: string | null): AnswerRows {
  const find = (role: string, name?: string | null) =>
    shown.runs.findIndex((run) => run.role === role && (name == null || run.name === name));
  const base = find("base");
  const last = shown.runs.length - 1;
  const role = shown.runs[last]?.role;
  const now = role === "intervened" || role === "grouped" ? last : -1;
  const named = find("source", sourceName);
  const source = named >= 0 ? named : find("source");
  const ungrouped = find("ungrouped");
  const hasUngrouped =
    ungrouped >= 0 &&
    shown.tokens.some(({ probabilities: p }) => (p[ungrouped] ?? null) !== (p[now] ?? null));
  const rows = new Map<number, AnswerRow>();
  for (const { id, label, probabilities: p } of shown.tokens) {
    rows.set(id, {
      ...{ id, label },
      base: p[base] ?? null,
      now: now < 0 ? null : (p[now] ?? null),
      source: source < 0 ? null : (p[source] ?? null),
      ungrouped: hasUngrouped ? (p[ungrouped] ?? null) : null,
      ...{ rankBefore: null, rankAfter: null, kl: null },
    });
  }
  for (const change of now < 0 ? [] : shown.differences) {
    const known = rows.get(change.id);
    rows.set(change.id, {
      ...{ id: change.id, label: change.label },
      ...{ base: change.before, now: change.after },
      ...{ source: known?.source ?? null, ungrouped: known?.ungrouped ?? null },
      ...{ rankBefore: change.rankBefore, rankAfter: change.rankAfter, kl: change.kl },
    });
  }
  return {
    rows: [...rows.values()].sort(now < 0 ? byProbability : byChange),
    result: shown.runs[now]?.name ?? null,
    source: shown.runs[source]?.name ?? null,
    hasUngrouped,
  };
}

/** The row of a run's likeliest token; undefined where none is known. */
export function likeliest(rows: AnswerRow[], run: "base" | "now"): AnswerRow | undefined {
  return rows.reduce<AnswerRow | undefined>(
    (top, row) => ((row[run] ?? -1) > (top?.[run] ?? -1) ? row : top),
    undefined,
  );
}

/** The first rows, among them the likeliest token of the base and of the result; and the rest. */
export function split(rows: AnswerRow[], count: number): [AnswerRow[], AnswerRow[]] {
  const first = new Set<AnswerRow>();
  for (const key of ["base", "now"] as const) {
    const best = likeliest(rows, key);
    if (best) first.add(best);
  }
  for (const row of rows) if (first.size < count) first.add(row);
  return [rows.filter((row) => first.has(row)), rows.filter((row) => !first.has(row))];
}

export function changeOf(row: AnswerRow): number | null {
  return row.base === null || row.now === null ? null : row.now - row.base;
}

/** Where the probabilities' axis ends: at 1, or just above the largest when all are small. */
export function axisEnd(rows: AnswerRow[], ghost: Ghost | null): number {
  const largest = Math.max(
    0,
    ...rows.flatMap((row) => [row.base, row.now, row.source, row.ungrouped].map((p) => p ?? 0)),
    ...(ghost ? rows.map(({ id }) => ghost.ps.get(id) ?? 0) : []),
  );
  return probabilityLimit(largest);
}

/** Where the axis of changes ends, to both sides. */
export function changeEnd(rows: AnswerRow[]): number {
  return probabilityLimit(Math.max(0, ...rows.map((row) => Math.abs(changeOf(row) ?? 0))));
}

function byProbability(a: AnswerRow, b: AnswerRow): number {
  const most = (row: AnswerRow) => Math.max(row.base ?? 0, row.source ?? 0);
  return most(b) - most(a) || a.id - b.id;
}

/** As `frames.difference_frame`; tokens whose change a preview does not know come last. */
function byChange(a: AnswerRow, b: AnswerRow): number {
  const size = (row: AnswerRow) => {
    const change = changeOf(row);
    return change === null ? -1 : Math.abs(change);
  };
  const [one, other] = [size(a), size(b)];
  return other - one || (one > 0 ? 0 : (b.base ?? 0) - (a.base ?? 0)) || a.id - b.id;
}
