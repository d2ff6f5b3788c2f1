// Numbers and names as the screen writes them. Nothing is rounded before it gets here.

/** A probability in percent, with enough digits to be told from 0 and from 100. */
export function percent(p: number): string {
  const value = 100 * p;
  if (value === 0) return "0";
  if (value < 0.001) return "<0.001";
  if (value < 1) return String(Number(value.toPrecision(2)));
  if (value >= 99.95 && value < 100) return ">99.9";
  return value.toFixed(1);
}

/** A signed change of probability, in percentage points. */
export function points(change: number): string {
  const value = 100 * change;
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 0.005) return "≈ 0";
  return sign(value) + (size < 1 ? size.toFixed(2) : size.toFixed(1));
}

/** A short number for a tile: two or three digits, a sign for differences, no leading zero. */
export function short(value: number, signed: boolean): string {
  const size = Math.abs(value);
  const digits = size >= 9.95 ? size.toFixed(0) : size >= 0.995 ? size.toFixed(1) : size.toFixed(2);
  if (Number(digits) === 0) return "0";
  return (signed ? sign(value) : value < 0 ? "−" : "") + digits.replace(/^0\./, ".");
}

/** A signed number with so many decimals; what rounds to nothing and is not says so. */
export function signed(value: number, decimals: number): string {
  if (value === 0) return "0";
  const digits = Math.abs(value).toFixed(decimals);
  return Number(digits) === 0 ? "≈ 0" : sign(value) + digits;
}

/** Every digit that a double holds, for titles and copying. */
export function full(value: number): string {
  return String(value);
}

/** Six significant digits without trailing zeros, for readouts and limits. */
export function precise(value: number): string {
  if (value === 0) return "0";
  const text =
    Math.abs(value) < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(6)));
  return text.replaceAll("-", "−").replace("e+", "e");
}

export function milliseconds(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** `block_output` as a person reads it: `block output`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** Where a slot or tile is: `block output of layer 3, head 2`. */
export function site(layer: number, component: string, head: number | null): string {
  return `${words(component)} of layer ${layer}${head === null ? "" : `, head ${head}`}`;
}

/** How a rank moved: up is towards 1. */
export function rankMove(before: number, after: number): string {
  if (before === after) return `= ${after}`;
  return `${after < before ? "▲" : "▼"} ${before} → ${after}`;
}

function sign(value: number): string {
  return value < 0 ? "−" : "+";
}
