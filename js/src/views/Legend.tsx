// What the map's colours and marks mean, with the limits of the scale.
import { gradient } from "../colour";
import { precise } from "../format";
import type { Metric } from "../metrics";
import type { Target } from "../wire";

interface Props {
  metric: Metric;
  limit: number;
  target: Target | undefined;
  hasSame: boolean;
  /** Part of the map that has arrived, 0..1. */
  done: number;
}

export function Legend({ metric, limit, target, hasSame, done }: Props) {
  const low = metric.scale === "diverging" ? `−${precise(limit)}` : "0";
  const high = `${metric.scale === "diverging" ? "+" : ""}${precise(limit)}`;
  const unit = metric.unit ? ` ${metric.unit}` : "";
  return (
    <div class="vene-legend">
      <span class="vene-legend-scale" title={metric.formula}>
        <span>{low}</span>
        <span
          class="vene-legend-bar"
          style={{
            "--vene-fill-light": gradient(metric.scale, "light"),
            "--vene-fill-dark": gradient(metric.scale, "dark"),
          }}
        />
        <span>
          {high}
          {unit}
        </span>
      </span>
      {metric.needsTarget && target && (
        <span class="vene-legend-item" title="Probability of the token in the two plain runs">
          {target.label}: base {precise(Number(target.base.toPrecision(3)))}, source{" "}
          {precise(Number(target.source.toPrecision(3)))}
        </span>
      )}
      {hasSame && (
        <span class="vene-legend-item">
          <i class="vene-swatch vene-tile-same" /> same in both prompts
        </span>
      )}
      <span class="vene-legend-item">
        <i class="vene-swatch vene-swatch-chosen" /> in the experiment
      </span>
      {done < 1 && (
        <progress class="vene-progress" value={done} max={1} aria-label="Map filled">
          {Math.floor(done * 100)} %
        </progress>
      )}
    </div>
  );
}
