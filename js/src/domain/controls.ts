// What controls of a map change, beside what the map changes: the arithmetic of `vene_widgets/tables/placebo.py`.
import type { Cell, MetricInfo, Placebo, Reading, Map as Sweep, Target } from "../kernel/wire";
import { type Aim, readingOf } from "./metrics";

/** One control over the cells of a map, in their order. */
export interface Control {
  name: string;
  draws: number;
  /** The ends of its changes from its own base run. */
  least: number[];
  most: number[];
  /** What its tile shows: the draw that changes most. */
  shown: number[];
  /** Whether the map's change is no larger than the control's largest in its direction, anywhere. */
  within: boolean[];
}

/** How far beyond a range a change counts as within, as a share of the largest change. */
const ROUNDING = 1e-6;

/** Metrics that are a change from the base themselves. */
const CHANGES = ["delta", "log_ratio", "recovery"];

/** Null where the controls have run without a token that the metric speaks of. */
export function measure(
  placebo: Placebo,
  map: Sweep,
  metric: MetricInfo,
  aim: Aim,
): Control[] | null {
  const place = (role: keyof Aim) =>
    placebo.targets.indexOf(map.targets[aim[role]]?.token_id ?? Number.NaN);
  const own: Aim = { target: place("target"), other: place("other") };
  if ((metric.of_target && own.target < 0) || (metric.of_pair && own.other < 0)) return null;
  const known = new Map(map.targets.map((target) => [target.token_id, target]));
  const targets = placebo.targets.map((id) => known.get(id) as Target);
  // Both are compared with the real plain runs: what remains is the change on their scale.
  const level = (reading: Reading) => readingOf(metric, reading as Cell, own, targets);
  const change = (reading: Reading | Cell, base: Reading) => {
    const [here, there] = [level(reading as Reading), level(base)];
    return here === null || there === null ? Number.NaN : here - there;
  };
  const exact = map.cells.map((cell) => {
    const here = readingOf(metric, cell, aim, map.targets);
    return here === null ? Number.NaN : here - (level(placebo.base) ?? Number.NaN);
  });
  const slack = ROUNDING * Math.max(0, ...exact.map((one) => Math.abs(one) || 0));
  return placebo.controls.map((name) => {
    const draws = placebo.draws.filter((draw) => draw.control === name);
    const cells = exact.map((_, n) =>
      draws.map((draw) => {
        const reading = draw.cells[n] as Reading;
        const changed = change(reading, draw.base);
        const isChange = CHANGES.includes(metric.name);
        return { changed, shown: isChange ? changed : (level(reading) ?? Number.NaN) };
      }),
    );
    const least = cells.map((several) => Math.min(...several.map(({ changed }) => changed)));
    const most = cells.map((several) => Math.max(...several.map(({ changed }) => changed)));
    const low = Math.min(0, ...least.filter(Number.isFinite));
    const high = Math.max(0, ...most.filter(Number.isFinite));
    return {
      name,
      draws: draws.length,
      least,
      most,
      shown: cells.map(
        (several) =>
          several.reduce(
            (found, one) => (Math.abs(one.changed) > Math.abs(found.changed) ? one : found),
            several[0] ?? { changed: Number.NaN, shown: Number.NaN },
          ).shown,
      ),
      within: exact.map((one) => low - slack <= one && one <= high + slack),
    };
  });
}
