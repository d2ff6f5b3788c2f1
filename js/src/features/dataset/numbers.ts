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

/** A value with its unit. */
export function inWords(metric: MetricInfo, value: number): string {
  return isRecovery(metric) ? three(value) : valueText(metric, value);
}
