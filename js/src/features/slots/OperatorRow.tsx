// What a slot's operator can be told: rank, subspace, shared weights, noise, strength.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { changeSlot, isEdge, type Plain, type Slot } from "../../domain/experiments";
import {
  halves,
  kindOf,
  link,
  linksOf,
  readSubspace,
  setRank,
  setSeed,
  toggleSubspace,
  twinsOf,
  unlink,
  writeSubspace,
} from "../../domain/operators";
import { Button, IconButton, NumberField, Slider, TextField } from "../../ui/controls";
import { LinkIcon, UnlinkIcon } from "../../ui/icons";

interface Props {
  app: App;
  experiment: Plain;
  slot: Slot;
  index: number;
  /** How many coordinates a subspace may choose from, as far as the kernel has said. */
  coordinates: number | undefined;
}

export function OperatorRow({ app, experiment, slot, index, coordinates }: Props) {
  const kind = kindOf(app.use(createExperiment).kinds.value, slot.intervention);
  const { commit, refusal } = app.use(createExperiment);
  const change = (part: Partial<Slot>) => commit(changeSlot(experiment, index, part));
  const { offline } = app.kernel;
  const names = Object.keys(slot.partition ?? {});
  const of = `of slot ${index}`;
  const number = (
    name: string,
    value: number | string | null,
    min: number,
    step: number | "any",
    onChoose: (value: number | null, text: string) => void,
  ) => (
    <Labelled text={name.toLowerCase()}>
      <NumberField name={`${name} ${of}`} refusal={offline} {...{ value, min, step, onChoose }} />
    </Labelled>
  );
  const strength = (
    <Strength
      of={of}
      value={slot.strength}
      isAdded={slot.intervention === "addition" || slot.intervention === "subtraction"}
      offline={offline}
      onChoose={(value) => change({ strength: value })}
    />
  );
  if (isEdge(slot)) return <span class="vene-slot-operator">{strength}</span>;
  return (
    <span class="vene-slot-operator">
      {kind?.takes_rank &&
        number("Rank", slot.rank, 1, 1, (rank) => commit(setRank(experiment, index, rank)))}
      {names.map((name, n) => (
        <Button
          key={name}
          look="vene-subspace"
          aria-label={`Subspace ${name} ${of}`}
          aria-pressed={slot.subspace === name}
          refusal={refusal(toggleSubspace(experiment, index, name))}
          title={`Coordinates ${slot.partition?.[name]?.join(" to ")}, the end left out${n < 9 ? ` (${n + 1} on the map)` : ""}`}
          onClick={() => commit(toggleSubspace(experiment, index, name))}
        >
          {name}
        </Button>
      ))}
      {names.length === 0 && coordinates !== undefined && coordinates > 1 && (
        <Button
          aria-label={`Split dims ${of}`}
          refusal={offline}
          title={`Names the two halves of the ${coordinates} coordinates a and b, to change one of them alone`}
          onClick={() => change({ partition: halves(coordinates) })}
        >
          Split dims
        </Button>
      )}
      <Labelled text="dims">
        <TextField
          name={`Dims ${of}`}
          value={writeSubspace(slot.subspace)}
          refusal={offline}
          placeholder={coordinates === undefined ? "all" : `all ${coordinates}`}
          title="0:2 is a half-open range, 0, 3, 5 are dims, empty: all"
          onChoose={(text) => change({ subspace: readSubspace(text) })}
        />
      </Labelled>
      {slot.intervention === "noise" &&
        number("Scale", slot.scale, 0, "any", (scale) => scale !== null && change({ scale }))}
      {(slot.intervention === "noise" || kind?.has_weights) &&
        number("Seed", slot.seed, 0, 1, (seed, text) => {
          // As text where a number here would be another one; the kernel says up to where.
          const exact = Number.isSafeInteger(seed) ? seed : text;
          if (seed !== null && exact !== null) commit(setSeed(experiment, index, exact));
        })}
      {strength}
      {(kind?.has_weights || slot.link) && (
        <LinkButton app={app} experiment={experiment} slot={slot} index={index} />
      )}
    </span>
  );
}

function LinkButton({ app, experiment, slot, index }: Omit<Props, "coordinates">) {
  const { commit, refusal, widths } = app.use(createExperiment);
  if (!slot.link) {
    const [twin] = twinsOf(experiment, index, widths.value);
    return (
      <IconButton
        name={`Link slot ${index}`}
        isDisabled={twin === undefined}
        refusal={refusal(link(experiment, index, widths.value))}
        title={
          twin === undefined
            ? "Sharing weights needs a second slot of this intervention, rank, seed and width"
            : `Share weights with slot ${twin} (L on the map)`
        }
        onPress={() => commit(link(experiment, index, widths.value))}
      >
        <LinkIcon />
      </IconButton>
    );
  }
  const others = experiment.slots.flatMap((other, i) =>
    i !== index && other.link === slot.link ? [i] : [],
  );
  return (
    <span class="vene-link-chip">
      <LinkIcon />
      <span>
        {slot.link}
        {others.length > 0 && <span class="vene-dim"> with {others.join(", ")}</span>}
      </span>
      <IconButton
        name={`Unlink slot ${index}`}
        refusal={refusal(unlink(experiment, index))}
        onPress={() => commit(unlink(experiment, index))}
      >
        <UnlinkIcon />
      </IconButton>
    </span>
  );
}

/** A slider for the way from the base to the intervention, and its number; both are one value. */
function Strength(props: {
  of: string;
  value: number;
  /** Whether the slot adds a vector, of which there may be any amount. */
  isAdded: boolean;
  offline: string | null;
  onChoose(value: number): void;
}) {
  const { of, value, isAdded, offline, onChoose } = props;
  const held = useSignal<number | null>(null);
  const title = `strength ${held.value ?? value}: new = b + strength · (intervention − b). At 0 the base’s own state stays, at 1 the intervention is whole, beyond 1 it goes further.`;
  return (
    <Labelled text="strength">
      <Slider
        name={`Strength ${of}`}
        // While it is held it is drawn where it is held: the field would jump back under the hand.
        value={held.value ?? value}
        refusal={offline}
        min={isAdded ? -8 : 0}
        max={isAdded ? 8 : 1}
        step={isAdded ? 0.25 : 0.05}
        title={title}
        onHold={(now) => {
          held.value = now;
        }}
        onChoose={onChoose}
      />
      <NumberField
        name={`Strength ${of} as a number`}
        value={held.value ?? value}
        refusal={offline}
        step="any"
        onChoose={(wanted) => wanted !== null && onChoose(wanted)}
      />
    </Labelled>
  );
}

export function Labelled({ text, children }: { text: string; children: ComponentChildren }) {
  return (
    <span class="vene-labelled">
      <span class="vene-dim" aria-hidden="true">
        {text}
      </span>
      {children}
    </span>
  );
}

/** The colour of a slot's link, as far from the groups' first colours as there are. */
export function linkColour(experiment: Plain, slot: Slot): string | undefined {
  if (!slot.link) return undefined;
  return `var(--vene-group-${(linksOf(experiment).indexOf(slot.link) + 3) % 6})`;
}
