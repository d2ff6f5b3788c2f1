// What one slot did: as a sign, in words, and measured.
import type { ComponentChildren } from "preact";
import type { Slot } from "../../domain/experiments";
import { full, three } from "../../domain/format";
import type { ReceiptInfo, SlotInfo } from "../../kernel/wire";
import { CheckIcon, DashIcon, WarningIcon } from "../../ui/icons";
import type { Label } from "../answer/state";

const UNKNOWN: Record<Label, string> = {
  exact: "Not run yet.",
  kept: "Not run yet.",
  preview: "From the map; not yet verified by a full run.",
  busy: "Running; the numbers are of the experiment before.",
  none: "Not run; the numbers are of the experiment before.",
};

export interface Marks {
  kind: "fired" | "skipped" | "warning" | "unknown";
  name: string;
  icon: ComponentChildren;
  words: string;
}

/** How a slot's outcome is shown. The receipt is undefined while the exact answer is on its way. */
export function marksOf(slot: Slot, receipt: ReceiptInfo | undefined, label: Label): Marks {
  if (slot.skip) {
    const words = receipt?.skipped ? receipt.words : "Skipped; it keeps its number.";
    return { kind: "skipped", name: "Skipped.", icon: <DashIcon />, words };
  }
  if (!receipt) return { kind: "unknown", name: "", icon: null, words: UNKNOWN[label] };
  const { words, reason, idle } = receipt;
  if (!idle && (reason === "changed" || reason === "collected"))
    return { kind: "fired", name: "Fired:", icon: <CheckIcon />, words };
  return { kind: "warning", name: "Warning:", icon: <WarningIcon />, words };
}

interface Props {
  slot: Slot;
  receipt: ReceiptInfo | undefined;
  label: Label;
  info: SlotInfo | undefined;
}

export function Receipt({ slot, receipt, label, info }: Props) {
  const marks = marksOf(slot, receipt, label);
  return (
    <div class="vene-receipt">
      <p class="vene-receipt-line" data-outcome={marks.kind}>
        <Outcome {...marks} />
      </p>
      {receipt && !slot.skip && (
        <p class="vene-dim vene-number">
          {measured(receipt, info).map(([text, title]) => (
            <span key={text} title={title}>
              {text}
            </span>
          ))}
        </p>
      )}
    </div>
  );
}

/** The sign of an outcome and what it was. */
export function Outcome({ name, icon, words }: Marks) {
  return (
    <>
      {icon && (
        <span class="vene-receipt-mark" role="img" aria-label={name}>
          {icon}
        </span>
      )}
      {words}
    </>
  );
}

/** The numbers of a receipt, each with its exact value or meaning. */
export function measured(receipt: ReceiptInfo, info: SlotInfo | undefined): [string, string][] {
  const { rows, shape, others_equal } = receipt;
  const size = receipt.size ?? 0 / 0; // NaN or infinite, which JSON cannot hold
  const found: [string, string][] = [
    [rows === 1 ? "1 vector" : `${rows} vectors`, "vectors written"],
    [`‖Δ‖ ${three(size)}`, `‖new − old‖ = ${full(size)}`],
  ];
  if (info) {
    const dims = info.dims === null ? "all" : `${info.dims.length} of`;
    const list = info.dims?.join(", ") ?? "every coordinate";
    found.push([`${dims} ${info.coordinates} coordinates`, list]);
  }
  if (shape) found.push([`tensor ${shape.join(" × ")}`, "batch × positions × width"]);
  found.push([
    others_equal ? "rest bit-equal" : "rest changed",
    "the rest of the tensor, compared with before",
  ]);
  return found;
}
