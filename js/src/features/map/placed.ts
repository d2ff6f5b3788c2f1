// Which slots of the experiment stand at which tile.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { isAt, type Plain, positionsOf } from "../../domain/experiments";
import type { Tile } from "../../domain/geometry";
import { isHeld } from "../../domain/held";
import { targetOf as runOf } from "../../domain/operators";
import { createMap } from "./state";
import { createSweep } from "./sweep";

/** Indices of the held slots at each tile, in words; of any component, as they act in all of them. */
export function heldByPlace(experiment: Plain | null, app: App): Map<string, string> {
  const map = app.use(createMap).map.value;
  const found = new Map<string, string>();
  experiment?.slots.forEach((slot, index) => {
    if (!isHeld(slot)) return;
    const isAll = map?.head === "all";
    if (isAll && (slot.layer !== map.layer || slot.head === null)) return;
    const row = isAll ? (slot.head ?? 0) : slot.layer;
    for (const position of positionsOf(slot)) {
      const [at, before] = [key({ row, position }), found.get(key({ row, position }))];
      found.set(at, before ? `${before} and ${index}` : `slot ${index}`);
    }
  });
  return found;
}

/** Indices of the slots that act at each tile of the sweep, without those that act in all tiles. */
export function slotsByPlace(experiment: Plain | null, app: App): Map<string, number[]> {
  const { place, rowOf } = app.use(createSweep);
  const found = new Map<string, number[]>();
  experiment?.slots.forEach((slot, index) => {
    if (isHeld(slot) || runOf(experiment, slot, app.use(createExperiment).kinds.value) !== null)
      return;
    for (const position of positionsOf(slot)) {
      const tile = { row: rowOf(slot), position };
      if (!isAt(slot, place(tile))) continue;
      const at = key(tile);
      found.set(at, [...(found.get(at) ?? []), index]);
    }
  });
  return found;
}

export function key({ row, position }: Tile): string {
  return `${row} ${position}`;
}
