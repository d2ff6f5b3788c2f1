// The arithmetic of the map's metrics. What they are called and mean, Python's registry says.

import type { Cell, MetricInfo, Target } from "../kernel/wire";
import { inPercent, points, short, shortSigned, signed, three, wholeChange } from "./format";

export type MetricName = MetricInfo["name"];

/** Which of the map's targets a metric speaks of: the indices of the token t and of the second, u. */
export interface Aim {
  target: number;
  other: number;
}

/** Least probability told apart from 0 when a logarithm is taken. */
const TINY = Number.MIN_VALUE;

const ln = (p: number) => Math.log(Math.max(p, TINY));

/** Smaller differences between the plain runs have no recovery. */
const LEAST = 1e-6;

type Formula = (cell: Cell, aim: Aim, targets: Target[]) => number | null | undefined;

const p = (cell: Cell, index: number) => cell.probabilities[index] ?? Number.NaN;

const FORMULAS: Record<MetricName, Formula> = {
  probability: (cell, { target }) => p(cell, target),
  delta: (cell, { target }, targets) => p(cell, target) - (targets[target]?.base ?? Number.NaN),
  log_ratio: (cell, { target }, targets) =>
    ln(p(cell, target)) - ln(targets[target]?.base ?? Number.NaN),
  logit_difference: (cell, { target, other }) => ln(p(cell, target)) - ln(p(cell, other)),
  recovery: (cell, { target, other }, targets) => {
    const odds = (plain: "base" | "source") =>
      ln(targets[target]?.[plain] ?? Number.NaN) - ln(targets[other]?.[plain] ?? Number.NaN);
    const [base, whole] = [odds("base"), odds("source") - odds("base")];
    return Math.abs(whole) < LEAST
      ? null
      : (ln(p(cell, target)) - ln(p(cell, other)) - base) / whole;
  },
  kl: (cell) => cell.kl,
  kl_source: (cell) => cell.kl_source,
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
  return value == null || Number.isNaN(value) ? null : value;
}

/** A metric's value in the plain run of base or source; null where the map does not hold it. */
export function plainReading(
  metric: MetricInfo,
  run: "base" | "source",
  aim: Aim,
  targets: Target[],
): number | null {
  const plain = { probabilities: targets.map((target) => target[run]), ranks: [] as number[] };
  return readingOf(metric, plain as unknown as Cell, aim, targets);
}

/** A title or formula with the tokens' labels in place of t and u. */
export function spell(text: string, t = "token", u = "token"): string {
  return text.replace(/\b[tu]\b/g, (letter) => (letter === "t" ? t : u));
}

const NO_BREAK = "\u00a0";

/** Whether values are probabilities, or differences of them: shown in percent and in points. */
const isProbability = (metric: MetricInfo) => metric.high === 1;

/** A value as a tile has room for it, in at most 5 characters; probabilities in percent. */
export function tileText(metric: MetricInfo, value: number): string {
  if (metric.scale === "order")
    return value < 1000 ? String(value) : `${(value / 1000).toFixed(value < 9950 ? 1 : 0)}k`;
  const shown = isProbability(metric) ? 100 * value : value;
  if (metric.scale === "difference") return shortSigned(shown);
  if (metric.scale === "share") return share(value);
  return isProbability(metric) && shown >= 99.5 && shown < 100 ? ">99" : short(shown);
}

/** A share to two decimals. */
function share(value: number): string {
  return String(Math.round(100 * value) / 100 + 0).replace("-", "−");
}

/** A value with its unit: `94 %`, `+12 points`, `2.3 nats`, `4` for a rank. */
export function valueText(metric: MetricInfo, value: number): string {
  if (metric.scale === "order") return String(value);
  const isDifference = metric.scale === "difference";
  if (isProbability(metric))
    return isDifference ? `${points(value)}${NO_BREAK}points` : inPercent(value);
  return withUnit(metric, isDifference ? signed(value) : three(value));
}

/** A difference of two values with its unit: of probabilities in points, of ranks whole. */
export function changeText(metric: MetricInfo, change: number): string {
  if (isProbability(metric)) return `${points(change)}${NO_BREAK}points`;
  return metric.scale === "order" ? wholeChange(change) : withUnit(metric, signed(change));
}

function withUnit(metric: MetricInfo, text: string): string {
  return metric.unit ? `${text}${NO_BREAK}${metric.unit}` : text;
}

/** Magnitudes up to this one count as 0 when a scale's end is chosen. */
const TINIEST = 1e-12;

/** The far end of a metric's scale: at least the largest magnitude, and a round number. */
export function limitOf(metric: MetricInfo, values: number[]): number {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (metric.scale === "order") return Math.max(10, largest);
  if (metric.scale === "share") return 1;
  if (isProbability(metric)) return probabilityLimit(largest);
  return largest > TINIEST ? roundUp(largest) : 1;
}

/**
 * What stands at the two ends of the colour bar: `0` and `100 %`, `−2` and `+2 points`. A note says
 * so where the scale has followed small probabilities: `all below 2 %`.
 */
export function endsOf(
  metric: MetricInfo,
  limit: number,
): { low: string; high: string; note: string | null } {
  if (metric.scale === "order") return { low: String(limit), high: "1", note: null };
  const isDifference = metric.scale === "difference";
  let far = three(isProbability(metric) ? 100 * limit : limit);
  const low = isDifference ? `−${far}` : "0";
  if (isProbability(metric)) far += `${NO_BREAK}${isDifference ? "points" : "%"}`;
  return {
    low,
    high: isDifference ? `+${far}` : far,
    note: isProbability(metric) && limit < 1 ? `all below ${far}` : null,
  };
}

/** Where a scale of probabilities ends: at 1, or if all are below 0.1, at 1, 2 or 5 × 10ⁿ. */
export function probabilityLimit(largest: number): number {
  if (largest >= 0.1 || largest <= TINIEST) return 1;
  return nextStep(largest, [1, 2, 5, 10]);
}

/** The next multiple of half the leading digit's unit: 0.35 for 0.31, 1.5 for 1.1, 8 for 7.9. */
export function roundUp(value: number): number {
  const steps = Array.from({ length: 19 }, (_, n) => 1 + n / 2);
  return nextStep(value, steps);
}

/** The least of `steps` × 10ⁿ that is not below a value; tolerant of its last digits. */
function nextStep(value: number, steps: number[]): number {
  const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
  const found = steps.find((step) => step >= value / power - 1e-9) ?? 10;
  return Number((found * power).toPrecision(6));
}
