// Paths in words: what sends, what receives, and what a path does to the answer.
import type { PathEnd, PathGrid, PathSender } from "../kernel/wire";
import { bare, inPercent, three } from "./format";

/** A head, or without one the MLP of a layer; the embedding is layer −1. */
export type Sender = Pick<PathSender, "layer" | "head">;

const INPUTS = { q: "query", k: "key", v: "value" };

export const keyOfSender = ({ layer, head }: Sender) => `${layer} ${head}`;

/** `head 3.2`, `MLP 4`, `embedding`. */
export function senderWords({ layer, head }: Sender): string {
  if (layer < 0) return "embedding";
  return head === null ? `MLP ${layer}` : `head ${layer}.${head}`;
}

/** As a sentence begins: `Head 3.2`, `The embedding`. */
export function senderFirst(sender: Sender): string {
  return sender.layer < 0 ? "The embedding" : senderWords(sender).replace("h", "H");
}

/** `the query of head 4.1`, `the logits`; `isShared`: several heads share a key and a value. */
export function endWords(end: PathEnd | null, isShared: boolean): string {
  if (!end) return "the logits";
  const { layer, head, part } = end;
  if (part === "mlp") return `MLP ${layer}`;
  return `the ${INPUTS[part]} of ${isShared && part !== "q" ? "key-value " : ""}head ${layer}.${head}`;
}

/** A value as a share of what the two plain runs differ by; a dash where they do not. */
export function shareText(value: number, { source_metric, base_metric }: PathGrid): string {
  const share = value / (source_metric - base_metric);
  if (!Number.isFinite(share)) return "–";
  return share < 0 ? `−${inPercent(-share)}` : inPercent(share);
}

/** `“Rome” − “Madrid”` */
export function metricWords({ targets }: PathGrid): string {
  return targets.map(({ label }) => `“${bare(label)}”`).join(" − ");
}

/** What a path does, in one sentence. */
export function pathSentence(
  grid: PathGrid,
  sender: Sender,
  value: number,
  isHeld: boolean,
  isShared: boolean,
): string {
  const does =
    value < 0 ? `takes ${three(-value)} from` : `adds ${value ? "+" : ""}${three(value)} to`;
  const way = grid.receiver ? `through ${endWords(grid.receiver, isShared)}` : "directly";
  return `${senderFirst(sender)} ${does} the logit difference ${metricWords(grid)} ${way}${isHeld ? ", with norms held" : ""}: ${shareText(value, grid)} of what the source changes.`;
}
