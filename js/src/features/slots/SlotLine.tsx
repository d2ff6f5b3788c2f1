// One slot: its number and handle, site, operator, positions, group, what it was told, what it did.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import {
  changeSlot,
  type Plain,
  removeSlot,
  type Slot,
  setComponent,
} from "../../domain/experiments";
import { words } from "../../domain/format";
import { kindOf, setIntervention, targetOf } from "../../domain/operators";
import { duplicateSlot, isOrdered, moveSlot } from "../../domain/order";
import type { ReceiptInfo, Scene } from "../../kernel/wire";
import { IconButton, type Option, Select } from "../../ui/controls";
import { CopyIcon, CrossIcon, EyeIcon, EyeOffIcon, MoreIcon } from "../../ui/icons";
import { createVoice } from "../../ui/voice";
import { createAnswer } from "../answer/state";
import { bracketOf, GroupField } from "./GroupField";
import { Handle } from "./Handle";
import { linkColour, OperatorRow } from "./OperatorRow";
import { Receipt } from "./Receipt";
import { Route } from "./Route";
import { createSlots } from "./state";

interface RowProps {
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

export function SlotRow(props: RowProps) {
  const { app, scene, experiment, slot, index, colour, receipt, drop, onFocus } = props;
  const { model } = scene;
  const isOpen = useSignal(false);
  const change = (part: Partial<Slot>) =>
    app.use(createExperiment).commit(changeSlot(experiment, index, part));
  const heads = model.heads[slot.component];
  const kinds = app.use(createExperiment).kinds.value;
  const kind = kindOf(kinds, slot.intervention);
  const target = targetOf(experiment, slot, kinds);
  const link = linkColour(experiment, slot);
  const info = app.use(createExperiment).pending.value ? undefined : scene.slots[index];
  const count = experiment.slots.length;
  const { say } = app.use(createVoice);
  return (
    <li
      class={`vene-slot${slot.skip ? " vene-slot-skipped" : ""}${link ? " vene-slot-linked" : ""}${bracketOf(experiment, index)}`}
      style={link && { "--vene-link": link }}
      aria-label={`Slot ${index}${slot.skip ? ", skipped" : ""}`}
      data-slot={index}
      data-group={slot.group}
      data-colour={colour < 0 ? undefined : colour % 6}
      data-drop={drop}
    >
      <Handle
        index={index}
        count={count}
        isOrdered={isOrdered(experiment, index)}
        onDrag={props.onDrag}
        onMove={(to) => {
          if (to === index) return say(`Slot ${index} is ${to === 0 ? "the first" : "the last"}.`);
          app.use(createExperiment).commit(moveSlot(experiment, index, to));
          onFocus(to, ".vene-slot-handle");
          say(`Slot ${index} is now slot ${to}, number ${to + 1} of ${count}.`);
        }}
      />
      <span class="vene-slot-site">
        <Select
          name={`Layer of slot ${index}`}
          value={String(slot.layer)}
          options={counted(model.layers, "L")}
          title={`layer ${slot.layer}`}
          onChoose={(value) => change({ layer: Number(value) })}
        />
        <Select
          name={`Component of slot ${index}`}
          value={slot.component}
          options={model.components.map((name) => ({ value: name, text: words(name) }))}
          onChoose={(value) =>
            app.use(createExperiment).commit(setComponent(experiment, index, value, model.heads))
          }
        />
        {heads !== undefined && (
          <Select
            name={`Head of slot ${index}`}
            value={String(slot.head ?? 0)}
            options={counted(heads, "head ")}
            onChoose={(value) => change({ head: Number(value) })}
          />
        )}
        <Select
          name={`Intervention of slot ${index}`}
          value={slot.intervention}
          title={kind && `${kind.formula}\n${kind.about}`}
          options={kinds.map(({ name, formula }) => ({
            value: name,
            text: words(name),
            title: formula,
          }))}
          onChoose={(value) =>
            app.use(createExperiment).commit(setIntervention(experiment, index, value, kinds))
          }
        />
      </span>
      <span class="vene-slot-buttons">
        <IconButton
          name={`More of slot ${index}`}
          isExpanded={isOpen.value}
          title={`${isOpen.value ? "Hide" : "Show"} positions, strength and subspace of slot ${index}`}
          onPress={() => {
            isOpen.value = !isOpen.value;
          }}
        >
          <MoreIcon />
        </IconButton>
        <IconButton
          name={`${slot.skip ? "Unskip" : "Skip"} slot ${index}`}
          title={slot.skip ? `Wake slot ${index}` : `Skip slot ${index}: it keeps its number`}
          onPress={() => app.use(createSlots).toggleSkip([index])}
        >
          {slot.skip ? <EyeOffIcon /> : <EyeIcon />}
        </IconButton>
        <IconButton
          name={`Remove slot ${index}`}
          onPress={() => {
            app.use(createExperiment).commit(removeSlot(experiment, index));
            onFocus(Math.min(index, count - 2), ".vene-slot-handle");
            say(`Slot ${index} is removed; ${count - 1} left.`);
          }}
        >
          <CrossIcon />
        </IconButton>
      </span>
      <span class="vene-slot-route">
        <Route
          app={app}
          scene={scene}
          experiment={experiment}
          slot={slot}
          index={index}
          isOpen={isOpen.value}
        />
        <GroupField app={app} experiment={experiment} slot={slot} index={index} />
      </span>
      <OperatorRow
        app={app}
        experiment={experiment}
        slot={slot}
        index={index}
        isOpen={isOpen.value}
        coordinates={info?.coordinates}
      />
      {experiment.mode === "serial" && (
        <span class="vene-slot-note">
          acts on the run of {target === null ? "the base" : `source ${target}`}
        </span>
      )}
      {isOpen.value && (
        <button
          type="button"
          class="vene-button vene-quiet-button vene-slot-copy"
          aria-label={`Duplicate slot ${index}`}
          onClick={() => {
            app.use(createExperiment).commit(duplicateSlot(experiment, index));
            onFocus(index + 1, ".vene-slot-handle");
            say(`Slot ${index + 1} is a copy of slot ${index}.`);
          }}
        >
          <CopyIcon /> Duplicate
        </button>
      )}
      <Receipt
        index={index}
        isSkipped={slot.skip}
        receipt={receipt}
        label={app.use(createAnswer).label.value}
        info={info}
      />
    </li>
  );
}

function counted(count: number, prefix: string): Option[] {
  return Array.from({ length: count }, (_, i) => ({ value: String(i), text: `${prefix}${i}` }));
}
