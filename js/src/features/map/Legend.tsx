// What the map's colours and marks mean: formula, unit, the limits of the scale.
import { gradient } from "../../domain/colour";
import { percent } from "../../domain/format";
import { endsOf, spell } from "../../domain/metrics";
import type { MetricInfo, Target } from "../../kernel/wire";

interface Props {
  metric: MetricInfo;
  limit: number;
  target: Target | undefined;
  other: Target | undefined;
  hasSource: boolean;
  hasIdle: boolean;
  /** Whether base and source predict the same. */
  isSame: boolean;
  /** Part of the map that has arrived, 0..1. */
  done: number;
  /** Why its cells take full forward passes. */
  slow: string | null;
  /** Whether it is of an older state of the model. */
  isOld: boolean;
}

export function Legend({
  metric,
  limit,
  target,
  other,
  hasSource,
  hasIdle,
  isSame,
  done,
  slow,
  isOld,
}: Props) {
  const { low, high, note } = endsOf(metric, limit);
  return (
    <div class="vene-legend">
      <span
        class="vene-legend-item"
        title={`${spell(metric.formula, target?.label, other?.label)}\n${metric.about}`}
      >
        <span class="vene-legend-scale">
          <span>{low}</span>
          <span
            class="vene-legend-bar"
            style={{
              "--vene-fill-light": gradient(metric.scale, "light"),
              "--vene-fill-dark": gradient(metric.scale, "dark"),
            }}
          />
          <span>{metric.scale === "order" ? metric.unit : `${high} ${metric.unit}`}</span>
        </span>
      </span>
      {isSame ? (
        <span class="vene-legend-item vene-legend-note">
          Both prompts give the same prediction here.
        </span>
      ) : (
        note && <span class="vene-legend-item vene-legend-note">{note}</span>
      )}
      {metric.of_target && target && (
        <span class="vene-legend-item" title="Probability of the token in the two plain runs">
          base {percent(target.base)}
          {hasSource && `, source ${percent(target.source)}`}
        </span>
      )}
      {hasIdle && (
        <span class="vene-legend-item">
          <i class="vene-swatch vene-tile-idle" /> no effect possible
        </span>
      )}
      {done < 1 && (
        <progress class="vene-progress" value={done} max={1} aria-label="Map filled">
          {Math.floor(done * 100)} %
        </progress>
      )}
      {isOld && (
        <span class="vene-legend-item vene-legend-slow">
          From before the model changed; being computed again.
        </span>
      )}
      {slow !== null && (
        <span class="vene-legend-item vene-legend-slow" title={`Full forward passes: ${slow}.`}>
          Slow, by full forward passes: {slow}.
        </span>
      )}
    </div>
  );
}
