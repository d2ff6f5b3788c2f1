// One slot in a line: its number and handle, where it acts, what it reads, what it did.

import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import {
  isEdge,
  type Plain,
  positionsOf,
  removeSlot,
  type Slot,
  setSkip,
  sourcePositionsOf,
} from "../../domain/experiments";
import { blockWords, componentWords, three } from "../../domain/format";
import { setHold } from "../../domain/held";
import { kindOf, targetOf } from "../../domain/operators";
import { isOrdered, moveSlot } from "../../domain/order";
import { pairsOf } from "../../domain/prompts";
import { tokensOf } from "../../domain/sources";
import type { ReceiptInfo, Scene } from "../../kernel/wire";
import { IconButton, PlainButton } from "../../ui/controls";
import { CrossIcon, EyeIcon, EyeOffIcon, LockIcon, MoreIcon } from "../../ui/icons";
import { createVoice } from "../../ui/voice";
import { createAnswer } from "../answer/state";
import { bracketOf } from "./GroupField";
import { Handle } from "./Handle";
import { linkColour } from "./OperatorRow";
import { vectorWords } from "./Reads";
import { marksOf } from "./Receipt";
import { createSlots } from "./state";

interface Props {
  app: App;
  scene: Scene;
  experiment: Plain;
  slot: Slot;
  index: number;
  /** Number of the group's colour, -1 without a group. */
  colour: number;
  receipt: ReceiptInfo | undefined;
  /** Where a row that is dragged would come to lie, seen from this one. */
  drop: "before" | "after" | "dragged" | undefined;
  onDrag(to: number | null): void;
  /** The row that is to have the focus once the list is drawn anew, and which of its controls. */
  onFocus(index: number, control: string): void;
}

export function SlotLine(props: Props) {
  const { app, experiment, slot, index, colour, drop, onFocus } = props;
  const { open, toggleDetails, toggleHold, toggleSkip } = app.use(createSlots);
  const { commit, refusal } = app.use(createExperiment);
  const removed = removeSlot(experiment, index);
  const { say } = app.use(createVoice);
  const link = linkColour(experiment, slot);
  const count = experiment.slots.length;
  const isOpen = open.value === index;
  return (
    <li
      class={`vene-slot${slot.skip ? " vene-slot-skipped" : ""}${link ? " vene-slot-linked" : ""}${bracketOf(experiment, index)}`}
      style={link && { "--vene-link": link }}
      aria-label={`Slot ${index}${slot.skip ? ", skipped" : ""}${slot.hold ? ", held" : ""}`}
      data-slot={index}
      data-group={slot.group}
      data-colour={colour < 0 ? undefined : colour % 6}
      data-drop={drop}
    >
      <Handle
        index={index}
        count={count}
        isOrdered={isOrdered(experiment, index)}
        isFixed={app.kernel.offline !== null}
        onDrag={props.onDrag}
        onMove={(to) => {
          if (to === index) return say(`Slot ${index} is ${to === 0 ? "the first" : "the last"}.`);
          commit(moveSlot(experiment, index, to));
          onFocus(to, ".vene-slot-handle");
          say(`Slot ${index} is now slot ${to}, number ${to + 1} of ${count}.`);
        }}
      />
      <PlainButton
        class="vene-bare vene-slot-words"
        aria-expanded={isOpen}
        title={`${isOpen ? "Close" : "Open"} the details of slot ${index}`}
        onClick={() => toggleDetails(index)}
      >
        <span class="vene-visually-hidden">Details of slot {index}: </span>
        <Summary {...props} />
      </PlainButton>
      <Outcome {...props} />
      <span class="vene-slot-buttons">
        <IconButton
          name={`Hold slot ${index} in the map`}
          isPressed={slot.hold}
          refusal={refusal(setHold(experiment, [index], !slot.hold))}
          title={
            slot.hold
              ? "Held: every tile of the map is tried with this slot in place (H)"
              : "Hold: every tile of the map is then tried with this slot in place (H)"
          }
          onPress={() => toggleHold([index])}
        >
          <LockIcon />
        </IconButton>
        <IconButton
          name={`${slot.skip ? "Unskip" : "Skip"} slot ${index}`}
          refusal={refusal(setSkip(experiment, [index], !slot.skip))}
          title={slot.skip ? `Unskip slot ${index}` : `Skip slot ${index}: it keeps its number`}
          onPress={() => toggleSkip([index])}
        >
          {slot.skip ? <EyeOffIcon /> : <EyeIcon />}
        </IconButton>
        <IconButton
          name={`More of slot ${index}`}
          isExpanded={isOpen}
          title="Positions, operator, subspace, group, receipt"
          onPress={() => toggleDetails(index)}
        >
          <MoreIcon />
        </IconButton>
        <IconButton
          name={`Remove slot ${index}`}
          refusal={refusal(removed)}
          onPress={() => {
            commit(removed);
            onFocus(Math.min(index, count - 2), ".vene-slot-handle");
            say(`Slot ${index} is removed; ${count - 1} left.`);
          }}
        >
          <CrossIcon />
        </IconButton>
      </span>
    </li>
  );
}

