// The answer that the map already holds for a single slot, painted while the kernel computes its own.

import type { Answer, Candidate, Cell, RunInfo, Map as Sweep, Verdict } from "../kernel/wire";
import { type Plain, positionsOf, type Slot, sourcePositionsOf } from "./experiments";
import type { Tile } from "./geometry";
import { isHeld, isMapOf } from "./held";

/** What the result panels draw. A null number is one that a preview does not know. */
export interface Shown {
  runs: { role: RunInfo["role"]; name: string; sourceRuns: number | null }[];
  tokens: { id: number; label: string; probabilities: (number | null)[] }[];
  differences: Change[];
  verdicts: Verdict[];
  sentence: string;
}

export interface Change {
  id: number;
  label: string;
  before: number;
  after: number;
  kl: number | null;
  rankBefore: number | null;
  rankAfter: number | null;
}

export type Tables = Pick<Shown, "tokens" | "differences">;

/** The kernel's rows as the tables draw them. */
export function tables(from: Pick<Answer, "tokens" | "differences">): Tables {
  return {
    tokens: from.tokens.map(({ token_id, label, probabilities }) => ({
      id: token_id,
      label,
      probabilities,
    })),
    differences: from.differences.map((row) => ({
      id: row.token_id,
      label: row.label,
      before: row.before,
      after: row.after,
      kl: row.kl,
      rankBefore: row.rank_before,
      rankAfter: row.rank_after,
    })),
  };
}

export function fromAnswer(answer: Answer): Shown {
  return {
    runs: answer.runs.map(({ role, name, source_runs }) => ({
      role,
      name,
      sourceRuns: source_runs,
    })),
    ...tables(answer),
    verdicts: answer.verdicts,
    sentence: answer.sentence,
  };
}

/** Operators of a map that read no source. */
const NO_SOURCE = ["zero", "mean", "noise"];

/** Equal for maps, and requests for maps, of one sweep of the same prompts. */
export function keyOfMap(map: {
  component: string;
  head?: Sweep["head"] | undefined;
  layer?: number | null | undefined;
  position?: number | null | undefined;
  source?: string | null | undefined;
  intervention?: string | undefined;
}): string {
  const { component, head, layer, position, source, intervention } = map;
  return JSON.stringify([component, head, layer, position, source, intervention]);
}

/** Whether what came for a map is of this one. */
export function isOfMap(
  got: (Parameters<typeof keyOfMap>[0] & { revision: number }) | null,
  map: Sweep | null,
): boolean {
  return got?.revision === map?.revision && !!got && !!map && keyOfMap(got) === keyOfMap(map);
}

/** What the rows and the columns of a map are. */
export interface AxisNames {
  rows: "layer" | "head";
  columns: "position" | "head";
}

export function axesOf(map: Pick<Sweep, "head" | "layer"> | null): AxisNames {
  if (map?.head !== "all") return { rows: "layer", columns: "position" };
  return map.layer === null
    ? { rows: "layer", columns: "head" }
    : { rows: "head", columns: "position" };
}

/** The tile of a map that a cell, or one position of a slot, is in; -1 for the head of none. */
export function tileOf(
  of: { layer: number; head?: number | null; position: number },
  { rows, columns }: AxisNames,
): Tile {
  const at = { ...of, head: of.head ?? -1 };
  return { row: at[rows], column: at[columns] };
}

/**
 * The tile that holds this experiment's answer: one live slot, at one position, of the map's sweep,
 * beside the slots that the map holds.
 */
export function cellOf(experiment: Plain, map: Sweep | null): Cell | null {
  const moved = experiment.slots.filter((slot) => !slot.skip && !slot.hold);
  const [slot] = moved;
  if (!map || moved.length !== 1 || !slot || !isOf(slot, map) || !isMapOf(map, experiment))
    return null;
  // In each tile the held slots come first: at one site, the order counts.
  const later = experiment.slots.slice(experiment.slots.indexOf(slot) + 1);
  if (later.some((other) => isHeld(other) && other.layer === slot.layer)) return null;
  // In a chain a slot may act on another source's run, which no tile is about.
  if (experiment.mode === "serial" && experiment.sources.length > 1) return null;
  const [position, ...more] = positionsOf(slot);
  if (more.length > 0) return null;
  const [from] = sourcePositionsOf(slot);
  const n = map.cells.findIndex(
    (cell) => cell.layer === slot.layer && cell.head === slot.head && cell.position === position,
  );
  const found = map.cells[n];
  const reads = !["zero", "noise"].includes(slot.intervention);
  if (!found || (reads && found.source_position !== from)) return null;
  if (map.held.length === 0) return found;
  // A tile is compared with the run of the held slots alone, an answer with the plain base.
  return { ...found, idle: null, kl: null, sentence: map.sentences[n] ?? found.sentence };
}

/** Whether a slot does what the map does in each tile: its operator, in full, on its component. */
function isOf(slot: Slot, map: Sweep): boolean {
  const { intervention: name } = map;
  return (
    slot.intervention === name &&
    slot.strength === 1 &&
    slot.subspace === null &&
    slot.source_layer === null &&
    slot.vector === null &&
    slot.component === map.component &&
    (NO_SOURCE.includes(name) || slot.source === map.source) &&
    (name !== "noise" || (slot.scale === 1 && slot.seed === 0)) &&
    (name !== "mean" || JSON.stringify(slot.prompts) === JSON.stringify(map.prompts))
  );
}

