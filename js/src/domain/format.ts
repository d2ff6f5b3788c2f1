// Numbers and names as the screen writes them. Nothing is rounded before it gets here. Python
// writes them by the same rules: `tests/cases/numbers.json`, `components.json` and `sites.json`.

const NO_BREAK = "\u00a0";

/** A probability in percent, without the sign: two digits, never rounded to 0 or to certainty. */
export function percent(p: number): string {
  const value = 100 * p;
  if (value > 0 && value < 0.001) return "<0.001";
  if (value >= 99.95 && value < 100) return ">99.9";
  return digits(value, value >= 99.5 && value < 100 ? 3 : 2);
}

/** A probability with its percent sign, which never goes to the next line. */
export function inPercent(p: number): string {
  return `${percent(p)}${NO_BREAK}%`;
}

/** A signed change of probability in percentage points, with two significant digits. */
export function points(change: number): string {
  const value = 100 * change;
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 0.001) return `≈${NO_BREAK}0`;
  return sign(value) + digits(size, size >= 99.5 ? 3 : 2);
}

/** A number for a tile, of at most 5 characters: two digits, at most three decimals. */
export function short(value: number): string {
  if (value > 0 && value < 0.001) return "<.001";
  return decimals(value, 3);
}

/** A signed number for a tile, of at most 5 characters: two digits, at most two decimals. */
export function shortSigned(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  return size < 0.01 ? "≈0" : sign(value) + decimals(size, 2);
}

/** A signed number with three significant digits; less than a thousandth is about 0. */
export function signed(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  return size < 0.001 ? `≈${NO_BREAK}0` : sign(value) + three(size);
}

/** A signed number of a column: with the decimals that give its largest one three digits. */
export function signedLike(value: number, largest: number): string {
  const places = 2 - Math.floor(Math.log10(Math.abs(largest)));
  const text = Math.abs(value).toFixed(Math.min(Math.max(places, 0), 6));
  return Number(text) === 0 ? signed(value) : sign(value) + text;
}

/** Every digit that a double holds, for titles and copying. */
export function full(value: number | null): string {
  return String(value);
}

/** Three significant digits: for norms, divergences, logits, limits. */
export function three(value: number): string {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  const size = Math.abs(rounded);
  const text =
    size >= 1e-4 && size < 1e6 ? String(rounded) : rounded.toExponential().replace("e+", "e");
  return text.replaceAll("-", "−");
}

export function milliseconds(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** `block_output` as a person reads it: `block output`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** A layer and a head in few characters: `L3`, `L3 H2`. */
export function blockWords({ layer, head }: { layer: number; head: number | null }): string {
  return head === null ? `L${layer}` : `L${layer} H${head}`;
}

/** A site within a sentence: `after block 0`, `at the MLP output of layer 3`. */
export function site(layer: number, component: string, head: number | null): string {
  if (component === "block_input") return `before block ${layer}`;
  if (component === "block_output") return `after block ${layer}`;
  // A sentence names the head, or all of them, by itself.
  const name =
    component === "head_attention_value_output"
      ? "attention output"
      : componentWords(component).replace(/,.*|^head /g, "");
  return head === null
    ? `at the ${name} of layer ${layer}`
    : `in head ${head} of layer ${layer} (${name})`;
}

/** Why no slot is live, the base's prediction, and what to do, where all `slots` are skipped. */
export function nothingLive(
  slots: number,
  hasSource: boolean,
  label: string,
  probability: number,
): string {
  const why =
    slots === 0
      ? "No slots yet"
      : slots === 1
        ? "The only slot is skipped"
        : `All ${slots} slots are skipped`;
  const then =
    slots === 0
      ? `Click a tile to ${hasSource ? "patch" : "zero"} it`
      : `Unskip ${slots === 1 ? "it" : "one"} to see its effect`;
  return `${why}. The model predicts “${bare(label)}” (${inPercent(probability)}). ${then}.`;
}

/** A token's label without the spaces around it, as a sentence writes it. */
export function bare(label: string): string {
  return label.replace(/^[␣↵⇥]+|[␣↵⇥]+$/g, "") || label;
}

/** Rising numbers, with a dash for each three or more in a row: `1, 4–6`. */
export function ranges(numbers: number[]): string {
  const runs: number[][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last?.at(-1) === number - 1) last.push(number);
    else runs.push([number]);
  }
  return runs
    .map((run) => (run.length > 2 ? `${run[0]}–${run.at(-1)}` : run.join(", ")))
    .join(", ");
}

/** A signed whole number. */
export function wholeChange(change: number): string {
  return change === 0 ? "0" : sign(change) + Math.abs(change);
}

/** How a rank moved: up is towards 1. */
export function rankMove(before: number, after: number): string {
  if (before === after) return `= ${after}`;
  return `${after < before ? "▲" : "▼"} ${before} → ${after}`;
}

function sign(value: number): string {
  return value < 0 ? "−" : "+";
}

/** So many significant digits, without trailing zeros; a half is rounded up. */
function digits(value: number, count: number): string {
  return String(Number(value.toPrecision(count)));
}

/** Two significant digits, but at most so many decimals; whole from 100 on. */
function decimals(value: number, most: number): string {
  if (value >= 99.5) return value.toFixed(0);
  return String(Number(Number(value.toPrecision(2)).toFixed(most)));
}

const COMPONENTS: Record<string, string> = {
  block_input: "residual stream, before block",
  block_output: "residual stream, after block",
  attention_input: "attention input",
  attention_output: "attention output",
  attention_value_output: "heads’ outputs, joined (z)",
  query_output: "queries, all heads",
  key_output: "keys, all heads",
  value_output: "values, all heads",
  attention_weight: "attention pattern",
  head_attention_value_output: "head output (z)",
  head_query_output: "head query",
  head_key_output: "head key",
  head_value_output: "head value",
  mlp_input: "MLP input",
  mlp_activation: "MLP activation",
  mlp_output: "MLP output",
};

/** A component in words: `residual stream, after block`. */
export function componentWords(name: string): string {
  return COMPONENTS[name] ?? words(name);
}
