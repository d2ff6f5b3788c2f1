// One tile of the map: its colour, its number, its ring, and all of it in words for screen readers.
import { Component } from "preact";
import { tileColours } from "../../domain/colour";
import type { Tile } from "../../domain/geometry";
import { tileText, valueText } from "../../domain/metrics";
import type { AxisNames } from "../../domain/preview";
import type { Cell, MetricInfo } from "../../kernel/wire";

export interface TileProps extends Tile {
  /** What rows and columns are. */
  axis: AxisNames["rows"];
  across: AxisNames["columns"];
  label: string;
  cell: Cell | undefined;
  isIdle: boolean;
  value: number | null;
  metric: MetricInfo;
  /** The metric's title with the tokens in it. */
  title: string;
  limit: number;
  hasNumber: boolean;
  isStop: boolean;
  isChosen: boolean;
  isSkipped: boolean;
  /** The held slots that act here; null without. */
  held: string | null;
  isPainted: boolean;
  /** Whether a value that is not there is one that lecture mode covers. */
  isCovered: boolean;
  /** Which pins it is under: `row`, `column`, `cell`, in this order. */
  pins: string;
  mark: string | null;
  /** Why the number is not that of the slot here; null where it is. */
  note: string | null;
  /** The best token that a lens reads here, the same in words, and whether the base's is another. */
  word: string | null;
  words: string | null;
  differs: boolean;
  /** In how many specifications of how many its effect had the same sign: "46 of 48". */
  agreed: string | null;
  /** What gradients predict in place of its value; null where that is not shown. */
  estimate: number | null;
  /** Whether its effect is large and the estimate misses it. */
  isMissed: boolean;
  /** Whether a control of the map explains its value. */
  isWithin: boolean;
  colour: number;
}

/** Drawn anew only when one of its own values changed: there may be more than a thousand tiles. */
export class TileView extends Component<TileProps> {
  override shouldComponentUpdate(next: TileProps): boolean {
    for (const name in next)
      if (next[name as keyof TileProps] !== this.props[name as keyof TileProps]) return true;
    return false;
  }

  override render(props: TileProps) {
    return drawTile(props);
  }
}

/** Why a hatched tile is empty, before its cell has arrived to say it more exactly. */
const AGREE = "Base and source are identical up to here, so patching has no effect.";

function drawTile(props: TileProps) {
  const { axis, across, row, column, label, cell, isIdle, value, metric, limit } = props;
  const where = across === "head" ? `head ${column}` : `position ${column} ${label}`;
  const head = axis === "head" ? row : across === "head" ? column : undefined;
  const reason = cell?.sentence ?? AGREE;
  // Its logits were NaN or infinite: there is nothing to read of it, whatever the metric.
  const isBroken = cell?.top.length === 0 && !isIdle && !props.isCovered;
  const reading =
    isIdle || isBroken
      ? reason
      : value === null
        ? props.isCovered
          ? "covered"
          : "not computed yet"
        : (props.words ?? `${props.title} ${valueText(metric, value)}`);
  const note = props.note ? ` (${props.note})` : "";
  const chosen = props.isChosen
    ? `, in the experiment${props.isSkipped ? ", skipped" : ""}${note}`
    : "";
  const group = props.mark === null ? "" : `, group ${props.mark}`;
  const held = props.held ? `, ${props.held} held here` : "";
  const agreed = props.agreed ? `, same sign in ${props.agreed}` : "";
  const hasEstimate = props.estimate !== null && value !== null && !isIdle;
  const estimate = hasEstimate
    ? `, estimated ${valueText(metric, props.estimate as number)}${props.isMissed ? ", missed by the estimate" : ""}`
    : "";
  const within = props.isWithin && !isIdle ? ", within the range of the controls" : "";
  const pinned = props.pins.endsWith("cell") ? ", pinned" : "";
  const classes = [
    "vene-tile",
    isIdle && "vene-tile-idle",
    props.differs && "vene-tile-differs",
    value === null && "vene-tile-open",
    hasEstimate && props.isMissed && "vene-tile-missed",
    within && "vene-data-explained",
    props.isChosen && "vene-tile-chosen",
    props.isSkipped && "vene-tile-skipped",
    props.isPainted && "vene-tile-painted",
  ];
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the grid
    <div
      class={classes.filter(Boolean).join(" ")}
      role="gridcell"
      tabIndex={props.isStop ? 0 : -1}
      data-layer={row}
      data-head={head}
      data-position={column}
      data-colour={props.colour < 0 ? undefined : props.colour}
      data-pins={props.pins || undefined}
      aria-selected={props.isChosen}
      aria-label={`${axis} ${row}, ${where}, ${reading}${estimate}${within}${agreed}${chosen}${held}${group}${pinned}`}
      title={props.words ?? props.note ?? (isIdle || isBroken ? reason : undefined)}
      style={value === null || isIdle ? undefined : tileColours(value, limit, metric.scale)}
    >
      {props.hasNumber && !isIdle && (value !== null || isBroken) && (
        <span
          class={`vene-tile-number${props.word === null ? "" : " vene-tile-word"}`}
          data-text={value === null ? "NaN" : (props.word ?? tileText(metric, value))}
        />
      )}
      {hasEstimate && (
        <span
          class="vene-tile-estimate"
          data-text={props.hasNumber ? tileText(metric, props.estimate as number) : ""}
          style={tileColours(props.estimate as number, limit, metric.scale)}
        />
      )}
      {props.agreed && (
        <span class="vene-tile-agreed" data-text={props.agreed.replace(" of ", "/")} />
      )}
      {props.held && <i class="vene-held-mark" />}
      {props.mark !== null && <span class="vene-tile-mark" data-text={props.mark} />}
    </div>
  );
}
