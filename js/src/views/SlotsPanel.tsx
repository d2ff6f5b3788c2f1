// A: the experiment as its slots, one row each, in the order in which they were made.
import { useSignal } from "@preact/signals";
import {
  changeSlot,
  freshGroup,
  group,
  groupsOf,
  isSame,
  type Plain,
  positionsOf,
  removeSlot,
  type Slot,
  setComponent,
  setSource,
  sourcePositionsOf,
} from "../experiments";
import { words } from "../format";
import { kindOf, setIntervention, targetOf } from "../operators";
import type { State } from "../state";
import type { ReceiptInfo, Scene, TokenInfo } from "../wire";
import { IconButton, type Option, Panel, Select } from "./controls";
import { CrossIcon, EyeIcon, EyeOffIcon, MoreIcon, PlusIcon, WarningIcon } from "./icons";
import { linkColour, OperatorRow } from "./OperatorRow";

export function SlotsPanel({ state }: { state: State }) {
  const scene = state.scene.value;
  const experiment = state.experiment.value;
  if (!scene || !experiment) return null;
  const { slots } = experiment;
  const groups = groupsOf(experiment);
  const live = slots.filter((slot) => !slot.skip).length;
  const hasSources = Object.keys(experiment.sources).length > 0;
  const tools = (
    <>
      {slots.length > 0 && (
        <span class="vene-count">
          {slots.length === 1 ? "1 slot" : `${slots.length} slots`}, {live} live
          {experiment.mode === "serial" && ", serial"}
        </span>
      )}
      <span class="vene-tools-end">
        <button
          type="button"
          class="vene-button"
          title="All slots read one shared source run (G)"
          disabled={isSame(group(experiment), experiment)}
          onClick={state.group}
        >
          Group
        </button>
        <button
          type="button"
          class="vene-button"
          title="Each slot reads a source run of its own (U)"
          disabled={groups.length === 0}
          onClick={state.ungroup}
        >
          Ungroup
        </button>
      </span>
    </>
  );
  return (
    <Panel name="Slots" area="slots" tools={tools}>
      {slots.length === 0 ? (
        <p class="vene-hint">
          {hasSources
            ? "No slot yet. Click a tile of the map: the source’s state there is copied into the base’s run."
            : "Add a source prompt to copy its state into the base’s run, or add a slot that zeroes a state."}
        </p>
      ) : (
        <ol class="vene-slots">
          {slots.map((slot, index) => (
            <SlotRow
              // A slot is its place in the list: that is what Python calls it too.
              key={index}
              state={state}
              scene={scene}
              experiment={experiment}
              slot={slot}
              index={index}
              colour={slot.group === null ? -1 : groups.indexOf(slot.group)}
              receipt={state.receipts.value.find((receipt) => receipt.index === index)}
            />
          ))}
        </ol>
      )}
      <button
        type="button"
        class="vene-button vene-add-slot"
        onClick={() => state.addSlot({ layer: 0, position: scene.base.length - 1 })}
      >
        <PlusIcon /> Add slot
      </button>
    </Panel>
  );
}

interface RowProps {
  state: State;
  scene: Scene;
  experiment: Plain;
  slot: Slot;
  index: number;
  colour: number;
  receipt: ReceiptInfo | undefined;
}