/** Base and sources from the last exact answer of the same prompts (else from the map's targets). */
export function fromCell(cell: Cell, map: Sweep, last: Answer | null): Shown {
  const base = known(map, last, "base", "base");
  const swapped = cell.idle === null ? changed(cell, map) : unchanged(base, cell);
  const sources = (last?.runs ?? []).filter((run) => run.role === "source").map((run) => run.name);
  if (map.source !== null && !sources.includes(map.source)) sources.push(map.source);
  const columns = [base, ...sources.map((name) => known(map, last, "source", name)), swapped];

  const labels = new Map<number, string>();
  // The rows that the exact answer will have: each run's likeliest tokens.
  for (const role of ["plain", "source"] as const) {
    const likeliest = [...map.targets].sort((a, b) => b[role] - a[role]).slice(0, cell.top.length);
    for (const { token_id, label } of likeliest) labels.set(token_id, label);
  }
  for (const { token_id, label } of last?.tokens ?? []) labels.set(token_id, label);
  for (const { token_id, label } of cell.top) labels.set(token_id, label);
  return {
    runs: [
      { role: "base", name: "base", sourceRuns: null },
      ...sources.map((name) => ({ role: "source" as const, name, sourceRuns: null })),
      { role: "intervened", name: "intervened", sourceRuns: null },
    ],
    ...tablesOf(labels, columns, base, swapped),
    verdicts: [],
    sentence: cell.sentence,
  };
}

/** What a tile's run is known to give. */
function changed(cell: Cell, map: Sweep): Known {
  const ps = probabilities(cell.top);
  map.targets.forEach((target, i) => {
    const p = cell.probabilities[i];
    if (p !== undefined) ps.set(target.token_id, p);
  });
  return { ps, ranks: ranks(cell.top) };
}

/**
 * An idle tile's run is the base's: what is known of either is known of both, so that differences
 * are zero and not the rounding of two batches. Completes `base` by the tile's numbers.
 */
export function unchanged(base: Known, cell: Cell): Known {
  for (const { token_id, probability, rank } of cell.top) {
    if (!base.ps.has(token_id)) base.ps.set(token_id, probability);
    if (!base.ranks.has(token_id)) base.ranks.set(token_id, rank);
  }
  return base;
}

export interface Known {
  ps: Map<number, number>;
  ranks: Map<number, number>;
}

/** Tables of what is known: tokens in every column, and those known on both sides of a change. */
export function tablesOf(
  labels: Map<number, string>,
  columns: Known[],
  base: Known,
  other: Known,
): Tables {
  const tokens = [...labels].map(([id, label]) => ({
    id,
    label,
    probabilities: columns.map(({ ps }) => ps.get(id) ?? null),
  }));
  const most = (row: { probabilities: (number | null)[] }) =>
    Math.max(...row.probabilities.map((p) => p ?? 0));

  const differences: Change[] = [];
  for (const [id, label] of labels) {
    const [before, after] = [base.ps.get(id), other.ps.get(id)];
    if (before === undefined || after === undefined) continue;
    differences.push({
      id,
      label,
      before,
      after,
      kl: after > 0 && before > 0 ? after * Math.log(after / before) : 0,
      rankBefore: base.ranks.get(id) ?? null,
      rankAfter: other.ranks.get(id) ?? null,
    });
  }
  return {
    tokens: tokens.sort((a, b) => most(b) - most(a) || a.id - b.id),
    differences: differences.sort(byChange),
  };
}

/**
 * The order of `frames.difference_frame`: largest change first, equal ones by id, tokens without a
 * change by probability.
 */
function byChange(a: Change, b: Change): number {
  const [one, other] = [a, b].map(({ before, after }) => Math.abs(after - before)) as [
    number,
    number,
  ];
  return other - one || (one === 0 ? b.before - a.before : 0) || a.id - b.id;
}

/** What is known of a plain run: all that the last answer showed of it, at least the map's targets. */
function known(map: Sweep, last: Answer | null, role: "base" | "source", name: string): Known {
  const isSwept = role === "base" || name === map.source;
  const ps = new Map(
    isSwept
      ? map.targets.map((target) => [target.token_id, target[role === "base" ? "plain" : role]])
      : [],
  );
  const column = last?.runs.findIndex((run) => run.role === role && run.name === name) ?? -1;
  for (const row of last?.tokens ?? []) {
    const p = row.probabilities[column];
    if (p !== undefined) ps.set(row.token_id, p);
  }
  return { ps, ranks: ranks(last?.runs[column]?.top ?? []) };
}

export function probabilities(top: Candidate[]): Map<number, number> {
  return new Map(top.map((candidate) => [candidate.token_id, candidate.probability]));
}

export function ranks(top: Candidate[]): Map<number, number> {
  return new Map(top.map((candidate) => [candidate.token_id, candidate.rank]));
}
