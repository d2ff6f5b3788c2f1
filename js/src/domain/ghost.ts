// What the next-token distribution would be if the tile under the pointer were the experiment.
import type { Candidate, Cell, Map as Sweep } from "../kernel/wire";

export interface Ghost {
  layer: number;
  position: number;
  /** Probabilities that the map holds, by token id. */
  ps: Map<number, number>;
  top: Candidate[];
}

export function ghostOf(cell: Cell | undefined, map: Sweep | null): Ghost | null {
  if (!cell || !map) return null;
  const ps = new Map(cell.top.map(({ token_id, probability }) => [token_id, probability]));
  map.targets.forEach(({ token_id }, i) => {
    const p = cell.probabilities[i];
    if (p !== undefined) ps.set(token_id, p);
  });
  return { layer: cell.layer, position: cell.position, ps, top: cell.top };
}
