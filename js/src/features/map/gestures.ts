// What clicks, strokes and keys on the map do to the experiment.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { applyTile, type Gesture, type Plain } from "../../domain/experiments";
import type { Tile } from "../../domain/geometry";
import { kindOf, linkGroup, toggleSubspace } from "../../domain/operators";
import { paint } from "../../domain/paint";
import { createSweep } from "./sweep";

export function createGestures(app: App) {
  const experiment = app.use(createExperiment);
  const { place, slotsAt } = app.use(createSweep);

  function change(to: (now: Plain) => Plain): void {
    const now = experiment.now.value;
    if (now) experiment.commit(to(now));
  }

  return {
    apply(tile: Tile, gesture: Gesture): void {
      change((now) => applyTile(now, place(tile), gesture));
    },
    /** Tiles that were painted become slots of one group, in one step of the undo list. */
    paint(tiles: Tile[], gesture: Gesture): void {
      change((now) => paint(now, tiles.map(place), gesture));
    },
    /** Links or unlinks the slots of the group at a tile; at none, those of the last slot's group. */
    link(tile: Tile): void {
      const now = experiment.now.value;
      const index = slotsAt(tile)[0] ?? (now?.slots.length ?? 0) - 1;
      const kind = now && kindOf(experiment.kinds.value, now.slots[index]?.intervention ?? "");
      if (kind?.has_weights)
        change((present) => linkGroup(present, index, experiment.widths.value));
    },
    /** Toggles the n-th subspace (from 1) of the slot at a tile. */
    pickSubspace(tile: Tile, n: number): void {
      const [index] = slotsAt(tile);
      if (index === undefined) return;
      const name = Object.keys(experiment.now.value?.slots[index]?.partition ?? {})[n - 1];
      if (name !== undefined) change((now) => toggleSubspace(now, index, name));
    },
  };
}
