// One tile of the map: its colour, its number, its ring, and all of it in words for screen readers.
import { Component } from "preact";
import { tileColours } from "../colour";
import { precise, short } from "../format";
import type { Metric } from "../metrics";
import type { Tile } from "../state";
import type { Cell, Target } from "../wire";

export interface TileProps extends Tile {
  label: string;
  cell: Cell | undefined;
  isSame: boolean;
  value: number | null;
  metric: Metric;
  target: Target | undefined;
  limit: number;
  hasNumber: boolean;
  isStop: boolean;
  isChosen: boolean;
  isSkipped: boolean;
  mark: string | null;
  colour: number;
}

/** Drawn anew only when one of its own values changed: there may be more than a thousand tiles. */
export class TileView extends Component<TileProps> {
  override shouldComponentUpdate(next: TileProps): boolean {
    return (Object.keys(next) as (keyof TileProps)[]).some(
      (name) => next[name] !== this.props[name],
    );
  }

  override render(props: TileProps) {
    return drawTile(props);
  }
}

function drawTile(props: TileProps) {
  const { layer, position, label, cell, isSame, value, metric, target, limit } = props;
  const what = metric.of(target?.label ?? "token");
  const reading = isSame
    ? "nothing can change here"
    : value === null
      ? "not computed yet"
      : `${what} ${precise(value)}`;
  const chosen = props.isChosen ? `, in the experiment${props.isSkipped ? ", skipped" : ""}` : "";
  const group = props.mark === null ? "" : `, group ${props.mark}`;
  const reason = cell?.sentence ?? "Base and source agree up to here, so copying changes nothing.";
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the grid
    <div
      class={`vene-tile${isSame ? " vene-tile-same" : ""}${value === null ? " vene-tile-open" : ""}${
        props.isChosen ? " vene-tile-chosen" : ""
      }${props.isSkipped ? " vene-tile-skipped" : ""}`}
      role="gridcell"
      tabIndex={props.isStop ? 0 : -1}
      data-layer={layer}
      data-position={position}
      data-colour={props.colour < 0 ? undefined : props.colour}
      aria-selected={props.isChosen}
      aria-label={`layer ${layer}, position ${position} ${label}, ${reading}${chosen}${group}`}
      title={isSame ? reason : undefined}
      style={value === null || isSame ? undefined : tileColours(value, limit, metric.scale)}
    >
      {props.hasNumber && value !== null && !isSame && (
        <span class="vene-tile-number">{short(value, metric.scale === "diverging")}</span>
      )}
      {props.mark !== null && <span class="vene-tile-mark">{props.mark}</span>}
    </div>
  );
}
