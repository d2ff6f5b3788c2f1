// Two of layer, head and token, one tile = one intervention. A WAI-ARIA grid: one tab stop, arrows move.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { actionOf, consume } from "../../app/keys";
import { groupsOf } from "../../domain/experiments";
import { keyOfTile, move, type Spot, type Tile, tileSize } from "../../domain/geometry";
import { heldWords, isHeld } from "../../domain/held";
import { limitOf, plainReading, readingOf, spell } from "../../domain/metrics";
import { tokensOf } from "../../domain/sources";
import type { MetricInfo, Scene } from "../../kernel/wire";
import { backToScreen } from "../../ui/backToScreen";
import { PlainButton } from "../../ui/controls";
import { createEstimate } from "../estimate/state";
import { createLecture } from "../lecture/state";
import { createLens } from "../lens/state";
import { createPlacebo, named } from "../placebo/state";
import { createSlots } from "../slots/state";
import { createSpecification } from "../specification/state";
import { gestureOf, useDrag } from "./drag";
import { createGestures } from "./gestures";
import { Legend } from "./Legend";
import { isOn, type Pins } from "./pins";
import { heldByPlace, slotsByPlace } from "./placed";
import { asTile, find, spotUnder, tileUnder } from "./spots";
import { createMap } from "./state";
import { createSweep, createWholeMap } from "./sweep";
import { TileView } from "./TileView";

/** Predictions whose probabilities differ by less are the same. */
const AGREE = 1e-4;

const FOLD = "Fold the tokens that both prompts share";

interface Props {
  app: App;
  scene: Scene;
  metric: MetricInfo;
  width: number;
}

