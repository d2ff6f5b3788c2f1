// B: layer × token, one tile = one intervention. A WAI-ARIA grid: one tab stop, arrows move.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { groupsOf, isAt, type Plain, positionsOf } from "../experiments";
import { move, tileSize } from "../geometry";
import { limitOf, METRICS } from "../metrics";
import { targetOf as runOf } from "../operators";
import type { State, Tile } from "../state";
import type { Cell, Scene, Map as Sweep } from "../wire";
import { Panel } from "./controls";
import { Legend } from "./Legend";
import { MapTools } from "./MapTools";
import { Readout } from "./Readout";
import { TileView } from "./TileView";

export function MapPanel({ state }: { state: State }) {
  const scene = state.scene.value;
  const frame = useRef<HTMLDivElement>(null);
  const width = useSignal(600);
  useEffect(() => {
    const element = frame.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) width.value = Math.round(entry.contentRect.width);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [width]);
  if (!scene) return null;
  return (
    <Panel name="Map" area="map" tools={<MapTools state={state} />}>
      <div class="vene-map-frame" ref={frame}>
        <Grid state={state} scene={scene} width={width.value} />
      </div>
      <Readout state={state} />
    </Panel>
  );
}

/** The index among the targets that the map shows: the chosen one, else the source's answer. */
export function targetOf(state: State): number {
  const targets = state.map.value?.targets ?? [];
  const chosen = targets.findIndex((target) => target.token_id === state.target.value);
  return chosen >= 0 ? chosen : Math.max(0, targets.length - 1);
}

interface GridProps {
  state: State;
  scene: Scene;
  width: number;
}

function Grid({ state, scene, width }: GridProps) {
  const map = state.map.value;
  const focus = useSignal<Tile | null>(null);
  const grid = useRef<HTMLDivElement>(null);
  const metric = METRICS[state.metric.value];
  const target = targetOf(state);
  const layers = map?.layers ?? range(scene.model.layers);
  const positions = map?.positions ?? scene.base.map((token) => token.index);
  const labels = positions.map((position) => scene.base[position]?.label ?? "?");
  const size = tileSize(width, positions.length, layers.length, labels);
  const cells = byPlace(map);
  const values = (map?.cells ?? []).map((cell) => metric.value(cell, target, map?.targets ?? []));
  const limit = limitOf(metric, values);
  const experiment = state.experiment.value;
  const groups = experiment ? groupsOf(experiment) : [];
  const slots = slotsByPlace(experiment, state);
  const stop = reachable(focus.value, layers, positions, state);
  const sourceTokens = scene.sources[state.sweep.value.source ?? ""];

  const tileUnder = (event: Event): Tile | null => {
    const element = (event.target as Element).closest<HTMLElement>("[role=gridcell]");
    if (!element) return null;
    return { layer: Number(element.dataset.layer), position: Number(element.dataset.position) };
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const at = tileUnder(event);
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = move(event.key, at, layers, positions);
    if (next) {
      focus.value = next;
      grid.current?.querySelector<HTMLElement>(selector(next))?.focus();
    } else if (event.key === "Enter") state.applyTile(at, event.shiftKey ? "add" : "replace");
    else if (event.key === " ") state.toggleSkip(state.slotsAt(at));
    else if (event.key.toLowerCase() === "l") state.linkAt(at);
    else if (/^[1-9]$/.test(event.key)) state.pickSubspace(at, Number(event.key));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <>
      {/* biome-ignore lint/a11y/useSemanticElements: a table of buttons would be hundreds of tab stops */}
      <div
        ref={grid}
        class={`vene-map${map ? "" : " vene-map-empty"}`}
        role="grid"
        aria-label={`Map of ${metric.of(map?.targets[target]?.label ?? "token")}: layers from bottom to top, base tokens from left to right`}
        aria-busy={map === null || map.done < map.total}
        style={{
          "--vene-columns": positions.length,
          "--vene-tile-min": `${size.minWidth}px`,
          "--vene-tile-height": `${size.height}px`,
        }}
        onClick={(event) => {
          const at = tileUnder(event);
          if (!at) return;
          focus.value = at;
          grid.current?.querySelector<HTMLElement>(selector(at))?.focus({ preventScroll: true });
          state.applyTile(at, event.altKey ? "new group" : event.shiftKey ? "add" : "replace");
        }}
        onMouseDown={(event) => {
          // Shift-click would otherwise select the page's text.
          if (event.shiftKey) event.preventDefault();
        }}
        onPointerOver={(event) => {
          state.hover.value = tileUnder(event);
        }}
        onPointerLeave={() => {
          state.hover.value = null;
        }}
        onFocusIn={(event) => {
          const at = tileUnder(event);
          focus.value = at;
          if ((event.target as Element).matches(":focus-visible")) state.hover.value = at;
        }}
        onFocusOut={() => {
          state.hover.value = null;
        }}
        onKeyDown={onKeyDown}
      >
        {[...layers].reverse().map((layer) => (
          // biome-ignore lint/a11y/useSemanticElements: see above
          // biome-ignore lint/a11y/useFocusableInteractive: the tiles are focusable
          <div class="vene-map-row" role="row" key={layer}>
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: only tiles do something */}
            <span class="vene-map-layer" role="rowheader">
              {layer}
            </span>
            {positions.map((position, column) => {
              const cell = cells.get(key(layer, position));
              const isSame = map !== null && position < map.first_difference;
              const chosen = slots.get(key(layer, position)) ?? [];
              const first = experiment?.slots[chosen[0] ?? -1];
              return (
                <TileView
                  key={position}
                  layer={layer}
                  position={position}
                  label={labels[column] ?? ""}
                  cell={cell}
                  isSame={isSame}
                  value={cell ? metric.value(cell, target, map?.targets ?? []) : null}
                  metric={metric}
                  target={map?.targets[target]}
                  limit={limit}
                  hasNumber={size.hasNumbers}
                  isStop={stop.layer === layer && stop.position === position}
                  isChosen={chosen.length > 0}
                  isSkipped={chosen.length > 0 && chosen.every((i) => experiment?.slots[i]?.skip)}
                  mark={first?.group ?? null}
                  colour={first?.group ? groups.indexOf(first.group) % 6 : -1}
                />
              );
            })}
          </div>
        ))}
        {/* biome-ignore lint/a11y/useSemanticElements: see above */}
        {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
        <div
          class={`vene-map-row vene-map-axis${size.turned ? " vene-map-turned" : ""}`}
          role="row"
        >
          <span class="vene-map-corner" aria-hidden="true">
            layer
          </span>
          {positions.map((position, column) => {
            const from = sourceTokens?.[map?.source_positions[column] ?? position];
            const differs = from !== undefined && from.id !== scene.base[position]?.id;
            return (
              // biome-ignore lint/a11y/useSemanticElements: see above
              // biome-ignore lint/a11y/useFocusableInteractive: see above
              <span
                class="vene-map-token"
                role="columnheader"
                key={position}
                title={`position ${position}: ${labels[column]}${differs ? ` ⟵ ${from.label}` : ""}`}
              >
                <span class="vene-map-label">{labels[column]}</span>
                <span class="vene-map-position">{position}</span>
                {differs && !size.turned && <span class="vene-map-from">⟵ {from.label}</span>}
              </span>
            );
          })}
        </div>
      </div>
      <Legend
        metric={metric}
        limit={limit}
        target={map?.targets[target]}
        hasSame={(map?.first_difference ?? 0) > 0}
        done={map ? map.done / Math.max(1, map.total) : sourceTokens ? 0 : 1}
      />
    </>
  );
}

