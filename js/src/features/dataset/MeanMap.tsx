// Layers × places: the mean of each tile, its interval, and whether a control explains it.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { partOf, tileColours } from "../../domain/colour";
import { full } from "../../domain/format";
import { move, type Tile, tileSize } from "../../domain/geometry";
import type { DataSet, DataTile, MetricInfo } from "../../kernel/wire";
import { onResize } from "../../ui/onResize";
import { ScaleBar } from "../map/Legend";
import { asTile, find, spotUnder } from "../map/spots";
import { inTile, inWords, plainRuns } from "./numbers";
import { createDataSet } from "./state";

export function MeanMap({ app, set }: { app: App; set: DataSet }) {
  const data = app.use(createDataSet);
  const frame = useRef<HTMLDivElement>(null);
  const grid = useRef<HTMLDivElement>(null);
  const width = useSignal(600);
  const focus = useSignal<Tile | null>(null);
  useEffect(
    () =>
      onResize(frame.current, ([entry]) => {
        if (entry) width.value = Math.round(entry.contentRect.width);
      }),
    [width],
  );
  const metric = data.metric.value as MetricInfo;
  const [columns, limit] = [data.columns.value, data.limit.value];
  const places = columns.map((_, n) => n);
  const rows = set.layers;
  const size = tileSize(width.value, columns.length, rows.length, columns);
  const chosen = data.chosen.value;
  const stop = focus.value ?? chosen ?? { row: rows.at(-1) ?? 0, column: places.at(-1) ?? 0 };
  const isOwn = data.own.value !== null;
  const low = data.tileLow.value;

  return (
    <>
      <div class="vene-map-frame" ref={frame}>
        {/* biome-ignore lint/a11y/useSemanticElements: as the map of one pair */}
        <div
          ref={grid}
          class="vene-map"
          role="grid"
          aria-label={`Map of ${isOwn ? "" : "mean "}${metric.title}: layers from bottom to top, ${data.isByHead.value ? "heads" : "places"} from left to right`}
          aria-busy={data.progress.value !== null}
          data-old={set.is_old || undefined}
          style={{
            "--vene-columns": columns.length,
            "--vene-tile-min": `${size.minWidth}px`,
            "--vene-tile-height": `${size.height}px`,
          }}
          onClick={(event) => {
            const spot = asTile(spotUnder(event));
            if (spot) choose(spot);
          }}
          onPointerOver={(event) => {
            data.hover.value = asTile(spotUnder(event));
          }}
          onPointerLeave={() => {
            data.hover.value = null;
          }}
          onFocusIn={(event) => {
            focus.value = asTile(spotUnder(event));
            if ((event.target as Element).matches(":focus-visible")) data.hover.value = focus.value;
          }}
          onFocusOut={(event) => {
            if (!event.currentTarget.matches(":hover")) data.hover.value = null;
          }}
          onKeyDown={(event) => {
            const spot = asTile(spotUnder(event));
            const action = actionOf("pairs", event);
            if (!spot || !action) return;
            const next = action === "move" && asTile(move(event.key, spot, rows, places));
            if (next) find(grid.current, next)?.focus();
            else if (action === "open") choose(spot);
            consume(event);
          }}
        >
          {[...rows].reverse().map((row) => (
            // biome-ignore lint/a11y/useSemanticElements: see above
            // biome-ignore lint/a11y/useFocusableInteractive: the tiles are focusable
            <div class="vene-map-row" role="row" key={row}>
              {/* biome-ignore lint/a11y/useSemanticElements: see above */}
              {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
              <span class="vene-map-layer" role="rowheader" aria-label={`layer ${row}`}>
                <span class="vene-map-head">{row}</span>
              </span>
              {columns.map((label, column) => {
                const tile = data.at({ row, column });
                const isChosen = chosen?.row === row && chosen.column === column;
                const isStop = stop.row === row && stop.column === column;
                const value = tile?.possible ? data.shownIn(tile) : null;
                const says = tile && isOwn && value !== null ? inWords(metric, value) : tile?.words;
                return (
                  // biome-ignore lint/a11y/useSemanticElements: see above
                  <div
                    key={column}
                    class={classes(tile, value, isChosen, isOwn)}
                    role="gridcell"
                    tabIndex={isStop ? 0 : -1}
                    data-layer={row}
                    data-position={column}
                    aria-selected={isChosen}
                    aria-label={`layer ${row}, ${label}, ${says ?? "not computed yet"}`}
                    style={value === null ? undefined : tileColours(value, limit, metric.scale)}
                  >
                    {value !== null && size.hasNumbers && (
                      <span class="vene-tile-number" data-text={inTile(metric, value)} />
                    )}
                    {value !== null && !isOwn && tile?.low != null && tile.high != null && (
                      <i
                        class="vene-whisker"
                        style={{
                          "--vene-from": part(tile.low, low, limit),
                          "--vene-to": part(tile.high, low, limit),
                        }}
                      />
                    )}
                  </div>
                );
              })}
            </div>
          ))}
          {/* biome-ignore lint/a11y/useSemanticElements: see above */}
          {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
          <div class={`vene-map-row${size.turned ? " vene-map-turned" : ""}`} role="row">
            <span class="vene-map-corner" aria-hidden="true">
              layer
            </span>
            {columns.map((label) => (
              // biome-ignore lint/a11y/useSemanticElements: see above
              // biome-ignore lint/a11y/useFocusableInteractive: see above
              <span class="vene-map-token" role="columnheader" key={label} title={label}>
                <span class="vene-map-head">
                  <span class="vene-map-label">{label}</span>
                </span>
              </span>
            ))}
          </div>
        </div>
        <div class="vene-legend">
          <ScaleBar metric={metric} limit={limit} />
          <span class="vene-legend-item">{plainRuns(metric, set.base, set.source)}</span>
          <span class="vene-legend-item">
            <i class="vene-swatch vene-tile-idle" /> no effect possible
          </span>
          {!isOwn && (
            <>
              <span class="vene-legend-item">
                <i class="vene-swatch vene-data-explained" /> a control explains it
              </span>
              <span class="vene-legend-item">
                <i class="vene-data-interval" /> interval, {inTile(metric, low)} to{" "}
                {inTile(metric, limit)}
              </span>
            </>
          )}
        </div>
      </div>
      <div class="vene-map-foot">
        <Readout app={app} metric={metric} />
      </div>
    </>
  );

  function choose(spot: Tile): void {
    if (!data.at(spot)?.possible) return;
    focus.value = spot;
    data.choose(spot);
    find(grid.current, spot)?.focus({ preventScroll: true });
  }
}

/** What the tile under the pointer or the keyboard says. */
function Readout({ app, metric }: { app: App; metric: MetricInfo }) {
  const data = app.use(createDataSet);
  const spot = data.hover.value;
  const tile = data.at(spot);
  if (!spot || !tile) {
    return (
      <div class="vene-readout vene-hint">
        <p>Hover to read a tile. Click: the pairs behind it.</p>
      </div>
    );
  }
  const value = tile.possible ? data.shownIn(tile) : null;
  return (
    <div class="vene-readout">
      <p class="vene-readout-value">
        <span class="vene-readout-place">
          layer {spot.row} · <span class="vene-token">{data.columns.value[spot.column]}</span>
        </span>
        {value !== null && (
          <span class="vene-readout-number vene-number" title={full(value)}>
            {metric.title} = {inWords(metric, value)}
          </span>
        )}
      </p>
      <p class="vene-readout-sentence">{tile.words}</p>
    </div>
  );
}

function classes(
  tile: DataTile | null,
  value: number | null,
  isChosen: boolean,
  isOwn: boolean,
): string {
  const found = ["vene-tile"];
  if (tile && !tile.possible) found.push("vene-tile-idle");
  else if (value === null) found.push("vene-tile-open");
  if (tile?.explained && !isOwn) found.push("vene-data-explained");
  if (isChosen) found.push("vene-tile-chosen");
  return found.join(" ");
}

/** Where a value is between the lowest end of an interval and the scale's far end. */
function part(value: number, low: number, limit: number): number {
  return partOf(value - low, limit - low, "amount");
}
