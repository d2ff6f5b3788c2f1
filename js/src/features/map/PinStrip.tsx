// What is pinned: tiles with their values beside the one under the pointer, rows and columns as lines.

import type { App } from "../../app/app";
import { full } from "../../domain/format";
import type { Spot, Tile } from "../../domain/geometry";
import { changeText, limitOf, readingOf, spell, valueText } from "../../domain/metrics";
import type { AxisNames } from "../../domain/preview";
import type { Cell, MetricInfo, Scene, Map as Sweep } from "../../kernel/wire";
import { IconButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";
import { createStory } from "../story/state";
import { Profile } from "./Profile";
import { isOn } from "./pins";
import { createMap } from "./state";

export function PinStrip({ app }: { app: App }) {
  const lens = app.use(createMap);
  const [scene, map, metric] = [
    app.use(createStory).scene.value,
    lens.map.value,
    lens.metric.value,
  ];
  if (!scene || !map || !metric) return null;
  const pins = lens.pins.list.value.filter((pin) => isOn(lens.axes.value, pin));
  const nameOf = (pin: Spot) => nameOfSpot(pin, scene, lens.axis.value);
  if (pins.length === 0) return null;
  return (
    <ul class="vene-pins" aria-label="Pinned">
      {pins.map((pin) => (
        <li class="vene-pin" key={`${pin.row} ${pin.column}`}>
          <span class="vene-pin-name">{nameOf(pin)}</span>
          {pin.row !== null && pin.column !== null ? (
            <PinnedTile app={app} pin={pin as never} metric={metric} map={map} />
          ) : (
            <PinnedLine app={app} pin={pin} metric={metric} map={map} nameOf={nameOf} />
          )}
          <IconButton name={`Unpin ${nameOf(pin)}`} onPress={() => lens.pins.toggle(pin)}>
            <CrossIcon />
          </IconButton>
        </li>
      ))}
    </ul>
  );
}

interface PinProps<Kind> {
  app: App;
  pin: Kind;
  metric: MetricInfo;
  map: Sweep;
}

function PinnedTile({ app, pin, metric, map }: PinProps<Tile>) {
  const lens = app.use(createMap);
  const read = (cell: Cell | undefined) => readingOf(metric, cell, lens.aim.value, map.targets);
  const value = read(lens.cellAt(pin));
  const there = read(lens.cellAt(lens.hover.value));
  if (value === null) return <span class="vene-dim">not computed yet</span>;
  return (
    <span class="vene-number" title={full(value)}>
      {valueText(metric, value)}
      {there !== null && (
        <span class="vene-dim" title={full(there - value)}>
          {" "}
          hovered − pinned = {changeText(metric, there - value)}
        </span>
      )}
    </span>
  );
}

type LineProps = PinProps<Spot> & { nameOf: (spot: Spot) => string };

function PinnedLine({ app, pin, metric, map, nameOf }: LineProps) {
  const lens = app.use(createMap);
  const aim = lens.aim.value;
  const { rows, columns } = lens.axes.value;
  const tiles =
    pin.row === null
      ? rows.map((row) => ({ row, column: pin.column ?? 0 }))
      : columns.map((column) => ({ row: pin.row ?? 0, column }));
  const values = tiles.map((tile) => readingOf(metric, lens.cellAt(tile), aim, map.targets));
  const all = map.cells.map((cell) => readingOf(metric, cell, aim, map.targets) ?? 0);
  const hover = lens.hover.value;
  const at = tiles.findIndex((tile) => tile.row === hover?.row && tile.column === hover.column);
  const known = values
    .flatMap((value, i) => (value === null ? [] : [{ value, i }]))
    .sort((a, b) => a.value - b.value);
  const [least, most] = [known[0], known.at(-1)];
  const name = (i: number) =>
    nameOf(
      pin.row === null
        ? { row: rows[i] ?? 0, column: null }
        : { row: null, column: columns[i] ?? 0 },
    );
  const target = map.targets[aim.target]?.label;
  const other = map.targets[aim.other]?.label;
  const range =
    least && most
      ? `lowest ${valueText(metric, least.value)} at ${name(least.i)}, highest ${valueText(metric, most.value)} at ${name(most.i)}`
      : "not computed yet";
  return (
    <>
      <Profile
        values={values}
        limit={limitOf(metric, all)}
        scale={metric.scale}
        at={at}
        words={`${spell(metric.title, target, other)} along ${nameOf(pin)}: ${range}`}
      />
      <span class="vene-number vene-dim" title={range}>
        {least && most
          ? `${valueText(metric, least.value)} … ${valueText(metric, most.value)}`
          : range}
      </span>
    </>
  );
}

function nameOfSpot({ row, column }: Spot, scene: Scene, axis: AxisNames): string {
  const token = `${column} ${scene.base[column ?? 0]?.label ?? "?"}`;
  const name = axis.columns === "head" ? `head ${column}` : token;
  return [row !== null && `${axis.rows} ${row}`, column !== null && name]
    .filter(Boolean)
    .join(" · ");
}
