// Layer × token, one tile = one intervention. A WAI-ARIA grid: one tab stop, arrows move.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { actionOf } from "../../app/keys";
import { groupsOf, isAt, type Plain, positionsOf } from "../../domain/experiments";
import { move, type Spot, tileSize } from "../../domain/geometry";
import { limitOf, readingOf, spell } from "../../domain/metrics";
import { targetOf as runOf } from "../../domain/operators";
import type { MetricInfo, Scene } from "../../kernel/wire";
import { createLecture } from "../lecture/state";
import { createSlots } from "../slots/state";
import { createGestures } from "./gestures";
import { Legend } from "./Legend";
import { createMap } from "./state";
import type { Tile } from "./sweep";
import { createSweep } from "./sweep";
import { TileView } from "./TileView";

interface Props {
  app: App;
  scene: Scene;
  metric: MetricInfo;
  width: number;
}

export function MapGrid({ app, scene, metric, width }: Props) {
  const lens = app.use(createMap);
  const map = app.use(createMap).map.value;
  const focus = useSignal<Spot | null>(null);
  const grid = useRef<HTMLDivElement>(null);
  const drag = useDrag(app);
  const aim = lens.aim.value;
  const targets = lens.targets.value;
  const [target, other] = [targets[aim.target], targets[aim.other]];
  const { layers, positions: all } = lens.axes.value;
  const folded = lens.folded.value;
  const positions = all.slice(folded.length);
  const labels = positions.map((position) => scene.base[position]?.label ?? "?");
  const isLecture = app.use(createLecture).isOn.value;
  const size = tileSize(width, positions.length, layers.length, labels, folded.length > 0);
  /** On a wall, words are read across. */
  const isTurned = size.turned && !isLecture;
  /** The target may be what is asked for. */
  const isHidden = app.use(createLecture).isCovered.value;
  const values = (map?.cells ?? []).map((cell) => readingOf(metric, cell, aim, targets) ?? 0);
  const limit = limitOf(metric, values);
  const title = spell(metric.title, target?.label, other?.label);
  const experiment = app.use(createExperiment).now.value;
  const groups = experiment ? groupsOf(experiment) : [];
  const slots = slotsByPlace(experiment, app);
  const stop = reachable(focus.value, layers, positions, app);
  const isStop = (spot: Spot) => stop.layer === spot.layer && stop.position === spot.position;
  const sourceTokens = scene.sources[app.use(createSweep).choice.value.source ?? ""];
  const stroke = new Set(lens.strokeTiles.value.map(({ layer, position }) => key(layer, position)));
  const { pins } = lens;
  const hasIdle =
    (map?.first_difference ?? 0) > 0 || (map?.cells ?? []).some((cell) => cell.idle !== null);

  // The button that was pressed is gone then: the focus goes to the one that undoes it.
  const isToggled = useRef(false);
  const toggleFold = () => {
    isToggled.current = true;
    lens.toggleFold();
  };
  useLayoutEffect(() => {
    if (!isToggled.current) return;
    isToggled.current = false;
    grid.current?.querySelector<HTMLElement>(".vene-map-fold, .vene-map-unfold")?.focus();
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const spot = spotUnder(event);
    const action = actionOf("map", event);
    if (!spot || action === null) return;
    const at = asTile(spot);
    const next = move(event.key, spot, layers, positions);
    const isPainting = lens.brush.stroke.peek() !== null;
    if (next) {
      const reached = asTile(next);
      if (action === "move") lens.brush.drop();
      else if (at && reached) lens.brush.extend(at, reached);
      focus.value = next;
      find(grid.current, next)?.focus();
    } else if (action === "pin") pins.toggle(spot);
    else if (action === "drop" && isPainting) lens.brush.drop();
    else if (!at || action === "drop") return;
    else if ((action === "apply" || action === "add") && isPainting) drag.finish();
    else if (action === "apply") app.use(createGestures).apply(at, "replace");
    else if (action === "add") app.use(createGestures).apply(at, "add");
    else if (action === "skip") app.use(createSlots).toggleSkip(app.use(createSweep).slotsAt(at));
    else if (action === "link") app.use(createGestures).link(at);
    else if (action === "subspace") app.use(createGestures).pickSubspace(at, Number(event.key));
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
        aria-label={`Map${isHidden ? "" : ` of ${title}`}: layers from bottom to top, base tokens from left to right`}
        aria-busy={map === null || map.done < map.total || app.use(createSweep).isOld.value}
        data-old={app.use(createSweep).isOld.value || undefined}
        data-folded={folded.length > 0 || undefined}
        style={{
          "--vene-columns": positions.length,
          "--vene-rows": layers.length,
          "--vene-tile-min": `${size.minWidth}px`,
          "--vene-tile-height": `${size.height}px`,
        }}
        onClick={(event) => {
          const at = tileUnder(event);
          if (!at || lens.brush.hasDropped()) return;
          focus.value = at;
          find(grid.current, at)?.focus({ preventScroll: true });
          app.use(createGestures).apply(at, gestureOf(event));
        }}
        onMouseDown={(event) => {
          // Shift-click would otherwise select the page's text.
          if (event.shiftKey) event.preventDefault();
        }}
        onPointerDown={(event) => {
          const at = tileUnder(event);
          if (at && event.isPrimary !== false && event.button === 0) drag.begin(at, event);
        }}
        onPointerOver={(event) => {
          const at = tileUnder(event);
          app.use(createMap).hover.value = at;
          if (at) lens.brush.reach(at);
        }}
        onPointerLeave={(event) => {
          // A finger that is lifted leaves what it touched to be read.
          if (event.pointerType !== "touch") app.use(createMap).hover.value = null;
        }}
        onFocusIn={(event) => {
          focus.value = spotUnder(event);
          if ((event.target as Element).matches(":focus-visible"))
            app.use(createMap).hover.value = tileUnder(event);
        }}
        onFocusOut={(event) => {
          // A click moves the focus as well: what the pointer is on stays to be read.
          if (!event.currentTarget.matches(":hover")) app.use(createMap).hover.value = null;
        }}
        onKeyDown={onKeyDown}
      >
        {[...layers].reverse().map((layer) => (
          // biome-ignore lint/a11y/useSemanticElements: see above
          // biome-ignore lint/a11y/useFocusableInteractive: the tiles are focusable
          <div class="vene-map-row" role="row" key={layer}>
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: its button is focusable */}
            <span class="vene-map-layer" role="rowheader">
              <button
                type="button"
                class="vene-map-head"
                tabIndex={isStop({ layer, position: null }) ? 0 : -1}
                data-layer={layer}
                aria-pressed={pins.has({ layer, position: null })}
                aria-label={`Pin layer ${layer}`}
                title={`layer ${layer}; click: pin this row`}
                onClick={() => pins.toggle({ layer, position: null })}
              >
                {layer}
              </button>
            </span>
            {folded.length > 0 && (
              // biome-ignore lint/a11y/useSemanticElements: see above
              // biome-ignore lint/a11y/useFocusableInteractive: nothing can be done there
              <span
                class="vene-fold vene-tile-idle"
                role="gridcell"
                aria-label={`layer ${layer}, ${foldWords(folded)}`}
              />
            )}
            {positions.map((position, column) => {
              const tile = { layer, position };
              const cell = lens.cellAt(tile);
              const chosen = slots.get(key(layer, position)) ?? [];
              const first = experiment?.slots[chosen[0] ?? -1];
              return (
                <TileView
                  key={position}
                  layer={layer}
                  position={position}
                  label={labels[column] ?? ""}
                  cell={cell}
                  isIdle={lens.isIdle(tile)}
                  value={readingOf(metric, cell, aim, targets)}
                  metric={metric}
                  title={title}
                  limit={limit}
                  hasNumber={isLecture ? layers.length <= 16 : size.hasNumbers}
                  isStop={isStop(tile)}
                  isChosen={chosen.length > 0}
                  isSkipped={chosen.length > 0 && chosen.every((i) => experiment?.slots[i]?.skip)}
                  isPainted={stroke.has(key(layer, position))}
                  isCovered={!app.use(createLecture).isMapOpen.value}
                  pins={pinsAt(tile, pins.has)}
                  mark={first?.group ?? null}
                  colour={first?.group ? groups.indexOf(first.group) % 6 : -1}
                />
              );
            })}
          </div>
        ))}
        {/* biome-ignore lint/a11y/useSemanticElements: see above */}
        {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
        <div class={`vene-map-row vene-map-axis${isTurned ? " vene-map-turned" : ""}`} role="row">
          <span class="vene-map-corner">
            {lens.canFold.value ? (
              <button
                type="button"
                class="vene-map-head vene-map-unfold"
                aria-label="Fold the tokens that both prompts share"
                title="Fold the tokens that both prompts share"
                onClick={toggleFold}
              >
                fold
              </button>
            ) : (
              <span aria-hidden="true">layer</span>
            )}
          </span>
          {folded.length > 0 && (
            // biome-ignore lint/a11y/useSemanticElements: see above
            // biome-ignore lint/a11y/useFocusableInteractive: see above
            <span class="vene-map-token" role="columnheader">
              <button
                type="button"
                class="vene-map-head vene-map-fold"
                aria-label={`Show ${foldWords(folded)}`}
                title={`${folded.map((position) => scene.base[position]?.label).join(" ")}: ${foldWords(folded)}; click: show them`}
                onClick={toggleFold}
              >
                {isLecture
                  ? folded
                      .map((position) => scene.base[position]?.text)
                      .join("")
                      .trim()
                  : `${folded.length} in common`}
              </button>
            </span>
          )}
          {positions.map((position, column) => {
            const from = sourceTokens?.[map?.source_positions[column + folded.length] ?? position];
            const differs = from !== undefined && from.id !== scene.base[position]?.id;
            const name = `position ${position}: ${labels[column]}${differs ? ` ⟵ ${from.label}` : ""}`;
            return (
              // biome-ignore lint/a11y/useSemanticElements: see above
              // biome-ignore lint/a11y/useFocusableInteractive: see above
              <span class="vene-map-token" role="columnheader" key={position}>
                <button
                  type="button"
                  class="vene-map-head"
                  tabIndex={isStop({ layer: null, position }) ? 0 : -1}
                  data-position={position}
                  aria-pressed={pins.has({ layer: null, position })}
                  aria-label={`Pin column ${labels[column]} ${position}${differs ? ` ⟵ ${from.label}` : ""}`}
                  title={`${name}; click: pin this column`}
                  onClick={() => pins.toggle({ layer: null, position })}
                >
                  <span class="vene-map-label">{labels[column]}</span>{" "}
                  <span class="vene-map-position">{position}</span>{" "}
                  {differs && !isTurned && <span class="vene-map-from">⟵ {from.label}</span>}
                </button>
              </span>
            );
          })}
        </div>
      </div>
      <Legend
        metric={metric}
        limit={limit}
        target={isHidden ? undefined : target}
        other={isHidden ? undefined : other}
        hasIdle={hasIdle}
        done={map ? map.done / Math.max(1, map.total) : sourceTokens ? 0 : 1}
        slow={map?.slow ?? null}
        isOld={app.use(createSweep).isOld.value}
      />
    </>
  );
}

/** Listeners of the whole window while a button is held on the map; they go with the view. */
function useDrag(app: App) {
  const { brush, strokeTiles } = app.use(createMap);
  const held = useRef<AbortController | null>(null);
  useLayoutEffect(
    () => () => {
      held.current?.abort();
      brush.drop();
    },
    [brush],
  );
  const finish = () => {
    held.current?.abort();
    const tiles = strokeTiles.peek();
    const done = brush.finish();
    if (done) app.use(createGestures).paint(tiles, done.gesture);
  };
  const drop = () => {
    held.current?.abort();
    brush.drop();
  };
  const begin = (at: Tile, event: PointerEvent) => {
    held.current?.abort();
    held.current = new AbortController();
    const { signal } = held.current;
    // A finger would go on pointing at the tile where it came down.
    const element = event.target as Element;
    if (element.hasPointerCapture?.(event.pointerId)) {
      element.releasePointerCapture(event.pointerId);
    }
    brush.press(at, gestureOf(event));
    window.addEventListener("pointerup", finish, { signal });
    window.addEventListener("pointercancel", drop, { signal });
    const onKey = (key: KeyboardEvent) => {
      if (key.key !== "Escape" || !brush.stroke.peek()) return;
      key.preventDefault();
      key.stopPropagation();
      drop();
    };
    window.addEventListener("keydown", onKey, { capture: true, signal });
  };
  return { begin, finish };
}

/** The tokens that one column stands for, in words. */
function foldWords(folded: number[]): string {
  return `the first ${folded.length} tokens, which both prompts share: no effect possible`;
}

function gestureOf(event: MouseEvent) {
  return event.altKey ? "new group" : event.shiftKey ? "add" : "replace";
}

/** The tile or header that an event is about. */
function spotUnder(event: Event): Spot | null {
  const element = (event.target as Element).closest<HTMLElement>("[data-layer], [data-position]");
  if (!element) return null;
  const { layer, position } = element.dataset;
  return {
    layer: layer === undefined ? null : Number(layer),
    position: position === undefined ? null : Number(position),
  };
}

function tileUnder(event: Event): Tile | null {
  return asTile(spotUnder(event));
}

function asTile(spot: Spot | null): Tile | null {
  if (!spot || spot.layer === null || spot.position === null) return null;
  return { layer: spot.layer, position: spot.position };
}

function find(grid: HTMLElement | null, { layer, position }: Spot): HTMLElement | null {
  const row = layer === null ? ":not([data-layer])" : `[data-layer="${layer}"]`;
  const column = position === null ? ":not([data-position])" : `[data-position="${position}"]`;
  return grid?.querySelector<HTMLElement>(row + column) ?? null;
}

/** What Tab reaches: the focused, else the experiment's first tile, else the top right one. */
function reachable(focus: Spot | null, layers: number[], positions: number[], app: App): Spot {
  const fits = ({ layer, position }: Spot) =>
    (layer === null || layers.includes(layer)) &&
    (position === null || positions.includes(position));
  if (focus && fits(focus)) return focus;
  const slot = app.use(createExperiment).now.value?.slots[0];
  const first = slot && { layer: slot.layer, position: positionsOf(slot)[0] ?? 0 };
  if (first && fits(first)) return first;
  return { layer: layers.at(-1) ?? 0, position: positions.at(-1) ?? 0 };
}

function pinsAt({ layer, position }: Tile, has: (spot: Spot) => boolean): string {
  const found = [];
  if (has({ layer, position: null })) found.push("row");
  if (has({ layer: null, position })) found.push("column");
  if (has({ layer, position })) found.push("cell");
  return found.join(" ");
}

/** Indices of the slots that act at each tile of the sweep. */
function slotsByPlace(experiment: Plain | null, app: App): Map<string, number[]> {
  const sweep = app.use(createSweep).choice.value;
  const found = new Map<string, number[]>();
  experiment?.slots.forEach((slot, index) => {
    if (runOf(experiment, slot, app.use(createExperiment).kinds.value) !== null) return;
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
