// Layers × heads and MLPs: what each does by its path. A click makes it the receiver, Space marks it.
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { tileColours } from "../../domain/colour";
import { full, shortSigned } from "../../domain/format";
import { move, type Tile } from "../../domain/geometry";
import { type Sender, senderWords } from "../../domain/paths";
import { find, tileUnder } from "../map/spots";
import { createPaths } from "./state";

interface Props {
  app: App;
  layers: number;
  /** Called with what is pointed at, null when nothing is. */
  point(to: Sender | null): void;
}

export function PathMap({ app, layers, point }: Props) {
  const state = app.use(createPaths);
  const grid = useRef<HTMLDivElement>(null);
  const focus = useSignal<Tile | null>(null);
  const count = state.heads.value;
  // The MLP is the last column, the embedding a row of its own.
  const columns = Array.from({ length: count + 1 }, (_, n) => n);
  const rows = Array.from({ length: layers + 1 }, (_, n) => n - 1);
  const stop = focus.value ?? { row: layers - 1, column: 0 };
  const height = layers > 32 ? 14 : layers > 14 ? 18 : 24;
  const width = count > 24 ? 14 : count > 16 ? 20 : count > 9 ? 38 : 52;
  const senderOf = ({ row, column }: Tile): Sender => ({
    layer: row,
    head: row < 0 || column === count ? null : column,
  });
  const under = (event: Event) => {
    const tile = tileUnder(event);
    return tile && senderOf(tile);
  };

  function cell(row: number, column: number) {
    const sender = senderOf({ row, column });
    const value = state.at(sender);
    const isReceiver = state.isReceiver(sender);
    const isMarked = state.isMarked(sender);
    const name = senderWords(sender);
    const look = isReceiver ? " vene-tile-chosen" : value === undefined ? " vene-tile-idle" : "";
    const text = isReceiver
      ? (state.receiver.value?.part ?? "")
      : value === undefined
        ? ""
        : inTile(value, state.limit.value);
    const says = isReceiver ? "receives" : text || "no path";
    return (
      // biome-ignore lint/a11y/useSemanticElements: as the map
      <div
        key={column}
        role="gridcell"
        class={`vene-tile${look}`}
        tabIndex={stop.row === row && stop.column === column ? 0 : -1}
        data-layer={row}
        data-position={column}
        aria-selected={isReceiver}
        aria-label={`${name}, ${says}${isMarked ? ", marked" : ""}`}
        title={value === undefined ? undefined : `${name}: ${full(value)}`}
        style={
          value === undefined ? undefined : tileColours(value, state.limit.value, "difference")
        }
      >
        {width > 30 && height > 16 && <span class="vene-tile-number" data-text={text} />}
        {isMarked && <i class="vene-path-mark" />}
      </div>
    );
  }

  return (
    // biome-ignore lint/a11y/useSemanticElements: as the map
    <div
      ref={grid}
      role="grid"
      class={`vene-map${state.isOld.value ? " vene-old" : ""}`}
      aria-label="Paths: layers from bottom to top, heads and the MLP from left to right"
      style={{
        "--vene-columns": columns.length,
        "--vene-tile-min": `${width}px`,
        "--vene-tile-max": `${width}px`,
        "--vene-tile-height": `${height}px`,
      }}
      onPointerOver={(event) => point(under(event))}
      onPointerLeave={() => point(null)}
      onFocusIn={(event) => {
        focus.value = tileUnder(event);
        point(under(event));
      }}
      onClick={(event) => {
        const sender = under(event);
        if (sender) state[event.shiftKey ? "mark" : "receive"](sender);
      }}
      onKeyDown={(event) => {
        const tile = tileUnder(event);
        const action = actionOf("paths", event);
        if (!tile || !action || (action === "back" && !state.receiver.value)) return;
        if (action === "move") {
          const to = move(event.key, tile, rows, columns);
          find(grid.current, {
            row: to?.row ?? -1,
            column: to?.row === -1 ? 0 : (to?.column ?? 0),
          })?.focus();
        } else if (action === "mark") state.mark(senderOf(tile));
        else state.receive(action === "back" ? null : senderOf(tile));
        consume(event);
      }}
    >
      {rows
        .slice(1)
        .reverse()
        .map((row) => (
          // biome-ignore lint/a11y/useSemanticElements: as the map
          // biome-ignore lint/a11y/useFocusableInteractive: the tiles are focusable
          <div class="vene-map-row" role="row" key={row}>
            {/* biome-ignore lint/a11y/useSemanticElements: as the map */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
            <span class="vene-map-layer" role="rowheader" aria-label={`layer ${row}`}>
              {row}
            </span>
            {columns.map((column) => cell(row, column))}
          </div>
        ))}
      <div class="vene-map-row vene-path-heads" aria-hidden="true">
        <span class="vene-map-layer">layer</span>
        {columns.map((n) => (
          <span key={n}>{n === count ? "MLP" : width > 14 || n % 2 === 0 ? n : ""}</span>
        ))}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: as the map */}
      {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
      <div class="vene-map-row" role="row">
        <span class="vene-map-layer" aria-hidden="true">
          emb.
        </span>
        {cell(-1, 0)}
      </div>
    </div>
  );
}

/** Where all effects are small, with three decimals: `+.004`. */
function inTile(value: number, limit: number): string {
  const isSmall = limit < 0.1 && Math.abs(value) >= 5e-4;
  return isSmall
    ? value.toFixed(3).replace(/^(-?)0/, (_, minus) => (minus ? "−" : "+"))
    : shortSigned(value);
}
