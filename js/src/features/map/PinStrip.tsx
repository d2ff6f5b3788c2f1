// What is pinned: tiles with their values beside the one under the pointer, rows and columns as lines.

import type { App } from "../../app/app";
import { full } from "../../domain/format";
import type { Spot, Tile } from "../../domain/geometry";
import { changeText, limitOf, readingOf, spell, valueText } from "../../domain/metrics";
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
  const axis = lens.axis.value;
  if (pins.length === 0) return null;
  return (
    <ul class="vene-pins" aria-label="Pinned">
      {pins.map((pin) => (
        <li class="vene-pin" key={`${pin.row} ${pin.position}`}>
          <span class="vene-pin-name">{nameOf(pin, scene, axis)}</span>
          {pin.row !== null && pin.position !== null ? (
            <PinnedTile app={app} pin={pin as never} metric={metric} map={map} />
          ) : (
            <PinnedLine app={app} pin={pin} metric={metric} map={map} scene={scene} />
          )}
          <IconButton
            name={`Unpin ${nameOf(pin, scene, axis)}`}
            onPress={() => lens.pins.toggle(pin)}
          >
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

function PinnedLine({ app, pin, metric, map, scene }: PinProps<Spot> & { scene: Scene }) {
  const lens = app.use(createMap);
  const aim = lens.aim.value;
  const { rows, positions } = lens.axes.value;
  const axis = lens.axis.value;
  const tiles =
    pin.row === null
      ? rows.map((row) => ({ row, position: pin.position ?? 0 }))
      : positions.map((position) => ({ row: pin.row ?? 0, position }));
  const values = tiles.map((tile) => readingOf(metric, lens.cellAt(tile), aim, map.targets));
  const all = map.cells.map((cell) => readingOf(metric, cell, aim, map.targets) ?? 0);
  const hover = lens.hover.value;
  const at = tiles.findIndex((tile) => tile.row === hover?.row && tile.position === hover.position);
  const known = values
    .flatMap((value, i) => (value === null ? [] : [{ value, i }]))
    .sort((a, b) => a.value - b.value);
  const [least, most] = [known[0], known.at(-1)];
  const name = (i: number) =>
    pin.row === null ? `${axis} ${rows[i]}` : labelOf(positions[i] ?? 0, scene);
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
        words={`${spell(metric.title, target, other)} along ${nameOf(pin, scene, axis)}: ${range}`}
      />
      <span class="vene-number vene-dim" title={range}>
        {least && most
          ? `${valueText(metric, least.value)} … ${valueText(metric, most.value)}`
          : range}
      </span>
    </>
  );
}

function nameOf({ row, position }: Spot, scene: Scene, axis: string): string {
  const line = row === null ? "" : `${axis} ${row}`;
  const column = position === null ? "" : labelOf(position, scene);
  return [line, column].filter(Boolean).join(" · ");
}

function labelOf(position: number, scene: Scene): string {
  return `${position} ${scene.base[position]?.label ?? "?"}`;
}
