// Which slots of the experiment stand at which tile.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { isAt, type Plain, type Slot } from "../../domain/experiments";
import { keyOfTile } from "../../domain/geometry";
import { isHeld } from "../../domain/held";
import { targetOf as runOf } from "../../domain/operators";
import { createMap } from "./state";
import { createSweep } from "./sweep";

/** Indices of the held slots at each tile, in words; of any component, as they act in all of them. */
export function heldByPlace(experiment: Plain | null, app: App): Map<string, string> {
  const map = app.use(createMap).map.value;
  const { tilesOf } = app.use(createSweep);
  /** Whether a slot is on this map, beside what its rows and columns say. */
  const isHere = (slot: Slot) =>
    map?.head !== "all" || (slot.head !== null && (map.layer === null || slot.layer === map.layer));
  const found = new Map<string, string>();
  experiment?.slots.forEach((slot, index) => {
    if (!isHeld(slot) || !isHere(slot)) return;
    for (const tile of tilesOf(slot)) {
      const [at, before] = [keyOfTile(tile), found.get(keyOfTile(tile))];
      found.set(at, before ? `${before} and ${index}` : `slot ${index}`);
    }
  });
  return found;
}

/** Indices of the slots that act at each tile of the sweep, without those that act in all tiles. */
export function slotsByPlace(experiment: Plain | null, app: App): Map<string, number[]> {
  const { place, tilesOf } = app.use(createSweep);
  const found = new Map<string, number[]>();
  experiment?.slots.forEach((slot, index) => {
    if (isHeld(slot) || runOf(experiment, slot, app.use(createExperiment).kinds.value) !== null)
      return;
    for (const tile of tilesOf(slot)) {
      if (!isAt(slot, place(tile))) continue;
      const at = keyOfTile(tile);
      found.set(at, [...(found.get(at) ?? []), index]);
    }
  });
  return found;
}
