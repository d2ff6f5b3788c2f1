// A slot's group: chosen from a list, renamed for all of its slots at once.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { ExperimentSelect } from "../../app/ExperimentSelect";
import { createExperiment } from "../../app/experiment";
import {
  changeSlot,
  freshGroup,
  groupsOf,
  type Plain,
  renameGroup,
  type Slot,
  whyNotGroup,
} from "../../domain/experiments";
import { IconButton } from "../../ui/controls";
import { PencilIcon } from "../../ui/icons";
import { NameField } from "../../ui/NameField";

interface Props {
  app: App;
  experiment: Plain;
  slot: Slot;
  index: number;
}

export function GroupField({ app, experiment, slot, index }: Props) {
  const isRenaming = useSignal(false);
  const name = slot.group;
  if (isRenaming.value && name !== null) {
    return (
      <NameField
        name={`New name of group ${name}`}
        value={name}
        whyNot={(wanted) => whyNotGroup(experiment, name, wanted)}
        onDone={(wanted) => {
          isRenaming.value = false;
          if (wanted !== null)
            app.use(createExperiment).commit(renameGroup(experiment, name, wanted));
        }}
      />
    );
  }
  const joinable = groupsOf(experiment).filter(
    (other) => other === name || canJoin(experiment, slot, other),
  );
  const fresh = freshGroup(experiment);
  const isFirst = experiment.slots.findIndex((other) => other.group === name) === index;
  return (
    <span class="vene-slot-group">
      <ExperimentSelect
        app={app}
        name={`Group of slot ${index}`}
        value={name === null ? "none" : `group ${name}`}
        title="Slots of one group read one shared source run"
        options={[
          { value: "none", text: "no group" },
          ...joinable.map((other) => ({ value: `group ${other}`, text: `group ${other}` })),
          { value: `group ${fresh}`, text: `new group ${fresh}` },
        ]}
        next={(value) =>
          changeSlot(experiment, index, {
            group: value === "none" ? null : value.slice("group ".length),
          })
        }
      />
      {name !== null && isFirst && !app.kernel.offline && (
        <IconButton
          name={`Rename group ${name}`}
          onPress={() => {
            isRenaming.value = true;
          }}
        >
          <PencilIcon />
        </IconButton>
      )}
    </span>
  );
}

/** A group has one source: others cannot join it. */
function canJoin(experiment: Plain, slot: Slot, group: string): boolean {
  return experiment.slots.some((other) => other.group === group && other.source === slot.source);
}

/** Classes for the bracket beside a run of slots of one group: its feet are at both ends. */
export function bracketOf(experiment: Plain, index: number): string {
  const [before, here, after] = [index - 1, index, index + 1].map(
    (i) => experiment.slots[i]?.group ?? null,
  );
  if (here === null) return "";
  return `${before === here ? "" : " vene-slot-first"}${after === here ? "" : " vene-slot-last"}`;
}
