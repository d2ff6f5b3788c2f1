// Colour scales that people with any colour vision can read, and the text colour that suits each tile.
// Interpolation is in OKLab (Björn Ottosson 2020), where equal steps look equal.

import type { MetricInfo } from "../kernel/wire";

export type Rgb = readonly [number, number, number];
export type Theme = "light" | "dark";
/** Amounts from 0 up, differences about 0, shares from 0 to 1, ranks from the last to the first. */
export type Scale = MetricInfo["scale"];

/**
 * Blue for more, orange for less: told apart with every common colour vision deficiency. Even steps
 * of lightness, the figures' own (`vene_widgets/figures/palette.py`).
 */
export const RAMPS: Record<Theme, { more: string[]; less: string[] }> = {
  light: {
    more: ["#f2f4f6", "#bbd3e8", "#85b3d8", "#5792c2", "#3170a6", "#194e83", "#0c305b"],
    less: ["#f2f4f6", "#efc89c", "#de9e5c", "#c27830", "#9c5819", "#743c0b", "#4d2300"],
  },
  dark: {
    more: ["#20262d", "#204467", "#296596", "#4188bc", "#6aabd9", "#9fceef", "#daefff"],
    less: ["#20262d", "#5c3915", "#86531d", "#b0722c", "#d4944b", "#efbd7f", "#ffe8c9"],
  },
};

/** Place of a value on its scale: 0 to 1, also below 0 for differences and shares. Ranks count by their logarithm. */
export function partOf(value: number, limit: number, scale: Scale): number {
  const part = scale === "order" ? 1 - Math.log(value) / Math.log(limit) : value / limit;
  const low = scale === "difference" || scale === "share" ? -1 : 0;
  return Math.min(1, Math.max(low, limit > 0 && Number.isFinite(part) ? part : 0));
}

/** Colour of a value whose scale ends at `limit`. */
export function colourOf(value: number, limit: number, scale: Scale, theme: Theme): Rgb {
  return colourAt(partOf(value, limit, scale), theme);
}

function colourAt(part: number, theme: Theme): Rgb {
  const ramp = RAMPS[theme];
  return along(part < 0 ? ramp.less : ramp.more, Math.abs(part));
}

/** Black or white, whichever stands out more: one of them always does by 4.5 to 1. */
export function textOn(background: Rgb): string {
  // Where (luminance + 0.05)² = 0.05 × 1.05, the contrast with both is the same.
  return luminance(background) > 0.1791 ? "rgb(0 0 0)" : "rgb(255 255 255)";
}

export function css([r, g, b]: Rgb): string {
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;
}

/** Contrast ratio of WCAG 2: 1 to 21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** The custom properties of one tile: both themes at once, the style sheet picks. */
export function tileColours(value: number, limit: number, scale: Scale): Record<string, string> {
  const light = colourOf(value, limit, scale, "light");
  const dark = colourOf(value, limit, scale, "dark");
  return {
    "--vene-fill-light": css(light),
    "--vene-text-light": textOn(light),
    "--vene-fill-dark": css(dark),
    "--vene-text-dark": textOn(dark),
  };
}

/** Where a value is on the legend's bar, 0 to 1. */
export function placeOf(value: number, limit: number, scale: Scale): number {
  const part = partOf(value, limit, scale);
  return scale === "difference" ? (part + 1) / 2 : Math.max(0, part);
}

/** The scale as a CSS gradient, for the legend. */
export function gradient(scale: Scale, theme: Theme): string {
  const steps = 12;
  const stops = Array.from({ length: steps + 1 }, (_, i) => {
    const part = i / steps;
    return css(colourAt(scale === "difference" ? 2 * part - 1 : part, theme));
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

function along(ramp: string[], part: number): Rgb {
  const place = part * (ramp.length - 1);
  const index = Math.min(Math.floor(place), ramp.length - 2);
  const a = toLab(parse(ramp[index] as string));
  const b = toLab(parse(ramp[index + 1] as string));
  const t = place - index;
  return fromLab([0, 1, 2].map((i) => (a[i] as number) * (1 - t) + (b[i] as number) * t) as never);
}

function parse(hex: string): Rgb {
  return [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)) as never;
}

function linear(channel: number): number {
  const c = channel / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
}

function gamma(c: number): number {
  const bounded = Math.min(1, Math.max(0, c));
  return 255 * (bounded <= 0.0031308 ? 12.92 * bounded : 1.055 * bounded ** (1 / 2.4) - 0.055);
}

function luminance([r, g, b]: Rgb): number {
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function toLab(rgb: Rgb): Rgb {
  const [r, g, b] = rgb.map(linear) as unknown as Rgb;
  const l = Math.cbrt(0.412221 * r + 0.536333 * g + 0.051446 * b);
  const m = Math.cbrt(0.211903 * r + 0.6807 * g + 0.107397 * b);
  const s = Math.cbrt(0.088302 * r + 0.281719 * g + 0.629979 * b);
  return [
    0.210454 * l + 0.793618 * m - 0.004072 * s,
    1.977998 * l - 2.428592 * m + 0.450594 * s,
    0.025904 * l + 0.782772 * m - 0.808676 * s,
  ];
}

function fromLab([lightness, a, b]: Rgb): Rgb {
  const l = (lightness + 0.396338 * a + 0.215804 * b) ** 3;
  const m = (lightness - 0.105561 * a - 0.063854 * b) ** 3;
  const s = (lightness - 0.089484 * a - 1.291486 * b) ** 3;
  return [
    gamma(4.076742 * l - 3.307712 * m + 0.23097 * s),
    gamma(-1.268438 * l + 2.609757 * m - 0.341319 * s),
    gamma(-0.004196 * l - 0.703419 * m + 1.707615 * s),
  ];
}