/** Layer, tokens, operator: `L0 ␣Spain ⟵ ␣Italy · swap`. */
function Summary({ app, scene, experiment, slot }: Props) {
  const kinds = app.use(createExperiment).kinds.value;
  const kind = kindOf(kinds, slot.intervention);
  const target = targetOf(experiment, slot, kinds);
  const tokens = (target === null ? scene.base : tokensOf(scene.sources, target)) ?? [];
  const partners = tokensOf(scene.sources, slot.source) ?? [];
  const reads = (kind?.needs_source ?? true) && slot.source !== null;
  const pairs = pairsOf(slot);
  const [first] = pairs;
  const from = reads && experiment.sources.length > 1 ? `from ${slot.source}` : "";
  const site = [
    slot.component === "block_output" ? "" : componentWords(slot.component),
    from,
    target === null ? "" : `in ${target}`,
    slot.subspace === null ? "" : "subspace",
    slot.strength === 1 ? "" : `× ${three(slot.strength)}`,
    readsWords(slot),
  ];
  // What says where it patches from has no room for the word as well.
  const isPatch = slot.intervention === "vanilla";
  const operator = isPatch ? (from ? "" : "patch") : slot.intervention;
  if (isEdge(slot)) {
    const few = (list: number[]) =>
      `${tokens[list[0] ?? -1]?.label ?? list[0]}${list.length > 1 ? ` +${list.length - 1}` : ""}`;
    return (
      <>
        <b class="vene-slot-layer">{blockWords(slot)}</b>
        <span class="vene-slot-tokens vene-token">
          {few(positionsOf(slot))} → {few(sourcePositionsOf(slot))}
        </span>
        <span class="vene-slot-operator-words">
          {[
            slot.head === null ? "all heads" : "",
            `${isPatch ? "copied" : operator} weight`,
            ...site.slice(1),
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </>
    );
  }
  const extra = [operator.replaceAll("_", " "), ...site].filter(Boolean).join(" · ");
  return (
    <>
      <b class="vene-slot-layer">{blockWords(slot)}</b>
      <span class="vene-slot-tokens vene-token">
        {first ? (tokens[first[0]]?.label ?? first[0]) : "?"}
        {reads && first && <span class="vene-dim"> ⟵ {partners[first[1]]?.label ?? first[1]}</span>}
        {pairs.length > 1 && <span class="vene-dim"> +{pairs.length - 1}</span>}
      </span>
      <span class="vene-slot-operator-words">{extra}</span>
    </>
  );
}

/** What it reads, where that is no source's run of its own layer. */
function readsWords(slot: Slot): string {
  const { prompts, minus, vector, source_layer } = slot;
  const mean = prompts.length > 0 && `mean of ${prompts.length}`;
  return [
    vector ? vectorWords(slot) : "",
    minus.length > 0 ? `${mean} − mean of ${minus.length}` : mean,
    source_layer === null ? "" : `read at L${source_layer}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** What it did, as a sign and a size; the words are in the title and in the details. */
function Outcome({ app, slot, index, receipt }: Props) {
  const { label } = app.use(createAnswer);
  const { kind, name, icon, words } = marksOf(slot, receipt, label.value);
  const size = receipt?.size && !slot.skip ? ` ‖Δ‖ ${three(receipt.size)}` : "";
  return (
    <span
      class="vene-slot-outcome vene-number"
      data-outcome={kind}
      role="img"
      aria-label={`Slot ${index}: ${name} ${words}`}
      title={words}
    >
      {icon}
      <span class="vene-slot-size">{size || (slot.skip ? " skipped" : "")}</span>
    </span>
  );
}
