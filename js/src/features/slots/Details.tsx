// The details of one slot, over what is below it: site, pairs, operator, group, receipt.
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { ExperimentSelect } from "../../app/ExperimentSelect";
import { createExperiment } from "../../app/experiment";
import { actionOf, consume } from "../../app/keys";
import { changeSlot, isEdge, type Plain, type Slot } from "../../domain/experiments";
import { componentWords } from "../../domain/format";
import { kindOf, setComponent, setIntervention, targetOf } from "../../domain/operators";
import { duplicateSlot } from "../../domain/order";
import type { Scene } from "../../kernel/wire";
import { componentOptions } from "../../ui/components";
import { Button, IconButton, type Option } from "../../ui/controls";
import { CopyIcon, CrossIcon } from "../../ui/icons";
import { createVoice } from "../../ui/voice";
import { createAnswer } from "../answer/state";
import { GroupField } from "./GroupField";
import { OperatorRow } from "./OperatorRow";
import { Reads } from "./Reads";
import { Receipt } from "./Receipt";
import { Route } from "./Route";
import { createSlots } from "./state";

interface Props {
  app: App;
  scene: Scene;
  experiment: Plain;
  index: number;
  /** Number of the group's colour, -1 without a group. */
  colour: number;
  onFocus(index: number, control: string): void;
}

export function Details({ app, scene, experiment, index, colour, onFocus }: Props) {
  const panel = useRef<HTMLElement>(null);
  const { commit, kinds, pending, refusal } = app.use(createExperiment);
  const { closeDetails } = app.use(createSlots);
  useEffect(() => {
    const frame = panel.current?.parentElement;
    // Clicks on the rows open and close by themselves.
    const leave = (event: Event) => {
      if (frame && !event.composedPath().includes(frame)) closeDetails();
    };
    document.addEventListener("pointerdown", leave);
    return () => document.removeEventListener("pointerdown", leave);
  }, []);
  const slot = experiment.slots[index] as Slot;
  const kind = kindOf(kinds.value, slot.intervention);
  const target = targetOf(experiment, slot, kinds.value);
  const heads = scene.model.heads[slot.component];
  const info = pending.value ? undefined : scene.slots[index];
  const changed = (part: Partial<Slot>) => changeSlot(experiment, index, part);
  const copied = duplicateSlot(experiment, index);
  const close = () => {
    closeDetails();
    onFocus(index, ".vene-slot-words");
  };
  return (
    <section
      ref={panel}
      class="vene-slot-details"
      aria-label={`Slot ${index} in detail`}
      data-details={index}
      data-colour={colour < 0 ? undefined : colour % 6}
      onKeyDown={(event) => {
        if (actionOf("compare", event) !== "close") return;
        consume(event);
        close();
      }}
    >
      <div class="vene-panel-head">
        <h3 class="vene-panel-name">Slot {index}</h3>
        <span class="vene-tools-end">
          <Button
            aria-label={`Duplicate slot ${index}`}
            refusal={refusal(copied)}
            onClick={() => {
              commit(copied);
              onFocus(index + 1, ".vene-slot-handle");
              app.use(createVoice).say(`Slot ${index + 1} is a copy of slot ${index}.`);
            }}
          >
            <CopyIcon /> Duplicate
          </Button>
          <IconButton
            name={`Close the details of slot ${index}`}
            title="Close (Escape)"
            onPress={close}
          >
            <CrossIcon />
          </IconButton>
        </span>
      </div>
      <dl class="vene-fields">
        <Field name="where">
          <ExperimentSelect
            app={app}
            name={`Layer of slot ${index}`}
            value={String(slot.layer)}
            options={counted(scene.model.layers, "layer ")}
            next={(value) => changed({ layer: Number(value) })}
          />
          {isEdge(slot) ? (
            `${componentWords(slot.component)}, ${slot.head === null ? "all heads" : `head ${slot.head}`}`
          ) : (
            <ExperimentSelect
              app={app}
              name={`Component of slot ${index}`}
              value={slot.component}
              options={componentOptions(scene.model.components)}
              next={(value) => setComponent(experiment, index, value, scene.model)}
            />
          )}
          {heads !== undefined && (
            <ExperimentSelect
              app={app}
              name={`Head of slot ${index}`}
              value={String(slot.head ?? 0)}
              options={counted(heads, "head ")}
              next={(value) => changed({ head: Number(value) })}
            />
          )}
        </Field>
        <Field name="tokens">
          <Route app={app} scene={scene} experiment={experiment} slot={slot} index={index} />
        </Field>
        <Field name="operator">
          <ExperimentSelect
            app={app}
            name={`Intervention of slot ${index}`}
            value={slot.intervention}
            title={kind && `${kind.formula}\n${kind.about}`}
            options={kinds.value.map(({ name, formula }) => ({
              value: name,
              text: name === "vanilla" ? "patch (vanilla)" : name.replaceAll("_", " "),
              title: formula,
            }))}
            next={(value) => setIntervention(experiment, index, value, kinds.value)}
          />
          <OperatorRow
            app={app}
            experiment={experiment}
            slot={slot}
            index={index}
            coordinates={info?.coordinates}
          />
        </Field>
        {((kind?.needs_source && slot.component !== "attention_weight") ||
          slot.prompts.length > 0) && (
          <Field name="reads">
            <Reads {...{ app, experiment, slot, index }} layers={scene.model.layers} />
          </Field>
        )}
        <Field name="group">
          <GroupField app={app} experiment={experiment} slot={slot} index={index} />
          {experiment.mode === "serial" && (
            <span class="vene-dim">
              acts on the run of {target === null ? "the base" : `source ${target}`}
            </span>
          )}
        </Field>
        <Field name="receipt">
          <Receipt
            slot={slot}
            receipt={app
              .use(createAnswer)
              .receipts.value.find((receipt) => receipt.index === index)}
            label={app.use(createAnswer).label.value}
            info={info}
          />
        </Field>
      </dl>
    </section>
  );
}

function Field({ name, children }: { name: string; children: import("preact").ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function counted(count: number, prefix: string): Option[] {
  return Array.from({ length: count }, (_, i) => ({ value: String(i), text: `${prefix}${i}` }));
}
