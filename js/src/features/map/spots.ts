// Between the map's elements and its tiles and headers.
import type { Spot, Tile } from "../../domain/geometry";

// `data-layer` holds the row and `data-position` the column, whatever they are on this map.

/** The tile or header that an event is about. */
export function spotUnder(event: Event): Spot | null {
  const element = (event.target as Element).closest<HTMLElement>("[data-layer], [data-position]");
  if (!element) return null;
  const { layer: row, position: column } = element.dataset;
  return {
    row: row === undefined ? null : Number(row),
    column: column === undefined ? null : Number(column),
  };
}

export function tileUnder(event: Event): Tile | null {
  return asTile(spotUnder(event));
}

export function asTile(spot: Spot | null): Tile | null {
  if (!spot || spot.row === null || spot.column === null) return null;
  return { row: spot.row, column: spot.column };
}

export function find(grid: HTMLElement | null, { row, column }: Spot): HTMLElement | null {
  const line = row === null ? ":not([data-layer])" : `[data-layer="${row}"]`;
  const place = column === null ? ":not([data-position])" : `[data-position="${column}"]`;
  return grid?.querySelector<HTMLElement>(line + place) ?? null;
}
