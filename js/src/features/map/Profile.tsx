// A metric along one row or column of the map, as a line: what a pinned row or column shows.

import type { Scale } from "../../domain/colour";
import { partOf } from "../../domain/colour";

interface Props {
  /** In the map's order; null where a tile is not computed. */
  values: (number | null)[];
  limit: number;
  scale: Scale;
  /** Which value the pointer is on, or -1. */
  at: number;
  /** The line in words. */
  words: string;
}

const WIDTH = 160;
const HEIGHT = 32;
const EDGE = 4;

export function Profile({ values, limit, scale, at, words }: Props) {
  const step = (WIDTH - 2 * EDGE) / Math.max(1, values.length - 1);
  const x = (i: number) => EDGE + i * step;
  const low = scale === "difference" ? -1 : 0;
  const y = (value: number) => {
    const part = (partOf(value, limit, scale) - low) / (1 - low);
    return HEIGHT - EDGE - part * (HEIGHT - 2 * EDGE);
  };
  const zero = scale === "difference" ? HEIGHT / 2 : HEIGHT - EDGE;
  const here = values[at];
  let pen = "M";
  const path = values.map((value, i) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const point = `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return point;
  });
  return (
    <svg
      class="vene-profile"
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={words}
    >
      <title>{words}</title>
      <path class="vene-profile-zero" d={`M0 ${zero}H${WIDTH}`} />
      <path class="vene-profile-line" d={path.join("")} />
      {values.length <= 16 &&
        values.map(
          (value, i) =>
            value !== null && (
              <circle key={i} class="vene-profile-point" cx={x(i)} cy={y(value)} r="1.5" />
            ),
        )}
      {here != null && <circle class="vene-profile-here" cx={x(at)} cy={y(here)} r="3.5" />}
    </svg>
  );
}
