// The arithmetic of the map's metrics. What they are called and mean, Python's registry says.

import type { Cell, MetricInfo, Target } from "../kernel/wire";
import { precise, short } from "./format";

export type MetricName = MetricInfo["name"];

/** Which of the map's targets a metric speaks of: the indices of the token t and of the second, u. */
export interface Aim {
  target: number;
  other: number;
}

/** Least probability told apart from 0 when a logarithm is taken. */
const TINY = 1e-30;

const ln = (p: number) => Math.log(Math.max(p, TINY));

type Formula = (cell: Cell, aim: Aim, targets: Target[]) => number | undefined;

const p = (cell: Cell, index: number) => cell.probabilities[index] ?? Number.NaN;

const FORMULAS: Record<MetricName, Formula> = {
  probability: (cell, { target }) => p(cell, target),
  delta: (cell, { target }, targets) => p(cell, target) - (targets[target]?.base ?? Number.NaN),
  log_ratio: (cell, { target }, targets) =>
    ln(p(cell, target)) - ln(targets[target]?.base ?? Number.NaN),
  logit_difference: (cell, { target, other }) => ln(p(cell, target)) - ln(p(cell, other)),
  kl: (cell) => cell.kl,
  rank: (cell, { target }) => cell.ranks[target],
};

/** A cell's value, or null where the map does not hold it. */
export function readingOf(
  metric: MetricInfo,
  cell: Cell | undefined,
  aim: Aim,
  targets: Target[],
): number | null {
  const value = cell && FORMULAS[metric.name]?.(cell, aim, targets);
  return value === undefined || Number.isNaN(value) ? null : value;
}

/** A title or formula with the tokens' labels in place of t and u. */
export function spell(text: string, t = "token", u = "token"): string {
  return text.replace(/\b[tu]\b/g, (letter) => (letter === "t" ? t : u));
}

/** A value as a tile has room for it. */
export function tileText(metric: MetricInfo, value: number): string {
  if (metric.scale !== "order") return short(value, metric.scale === "difference");
  return value < 1000 ? String(value) : `${(value / 1000).toFixed(value < 9950 ? 1 : 0)}k`;
}

/** A value with its unit where that is one: `2.3 nats`, `rank 4` needs none. */
export function withUnit(metric: MetricInfo, text: string): string {
  return metric.unit && metric.scale !== "order" ? `${text} ${metric.unit}` : text;
}

/** The far end of a metric's scale: a fixed one, or the largest magnitude rounded up. */
export function limitOf(metric: MetricInfo, values: number[]): number {
  if (metric.scale === "amount" && metric.high !== null) return metric.high;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (metric.scale === "order") return Math.max(10, largest);
  return largest > 1e-9 ? roundUp(largest) : 1;
}

/** What stands at the two ends of the colour bar. */
export function endsOf(metric: MetricInfo, limit: number): { low: string; high: string } {
  const far = precise(limit);
  if (metric.scale === "order") return { low: far, high: "1" };
  return metric.scale === "difference"
    ? { low: `−${far}`, high: `+${far}` }
    : { low: "0", high: far };
}

/** The next number of the form 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 × 10ⁿ. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  const fraction = value / power;
  const found = steps.find((candidate) => candidate >= fraction - 1e-9) ?? 10;
  return Number((found * power).toPrecision(6));
}
