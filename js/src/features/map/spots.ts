// Between the map's elements and its tiles and headers.
import type { Spot, Tile } from "../../domain/geometry";

/** The tile or header that an event is about. */
export function spotUnder(event: Event): Spot | null {
  const element = (event.target as Element).closest<HTMLElement>("[data-layer], [data-position]");
  if (!element) return null;
  const { layer: row, position } = element.dataset;
  return {
    row: row === undefined ? null : Number(row),
    position: position === undefined ? null : Number(position),
  };
}

export function tileUnder(event: Event): Tile | null {
  return asTile(spotUnder(event));
}

export function asTile(spot: Spot | null): Tile | null {
  if (!spot || spot.row === null || spot.position === null) return null;
  return { row: spot.row, position: spot.position };
}

export function find(grid: HTMLElement | null, { row, position }: Spot): HTMLElement | null {
  const line = row === null ? ":not([data-layer])" : `[data-layer="${row}"]`;
  const column = position === null ? ":not([data-position])" : `[data-position="${position}"]`;
  return grid?.querySelector<HTMLElement>(line + column) ?? null;
}