export function MapGrid({ app, scene, metric: chosenMetric, width }: Props) {
  const lens = app.use(createMap);
  const reading = app.use(createLens);
  const read = reading.of.value;
  const metric = (read && reading.metric.value) || chosenMetric;
  const sweep = app.use(createSweep);
  const gestures = app.use(createGestures);
  const lecture = app.use(createLecture);
  const map = lens.map.value;
  const focus = useSignal<Spot | null>(null);
  const grid = useRef<HTMLDivElement>(null);
  const drag = useDrag(app);
  const aim = lens.aim.value;
  const targets = lens.targets.value;
  const [target, other] = [targets[aim.target], targets[aim.other]];
  const { rows, columns: all } = lens.axes.value;
  const { rows: axis, columns: across } = lens.axis.value;
  const folded = lens.folded.value;
  const columns = all.slice(folded.length);
  const labels = columns.map((column) =>
    across === "head" ? `H${column}` : (scene.base[column]?.label ?? "?"),
  );
  const isLecture = lecture.isOn.value;
  const foldName = isLecture
    ? folded
        .map((position) => scene.base[position]?.text)
        .join("")
        .trim()
    : `${folded.length} in common`;
  const size = tileSize(width, columns.length, rows.length, labels, folded.length > 0);
  /** On a wall, words are read across. */
  const isTurned = size.turned && !isLecture;
  /** The target may be what is asked for. */
  const isHidden = lecture.isCovered.value;
  const plain = (run: "base" | "source") =>
    isHidden || read || targets.length === 0 ? null : plainReading(metric, run, aim, targets);
  // The scale is the whole map's, also while a lecture covers part of it.
  const values = read
    ? rows.flatMap((row) => all.map((column) => reading.at({ row, column })?.probability ?? 0))
    : (app.use(createWholeMap).value?.cells ?? []).map(
        (cell) => readingOf(metric, cell, aim, targets) ?? 0,
      );
  const placebo = app.use(createPlacebo);
  // With its controls: all are seen on one scale.
  const estimate = app.use(createEstimate);
  const estimated = read ? [] : estimate.values.value;
  const more = read ? [] : [...placebo.values.value, ...estimated].filter(Number.isFinite);
  const limit = limitOf(metric, [...values, ...more]);
  const control = read ? null : placebo.shown.value;
  const title = spell(metric.title, target?.label, other?.label);
  const experiment = app.use(createExperiment).now.value;
  const groups = experiment ? groupsOf(experiment) : [];
  const slots = slotsByPlace(experiment, app);
  const held = heldByPlace(experiment, app);
  const stop = reachable(focus.value, rows, columns, app);
  const isStop = (spot: Spot) => stop.row === spot.row && stop.column === spot.column;
  const sourceTokens = tokensOf(scene.sources, sweep.choice.value.source);
  const specification = app.use(createSpecification);
  const agreedAt = (tile: Tile) => {
    const found = isHidden ? null : specification.at(sweep.place(tile));
    return found && `${found.agreed} of ${found.count}`;
  };
  const stroke = new Set(lens.strokeTiles.value.map(keyOfTile));
  const { pins } = lens;
  const copies = map?.intervention === "vanilla";
  const hasIdle =
    (copies && across === "position" && map.first_difference > 0) ||
    (map?.cells ?? []).some((cell) => cell.idle !== null);
  const isSame =
    copies && targets.length > 0 && targets.every((one) => Math.abs(one.base - one.source) < AGREE);

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

  // A map that is wider than its panel shows its end first, where the answer is read.
  const showEdge = () => {
    grid.current?.toggleAttribute("data-more", grid.current.scrollLeft > 2);
  };
  useLayoutEffect(() => {
    if (grid.current) grid.current.scrollLeft = grid.current.scrollWidth;
    showEdge();
  }, [labels.join(), folded.length, width]);

  const onKeyDown = (event: KeyboardEvent) => {
    const spot = spotUnder(event);
    const action = actionOf("map", event);
    if (!spot || !action) return;
    const at = asTile(spot);
    const next = move(event.key, spot, rows, columns);
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
    else if (action === "apply") gestures.apply(at, "replace");
    else if (action === "add") gestures.apply(at, "add");
    else if (action === "hold") app.use(createSlots).toggleHold(sweep.slotsAt(at));
    else if (action === "skip") app.use(createSlots).toggleSkip(sweep.slotsAt(at));
    else if (action === "link") gestures.link(at);
    else if (action === "subspace") gestures.pickSubspace(at, Number(event.key));
    consume(event);
  };

  return (
    <>
      {/* biome-ignore lint/a11y/useSemanticElements: a table of buttons would be hundreds of tab stops */}
      <div
        ref={grid}
        class={`vene-map${map ? "" : " vene-map-empty"}`}
        role="grid"
        aria-label={`Map${isHidden ? "" : ` of ${title}`}${map ? ` (${[map.operator, heldWords(map)].filter(Boolean).join(", ")})` : ""}: ${axis}s${map?.layer == null ? "" : ` of layer ${map.layer}`} from bottom to top, ${across === "head" ? `heads at ${scene.base[map?.position ?? 0]?.label}` : "base tokens"} from left to right`}
        aria-busy={reading.isOld.value || map === null || map.done < map.total || sweep.isOld.value}
        data-old={(read ? reading.isOld.value : sweep.isOld.value) || undefined}
        data-control={control ?? undefined}
        data-folded={folded.length > 0 || undefined}
        style={{
          "--vene-columns": columns.length,
          "--vene-rows": rows.length,
          "--vene-tile-min": `${size.minWidth}px`,
          "--vene-tile-height": `${size.height}px`,
        }}
        onScroll={showEdge}
        onClick={(event) => {
          if (isLecture) backToScreen(event); // the arrows go on to the next step
          const at = tileUnder(event);
          if (!at || lens.brush.hasDropped()) return;
          focus.value = at;
          if (!isLecture) find(grid.current, at)?.focus({ preventScroll: true });
          gestures.apply(at, gestureOf(event));
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
          lens.hover.value = at;
          if (at) lens.brush.reach(at);
        }}
        onPointerLeave={(event) => {
          // A finger that is lifted leaves what it touched to be read.
          if (event.pointerType !== "touch") lens.hover.value = null;
        }}
        onFocusIn={(event) => {
          focus.value = spotUnder(event);
          if ((event.target as Element).matches(":focus-visible"))
            lens.hover.value = tileUnder(event);
        }}
        onFocusOut={(event) => {
          // A click moves the focus as well: what the pointer is on stays to be read.
          if (!event.currentTarget.matches(":hover")) lens.hover.value = null;
        }}
        onKeyDown={onKeyDown}
      >
        {[...rows].reverse().map((row) => (
          // biome-ignore lint/a11y/useSemanticElements: see above
          // biome-ignore lint/a11y/useFocusableInteractive: the tiles are focusable
          <div class="vene-map-row" role="row" key={row}>
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: its button is focusable */}
            <span class="vene-map-layer" role="rowheader">
              <PlainButton
                class="vene-map-head"
                tabIndex={isStop({ row, column: null }) ? 0 : -1}
                data-layer={row}
                aria-pressed={pins.has({ row, column: null })}
                aria-label={`Pin ${axis} ${row}`}
                title={`${axis} ${row}; click: pin this row`}
                onClick={() => pins.toggle({ row, column: null })}
              >
                {row}
              </PlainButton>
            </span>
            {folded.length > 0 && (
              // biome-ignore lint/a11y/useSemanticElements: see above
              // biome-ignore lint/a11y/useFocusableInteractive: nothing can be done there
              <span
                class="vene-fold vene-tile-idle"
                role="gridcell"
                aria-label={`${axis} ${row}, ${foldWords(folded)}`}
              />
            )}
            {columns.map((column, n) => {
              const tile = { row, column };
              const cell = read ? undefined : lens.cellAt(tile);
              const best = reading.at(tile);
              const own = read
                ? (best?.probability ?? null)
                : readingOf(metric, cell, aim, targets);
              const instead = read ? undefined : placebo.valueAt(tile);
              const chosen = slots.get(keyOfTile(tile)) ?? [];
              const first = experiment?.slots[chosen[0] ?? -1];
              return (
                <TileView
                  key={column}
                  axis={axis}
                  across={across}
                  row={row}
                  column={column}
                  label={labels[n] ?? ""}
                  cell={cell}
                  isIdle={!read && lens.isIdle(tile)}
                  value={instead === undefined || own === null ? own : finite(instead)}
                  word={best?.label ?? null}
                  words={best?.words ?? null}
                  differs={best?.other != null}
                  metric={metric}
                  title={control ? `${named(control)}: ${title}` : title}
                  limit={limit}
                  hasNumber={isLecture ? rows.length <= 16 : size.hasNumbers}
                  isStop={isStop(tile)}
                  isChosen={chosen.length > 0}
                  isSkipped={chosen.length > 0 && chosen.every((i) => experiment?.slots[i]?.skip)}
                  held={held.get(keyOfTile(tile)) ?? null}
                  isPainted={stroke.has(keyOfTile(tile))}
                  isCovered={!lecture.isMapOpen.value || (read !== null && isHidden)}
                  pins={pinsAt(tile, pins.has)}
                  mark={first?.group ?? null}
                  note={chosen.length > 0 ? sweep.otherPair(tile) : null}
                  agreed={agreedAt(tile)}
                  estimate={own === null ? null : finite(estimated[placebo.indexOf(tile)])}
                  isMissed={estimate.found.value?.missed.includes(placebo.indexOf(tile)) ?? false}
                  isWithin={
                    !read && estimated.length === 0 && own !== null && placebo.isWithin(tile)
                  }
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
              <PlainButton
                class="vene-map-head vene-map-unfold"
                aria-label={FOLD}
                title={FOLD}
                onClick={toggleFold}
              >
                fold
              </PlainButton>
            ) : (
              <span aria-hidden="true">{axis}</span>
            )}
          </span>
          {folded.length > 0 && (
            // biome-ignore lint/a11y/useSemanticElements: see above
            // biome-ignore lint/a11y/useFocusableInteractive: see above
            <span class="vene-map-token" role="columnheader">
              <PlainButton
                class="vene-map-head vene-map-fold"
                aria-label={`${foldName}: show ${foldWords(folded)}`}
                title={`${folded.map((position) => scene.base[position]?.label).join(" ")}: ${foldWords(folded)}; click: show them`}
                onClick={toggleFold}
              >
                {foldName}
              </PlainButton>
            </span>
          )}
          {columns.map((column, n) => {
            if (across === "head") {
              return (
                <ColumnHead
                  key={column}
                  column={column}
                  name={`head ${column}`}
                  spoken={`${labels[n]}, head ${column}`}
                  isStop={isStop({ row: null, column })}
                  pins={pins}
                >
                  <span class="vene-map-label">{labels[n]}</span>
                </ColumnHead>
              );
            }
            const from = sourceTokens?.[map?.source_positions[n + folded.length] ?? column];
            const differs = copies && from !== undefined && from.id !== scene.base[column]?.id;
            const arrow = differs ? ` ⟵ ${from.label}` : "";
            return (
              <ColumnHead
                key={column}
                column={column}
                name={`position ${column}: ${labels[n]}${arrow}`}
                spoken={`column ${labels[n]}${isLecture ? "" : ` ${column}`}${arrow}`}
                isStop={isStop({ row: null, column })}
                pins={pins}
              >
                <span class="vene-map-label">{labels[n]}</span>{" "}
                <span class="vene-map-position">{column}</span>{" "}
                {differs && !isTurned && <span class="vene-map-from">⟵ {from.label}</span>}
              </ColumnHead>
            );
          })}
        </div>
      </div>
      <Legend
        metric={metric}
        limit={limit}
        target={isHidden ? undefined : target}
        other={isHidden ? undefined : other}
        base={plain("base")}
        source={map?.source == null ? null : plain("source")}
        hasIdle={hasIdle && !read}
        differs={read !== null && read !== "base"}
        reading={read && reading.isOld.value ? "Reading the layers…" : reading.note.value}
        done={map ? map.done / Math.max(1, map.total) : 0}
        isSame={isSame && !read}
        slow={map?.slow ?? null}
        isNamed={isLecture}
        isOld={!read && sweep.isOld.value}
        control={read ? null : (estimate.says.value ?? placebo.says.value)}
        about={placebo.about.value}
        missed={read ? null : estimate.missed.value}
        share={placebo.isRunning.value ? (placebo.found.value?.share ?? 0) : null}
        hasWithin={placebo.hasResult.value && control === null && !estimate.isOn.value && !read}
        held={heldWords(map)}
      />
    </>
  );
}

/** The tokens that one column stands for, in words. */
function foldWords(folded: number[]): string {
  return `the first ${folded.length} tokens, which both prompts share: no effect possible`;
}

interface HeadProps {
  column: number;
  /** In its tooltip, and spoken unless something else is. */
  name: string;
  spoken?: string;
  isStop: boolean;
  pins: Pins;
  children: ComponentChildren;
}

/** What a column is, below it; a click pins it. */
function ColumnHead({ column, name, spoken = name, isStop, pins, children }: HeadProps) {
  const spot = { row: null, column };
  return (
    // biome-ignore lint/a11y/useSemanticElements: see the grid
    // biome-ignore lint/a11y/useFocusableInteractive: its button is focusable
    <span class="vene-map-token" role="columnheader">
      <PlainButton
        class="vene-map-head"
        tabIndex={isStop ? 0 : -1}
        data-position={column}
        aria-pressed={pins.has(spot)}
        aria-label={`Pin ${spoken}`}
        title={`${name}; click: pin this column`}
        onClick={() => pins.toggle(spot)}
      >
        {children}
      </PlainButton>
    </span>
  );
}

function finite(value: number | null | undefined): number | null {
  return value != null && Number.isFinite(value) ? value : null;
}

/** What Tab reaches: the focused, else the experiment's first tile, else the top right one. */
function reachable(focus: Spot | null, rows: number[], columns: number[], app: App): Spot {
  const fits = (spot: Spot) => isOn({ rows, columns }, spot);
  if (focus && fits(focus)) return focus;
  const slots = app.use(createExperiment).now.value?.slots ?? [];
  const slot = slots.find((one) => !isHeld(one)) ?? slots[0];
  const [first] = slot ? app.use(createSweep).tilesOf(slot) : [];
  if (first && fits(first)) return first;
  return { row: rows.at(-1) ?? 0, column: columns.at(-1) ?? 0 };
}

function pinsAt({ row, column }: Tile, has: (spot: Spot) => boolean): string {
  const found = [
    has({ row, column: null }) && "row",
    has({ row: null, column }) && "column",
    has({ row, column }) && "cell",
  ];
  return found.filter(Boolean).join(" ");
}
