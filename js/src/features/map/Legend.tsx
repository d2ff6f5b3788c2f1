// What the map's colours and marks mean: formula, unit, the limits of the scale.
import { gradient, placeOf } from "../../domain/colour";
import { endsOf, spell, tileText } from "../../domain/metrics";
import type { MetricInfo, Target } from "../../kernel/wire";

interface Props {
  metric: MetricInfo;
  limit: number;
  target: Target | undefined;
  other: Target | undefined;
  /** The metric in the plain runs; null where there is none, or it is not known. */
  base: number | null;
  source: number | null;
  hasIdle: boolean;
  /** Whether base and source predict the same. */
  isSame: boolean;
  /** Part of the map that has arrived, 0..1. */
  done: number;
  /** Why its cells take full forward passes. */
  slow: string | null;
  /** Whether it says the metric, as there are no menus that do. */
  isNamed: boolean;
  /** Whether it is of an older state of the model. */
  isOld: boolean;
  /** What is shown in place of the map, or why it is not. */
  control: string | null;
  /** What that is for. */
  about: string | null | undefined;
  /** How many effects an estimate beside the map misses; null without one. */
  missed: number | null;
  /** Part of the controls that has run; null if none are running. */
  share: number | null;
  /** Whether tiles that controls explain are marked. */
  hasWithin: boolean;
  /** `with 1 slot held`; empty without. */
  held: string;
  /** Whether tiles are marked where a lens reads another token than in the base. */
  differs: boolean;
  /** What a lens is doing, or why there is none. */
  reading: string | null;
}

export function Legend({
  metric,
  limit,
  target,
  other,
  base,
  source,
  hasIdle,
  isSame,
  done,
  slow,
  isNamed,
  isOld,
  control,
  about,
  missed,
  share,
  hasWithin,
  held,
  differs,
  reading,
}: Props) {
  const { note } = endsOf(metric, limit);
  const ofSource = source === null ? "" : `, source ${tileText(metric, source)}`;
  const plainRuns =
    !control && metric.of_target && base !== null && ` ${tileText(metric, base)}${ofSource}`;
  return (
    <div class="vene-legend">
      <ScaleBar
        metric={metric}
        limit={limit}
        target={target}
        other={other}
        isNamed={isNamed}
        base={base}
        source={source}
      />
      {share !== null && <progress class="vene-progress" value={share} aria-label="Controls run" />}
      {control && (
        <strong class="vene-legend-item vene-legend-control" title={`${control}. ${about ?? ""}`}>
          {control}
        </strong>
      )}
      {missed !== null && (
        <span
          class="vene-legend-item vene-legend-missed"
          title="Effects of at least a quarter of the largest one, of which the estimate has less than half"
        >
          {missed > 0 && <i class="vene-swatch vene-tile-missed" />}
          {`${missed || "no"} false negative${missed === 1 ? "" : "s"}`}
        </span>
      )}
      {hasWithin && (
        <span
          class="vene-legend-item"
          title="Within the range of the controls: no larger than what a control does anywhere in its map"
        >
          <i class="vene-swatch vene-data-explained" /> a control explains it
        </span>
      )}
      {(isSame || note) && (
        <span class="vene-legend-item vene-legend-note">
          {isSame ? "Both prompts give the same prediction here." : note}
        </span>
      )}
      {held && (
        <span
          class="vene-legend-item"
          title="Every tile has the held slots in place, and is compared with the run of these alone"
        >
          <i class="vene-held-mark" /> {held}
        </span>
      )}
      {plainRuns && (
        <span
          class="vene-legend-item"
          title={`In the plain run${held ? " with the held slots alone, and in that of the source" : "s of both prompts"}`}
        >
          {held ? "held alone" : "base"}
          {plainRuns}
        </span>
      )}
      {!control && hasIdle && (
        <span class="vene-legend-item">
          <i class="vene-swatch vene-tile-idle" /> no effect possible
        </span>
      )}
      {differs && (
        <span class="vene-legend-item">
          <i class="vene-swatch vene-tile-differs" /> another token than base
        </span>
      )}
      {done < 1 && (
        <progress class="vene-progress" value={done} max={1} aria-label="Map filled">
          {Math.floor(done * 100)} %
        </progress>
      )}
      {[
        reading,
        isOld && "From before the model changed; being computed again.",
        slow && `Slow, by full forward passes: ${slow}.`,
      ].map(
        (said) =>
          said && (
            <span key={said} class="vene-legend-item vene-legend-slow" title={said}>
              {said}
            </span>
          ),
      )}
    </div>
  );
}

type ScaleProps = Pick<Props, "metric" | "limit"> &
  Partial<Pick<Props, "target" | "other" | "isNamed" | "base" | "source">>;

/** The colours with the two ends of the scale; the plain runs are marks on it. */
export function ScaleBar(props: ScaleProps) {
  const { metric, limit, target, other, isNamed, base, source } = props;
  const { low, high } = endsOf(metric, limit);
  return (
    <span
      class="vene-legend-item"
      title={`${spell(metric.formula, target?.label, other?.label)}\n${metric.about}`}
    >
      <span class="vene-legend-scale">
        {isNamed && <span>{spell(metric.title, target?.label, other?.label)}</span>}
        <span>{low}</span>
        <span
          class="vene-legend-bar"
          style={{
            "--vene-fill-light": gradient(metric.scale, "light"),
            "--vene-fill-dark": gradient(metric.scale, "dark"),
          }}
        >
          {[base, source].map(
            (plain, n) =>
              plain != null && (
                <i
                  key={n === 0 ? "base" : "source"}
                  class="vene-legend-mark"
                  style={{ left: `${100 * placeOf(plain, limit, metric.scale)}%` }}
                />
              ),
          )}
        </span>
        <span>{metric.scale === "order" ? metric.unit : `${high} ${metric.unit}`}</span>
      </span>
    </span>
  );
}
