// What one slot did, in a line, and measured on request.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { full, precise, site } from "../../domain/format";
import type { ReceiptInfo, SlotInfo } from "../../kernel/wire";
import { IconButton } from "../../ui/controls";
import { CheckIcon, ChevronIcon, DashIcon, WarningIcon } from "../../ui/icons";
import type { Label } from "../answer/state";

interface Props {
  index: number;
  isSkipped: boolean;
  /** Undefined while the exact answer is on its way. */
  receipt: ReceiptInfo | undefined;
  /** Whose numbers the screen shows until then. */
  label: Label;
  info: SlotInfo | undefined;
}

const UNTOLD: Record<Label, string> = {
  exact: "Not run yet.",
  preview: "Not run alone yet: the numbers are the map’s.",
  busy: "Not run yet: the numbers are of the experiment before.",
  none: "Not run: the numbers are of the experiment before.",
};

const MARKS: Record<string, [name: string, icon: ComponentChildren]> = {
  changed: ["Fired:", <CheckIcon key="fired" />],
  collected: ["Fired:", <CheckIcon key="fired" />],
  skipped: ["Skipped:", <DashIcon key="skipped" />],
  warning: ["Warning:", <WarningIcon key="warning" />],
};

export function Receipt({ index, isSkipped, receipt, label, info }: Props) {
  const isOpen = useSignal(false);
  const id = `Receipt of slot ${index}`;
  if (isSkipped) {
    return (
      <Line
        kind="skipped"
        words={receipt?.words ?? "Skipped: it does nothing and keeps its number."}
      />
    );
  }
  if (!receipt) return <p class="vene-slot-note vene-receipt vene-dim">{UNTOLD[label]}</p>;
  const kind = receipt.reason in MARKS && !receipt.idle ? receipt.reason : "warning";
  return (
    <>
      <Line kind={kind} words={receipt.words}>
        <IconButton
          name={id}
          title={`${isOpen.value ? "Hide" : "Show"} what slot ${index} did, measured`}
          isExpanded={isOpen.value}
          onPress={() => {
            isOpen.value = !isOpen.value;
          }}
        >
          <ChevronIcon />
        </IconButton>
      </Line>
      {isOpen.value && (
        <dl class="vene-receipt-details" aria-label={`${id}, measured`}>
          {measured(receipt, info).map(([term, value, title]) => (
            <div key={term} title={title}>
              <dt>{term}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}

function Line(props: { kind: string; words: string; children?: ComponentChildren }) {
  const [name, icon] = MARKS[props.kind] ?? ["", null];
  const isWarning = props.kind === "warning";
  return (
    <p class={`vene-slot-note vene-receipt${isWarning ? " vene-slot-warning" : ""}`}>
      <span class="vene-receipt-mark" role="img" aria-label={name}>
        {icon}
      </span>
      <span class="vene-receipt-words">{props.words}</span>
      {props.children}
    </p>
  );
}

function measured(receipt: ReceiptInfo, info: SlotInfo | undefined): [string, string, string?][] {
  const rows: [string, string, string?][] = [
    ["fired", receipt.fired ? "yes" : "no"],
    ["vectors replaced", String(receipt.rows)],
    ["size of the change", precise(receipt.size), `‖new − old‖ = ${full(receipt.size)}`],
    ["everything else", receipt.others_equal ? "bit-equal to before" : "not the same as before"],
  ];
  if (receipt.shape) rows.push(["tensor", receipt.shape.join(" × "), "batch × positions × width"]);
  if (info) {
    rows.unshift(["where", site(info.layer, info.component, info.head)]);
    const dims = info.dims === null ? "all" : `${info.dims.length} of`;
    rows.push(["coordinates", `${dims} ${info.coordinates}`, info.dims?.join(", ") ?? "every one"]);
  }
  return rows;
}