function SlotRow({ state, scene, experiment, slot, index, colour, receipt }: RowProps) {
  const { model } = scene;
  const isOpen = useSignal(false);
  const before = experiment.slots[index - 1]?.group;
  const after = experiment.slots[index + 1]?.group;
  const edges =
    slot.group === null
      ? ""
      : `${before === slot.group ? "" : " vene-slot-first"}${after === slot.group ? "" : " vene-slot-last"}`;
  const sources = Object.keys(experiment.sources);
  const change = (part: Partial<Slot>) => state.commit(changeSlot(experiment, index, part));
  const heads = model.heads[slot.component];
  const kinds = state.kinds.value;
  const kind = kindOf(kinds, slot.intervention);
  const reads = kind?.needs_source ?? true;
  const target = targetOf(experiment, slot, kinds);
  const isIdle = receipt !== undefined && !receipt.skipped && (receipt.idle || !receipt.fired);
  const link = linkColour(experiment, slot);
  return (
    <li
      class={`vene-slot${slot.skip ? " vene-slot-skipped" : ""}${link ? " vene-slot-linked" : ""}${edges}`}
      style={link && { "--vene-link": link }}
      data-slot={index}
      data-group={slot.group}
      data-colour={colour < 0 ? undefined : colour % 6}
    >
      <span class="vene-slot-index" title={receipt?.words ?? `slot ${index}`}>
        {index}
      </span>
      <span class="vene-slot-site">
        <Select
          name={`Layer of slot ${index}`}
          value={String(slot.layer)}
          options={counted(model.layers, "layer ")}
          onChoose={(value) => change({ layer: Number(value) })}
        />
        <Select
          name={`Component of slot ${index}`}
          value={slot.component}
          options={model.components.map((name) => ({ value: name, text: words(name) }))}
          onChoose={(value) => state.commit(setComponent(experiment, index, value, model.heads))}
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
          onChoose={(value) => state.commit(setIntervention(experiment, index, value, kinds))}
        />
      </span>
      <span class="vene-slot-buttons">
        <IconButton
          name={`More of slot ${index}`}
          isExpanded={isOpen.value}
          title={`${isOpen.value ? "Hide" : "Show"} strength and subspace of slot ${index}`}
          onPress={() => {
            isOpen.value = !isOpen.value;
          }}
        >
          <MoreIcon />
        </IconButton>
        <IconButton
          name={`${slot.skip ? "Unskip" : "Skip"} slot ${index}`}
          onPress={() => state.toggleSkip([index])}
        >
          {slot.skip ? <EyeOffIcon /> : <EyeIcon />}
        </IconButton>
        <IconButton
          name={`Remove slot ${index}`}
          onPress={() => state.commit(removeSlot(experiment, index))}
        >
          <CrossIcon />
        </IconButton>
      </span>
      <span class="vene-slot-route">
        <PositionSelect
          name={`Base position of slot ${index}`}
          tokens={target === null ? scene.base : (scene.sources[target] ?? [])}
          positions={positionsOf(slot)}
          onChoose={(position) => {
            const last = (scene.sources[slot.source ?? ""]?.length ?? 1) - 1;
            const partner =
              target === null
                ? state.place({ layer: slot.layer, position }).source_position
                : Math.min(position, last);
            change({ position, source_position: slot.source === null ? null : partner });
          }}
        />
        {reads && slot.source !== null && (
          <>
            <span class="vene-arrow" aria-hidden="true">
              ⟵
            </span>
            <PositionSelect
              name={`Source position of slot ${index}`}
              tokens={scene.sources[slot.source] ?? []}
              positions={sourcePositionsOf(slot)}
              onChoose={(source_position) => change({ source_position })}
            />
            {sources.length > 1 && (
              <Select
                name={`Source of slot ${index}`}
                value={slot.source}
                options={sources.map((name) => ({ value: name, text: name }))}
                onChoose={(value) => state.commit(setSource(experiment, index, value))}
              />
            )}
          </>
        )}
        <GroupSelect
          index={index}
          slot={slot}
          experiment={experiment}
          onChoose={(name) => change({ group: name })}
        />
      </span>
      <OperatorRow
        state={state}
        experiment={experiment}
        slot={slot}
        index={index}
        isOpen={isOpen.value}
        coordinates={state.pending.value ? undefined : scene.slots[index]?.coordinates}
      />
      {experiment.mode === "serial" && (
        <span class="vene-slot-note">
          acts on the run of {target === null ? "the base" : `source ${target}`}
        </span>
      )}
      {slot.skip ? (
        <span class="vene-slot-note">skipped: does nothing, keeps its number</span>
      ) : (
        isIdle && (
          <span class="vene-slot-note vene-slot-warning">
            <span role="img" aria-label="Warning:">
              <WarningIcon />
            </span>
            {receipt.words}
          </span>
        )
      )}
    </li>
  );
}

interface PositionProps {
  name: string;
  tokens: TokenInfo[];
  positions: number[];
  onChoose(position: number): void;
}

function PositionSelect({ name, tokens, positions, onChoose }: PositionProps) {
  const options: Option[] = tokens.map((token) => ({
    value: String(token.index),
    text: `${token.index} ${token.label}`,
  }));
  const value = positions.join(", ");
  // Several positions come from Python only; choosing one here replaces them.
  if (!options.some((option) => option.value === value)) options.unshift({ value, text: value });
  return (
    <Select
      name={name}
      value={value}
      options={options}
      onChoose={(chosen) => onChoose(Number(chosen))}
    />
  );
}

interface GroupProps {
  index: number;
  slot: Slot;
  experiment: Plain;
  onChoose(name: string | null): void;
}

function GroupSelect({ index, slot, experiment, onChoose }: GroupProps) {
  const joinable = groupsOf(experiment).filter(
    (name) =>
      name === slot.group ||
      experiment.slots.some((other) => other.group === name && other.source === slot.source),
  );
  const fresh = freshGroup(experiment);
  return (
    <span class="vene-slot-group">
      <Select
        name={`Group of slot ${index}`}
        value={slot.group === null ? "none" : `group ${slot.group}`}
        options={[
          { value: "none", text: "no group" },
          ...joinable.map((name) => ({ value: `group ${name}`, text: `group ${name}` })),
          ...(joinable.includes(fresh)
            ? []
            : [{ value: `group ${fresh}`, text: `group ${fresh}` }]),
        ].map((option) =>
          option.value === `group ${fresh}` ? { ...option, text: `new group ${fresh}` } : option,
        )}
        onChoose={(value) => onChoose(value === "none" ? null : value.slice("group ".length))}
      />
    </span>
  );
}

function counted(count: number, prefix: string): Option[] {
  return Array.from({ length: count }, (_, i) => ({ value: String(i), text: `${prefix}${i}` }));
}
