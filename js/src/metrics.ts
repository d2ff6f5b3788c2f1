// What the map can show: each metric with its name, formula, unit and range.
import type { Cell, Target } from "./wire";

export type MetricName = "p" | "dp" | "dlogp" | "kl";

export interface Metric {
  name: MetricName;
  /** What the menu says. */
  title: string;
  /** What a value is called: the title with the token's label in it. */
  of(label: string): string;
  formula: string;
  unit: string;
  /** Differences are coloured symmetrically about 0, amounts from 0 upwards. */
  scale: "sequential" | "diverging";
  needsTarget: boolean;
  /** A fixed upper limit, or null when it follows the data. */
  limit: number | null;
  value(cell: Cell, target: number, targets: Target[]): number;
}

/** Least probability told apart from 0 when a logarithm is taken. */
const TINY = 1e-30;

export const METRICS: Record<MetricName, Metric> = {
  p: {
    name: "p",
    title: "P(token)",
    of: (label) => `P(${label})`,
    formula: "P(t) after the swap",
    unit: "",
    scale: "sequential",
    needsTarget: true,
    limit: 1,
    value: (cell, target) => cell.probabilities[target] ?? 0,
  },
  dp: {
    name: "dp",
    title: "ΔP vs base",
    of: (label) => `ΔP(${label}) vs base`,
    formula: "P(t) after − P(t) in the base run",
    unit: "",
    scale: "diverging",
    needsTarget: true,
    limit: null,
    value: (cell, target, targets) =>
      (cell.probabilities[target] ?? 0) - (targets[target]?.base ?? 0),
  },
  dlogp: {
    name: "dlogp",
    title: "Δ log P vs base",
    of: (label) => `Δ log P(${label}) vs base`,
    formula: "ln P(t) after − ln P(t) in the base run",
    unit: "nats",
    scale: "diverging",
    needsTarget: true,
    limit: null,
    value: (cell, target, targets) =>
      Math.log(Math.max(cell.probabilities[target] ?? 0, TINY)) -
      Math.log(Math.max(targets[target]?.base ?? 0, TINY)),
  },
  kl: {
    name: "kl",
    title: "KL(swap ‖ base)",
    of: () => "KL(swap ‖ base)",
    formula: "Σ P after · ln(P after / P base), over the vocabulary",
    unit: "nats",
    scale: "sequential",
    needsTarget: false,
    limit: null,
    value: (cell) => cell.kl,
  },
};

/** Upper limit of a metric's colour scale: its fixed one, or the largest magnitude rounded up. */
export function limitOf(metric: Metric, values: number[]): number {
  if (metric.limit !== null) return metric.limit;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largest > 1e-9 ? roundUp(largest) : 1;
}

/** The next number of the form 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 × 10ⁿ. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  const fraction = value / power;
  const found = steps.find((candidate) => candidate >= fraction - 1e-9) ?? 10;
  return Number((found * power).toPrecision(6));
}
