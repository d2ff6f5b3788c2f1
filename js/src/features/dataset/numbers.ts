// Numbers of a data set: as those of the map, but a recovery has no sign, being no difference.
import { three } from "../../domain/format";
import { tileText, valueText } from "../../domain/metrics";
import type { MetricInfo } from "../../kernel/wire";

const isRecovery = ({ name }: MetricInfo) => (name as string) === "recovery";

/** A value as a tile has room for it. */
export function inTile(metric: MetricInfo, value: number): string {
  const text = tileText(metric, value);
  return isRecovery(metric) ? text.replace("+", "") : text;
}

/** A value of the list, whose numbers stand one below the other. */
export function inList(metric: MetricInfo, value: number): string {
  return isRecovery(metric) ? value.toFixed(3).replace("-", "−") : valueText(metric, value);
}

/** What the legend says of the plain runs. */
export function plainRuns(metric: MetricInfo, base: number, source: number | null): string {
  if (isRecovery(metric)) return "0 = base, 1 = source";
  return `base ${inTile(metric, base)}${source === null ? "" : `, source ${inTile(metric, source)}`}`;
}

/** A value with its unit. */
export function inWords(metric: MetricInfo, value: number): string {
  return isRecovery(metric) ? three(value) : valueText(metric, value);
}