/** The one tile that Tab reaches: the focused, else the experiment's first, else the top right. */
function reachable(focus: Tile | null, layers: number[], positions: number[], state: State): Tile {
  const fits = (tile: Tile | null | undefined): tile is Tile =>
    !!tile && layers.includes(tile.layer) && positions.includes(tile.position);
  if (fits(focus)) return focus;
  const slot = state.experiment.value?.slots[0];
  const first = slot && {
    layer: slot.layer,
    position: Array.isArray(slot.position) ? (slot.position[0] ?? 0) : slot.position,
  };
  if (fits(first)) return first;
  return { layer: layers.at(-1) ?? 0, position: positions.at(-1) ?? 0 };
}

function byPlace(map: Sweep | null): Map<string, Cell> {
  return new Map((map?.cells ?? []).map((cell) => [key(cell.layer, cell.position), cell]));
}

/** Indices of the slots that act at each tile of the sweep. */
function slotsByPlace(experiment: Plain | null, state: State): Map<string, number[]> {
  const sweep = state.sweep.value;
  const found = new Map<string, number[]>();
  experiment?.slots.forEach((slot, index) => {
    if (runOf(experiment, slot, state.kinds.value) !== null) return;
    for (const position of positionsOf(slot)) {
      if (!isAt(slot, { ...sweep, layer: slot.layer, position })) continue;
      const at = key(slot.layer, position);
      found.set(at, [...(found.get(at) ?? []), index]);
    }
  });
  return found;
}

function key(layer: number, position: number): string {
  return `${layer} ${position}`;
}

function selector({ layer, position }: Tile): string {
  return `[data-layer="${layer}"][data-position="${position}"]`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
