// Where things stand on the map and on the axes, as pure functions.

/** The least probability on the dots' axis: a fixed floor, so that lengths mean the same everywhere. */
export const FLOOR = 1e-5;

/** Place of a probability on the log axis: 0 at the floor, 1 at certainty. */
export function onLogAxis(p: number): number {
  if (p <= FLOOR) return 0;
  return Math.min(1, 1 - Math.log10(p) / Math.log10(FLOOR));
}

/** A bar from zero on a symmetric axis: its start and length in 0..1 of the whole width. */
export function divergingBar(value: number, limit: number): { start: number; length: number } {
  const half = (Math.min(1, Math.abs(value) / (limit || 1)) || 0) / 2;
  return { start: value < 0 ? 0.5 - half : 0.5, length: half };
}

/** Sizes of the map's tiles in pixels, and whether a number fits into one. */
export interface TileSize {
  minWidth: number;
  height: number;
  hasNumbers: boolean;
  /** Labels that would overlap when written across are turned. */
  turned: boolean;
}

export function tileSize(
  width: number,
  columns: number,
  rows: number,
  labels: string[],
  isFolded = false,
): TileSize {
  const gutter = isFolded ? 100 : 42;
  const minWidth = columns > 24 ? 14 : columns > 12 ? 20 : 30;
  const each = Math.max(minWidth, (width - gutter) / Math.max(columns, 1));
  const height = Math.round(Math.min(30, Math.max(13, 300 / Math.max(rows, 1) - 2)));
  const longest = labels.reduce((most, label) => Math.max(most, label.length), 0);
  return {
    minWidth,
    height,
    hasNumbers: each >= 30 && height >= 17,
    turned: longest * 7.5 + 4 > each,
  };
}

/** A tile's place on the map: its row is a layer or a head, its column a position or a head. */
export interface Tile {
  row: number;
  column: number;
}

/** A tile, or a header: of a whole row, or of a whole column. */
export interface Spot {
  row: number | null;
  column: number | null;
}

/** A text that is equal for one tile. */
export function keyOfTile({ row, column }: Tile): string {
  return `${row} ${column}`;
}

/**
 * A step of the keyboard on the grid. Rows grow upwards, so Up is one layer more. Left of the
 * first column stand the rows' headers, below the first row those of the columns.
 */
export function move(key: string, at: Spot, rows: number[], columns: number[]): Spot | null {
  const row = rows.indexOf(at.row ?? -1);
  const column = columns.indexOf(at.column ?? -1);
  const next = {
    ArrowUp: [row + 1, column],
    ArrowDown: [row - 1, column],
    ArrowRight: [row, column + 1],
    ArrowLeft: [row, column - 1],
    Home: [row, 0],
    End: [row, columns.length - 1],
    PageUp: [rows.length - 1, column],
    PageDown: [0, column],
  }[key];
  if (!next) return null;
  const pick = (list: number[], index: number | undefined) =>
    list[Math.min(list.length - 1, index ?? -1)] ?? null;
  const spot = { row: pick(rows, next[0]), column: pick(columns, next[1]) };
  return spot.row === null && spot.column === null ? at : spot;
}

/** How many items two lists share at their beginning and, beyond that, at their end. */
export function sharedEnds<T>(a: T[], b: T[]): { start: number; end: number } {
  const shorter = Math.min(a.length, b.length);
  let start = 0;
  while (start < shorter && a[start] === b[start]) start++;
  let end = 0;
  while (end < shorter - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  return { start, end };
}
