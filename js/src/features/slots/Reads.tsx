// What a slot reads: a source's run, the mean of prompts, a difference of means, a vector; at which layer.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { ExperimentSelect } from "../../app/ExperimentSelect";
import { createExperiment } from "../../app/experiment";
import { changeSlot, type Plain, type Slot } from "../../domain/experiments";
import { readPlaces, readPrompts, writePlaces } from "../../domain/operators";
import { type Reading, readingOf, setReading } from "../../domain/reading";
import { TextField } from "../../ui/controls";
import { Labelled } from "./OperatorRow";

interface Props {
  app: App;
  experiment: Plain;
  slot: Slot;
  index: number;
  layers: number;
}

const NAMES: Record<Reading, string> = {
  run: "a source’s run",
  mean: "the mean of prompts",
  difference: "difference of means (steering)",
  vector: "a vector",
};

export function Reads({ app, experiment, slot, index, layers }: Props) {
  const { commit } = app.use(createExperiment);
  const reading = readingOf(slot);
  const isMean = slot.intervention === "mean";
  const change = (part: Partial<Slot>) => changeSlot(experiment, index, part);
  const { offline } = app.kernel;
  const of = `of slot ${index}`;
  const known = (["run", "mean", "difference"] as const).filter(
    (one) => one !== "run" || experiment.sources.length > 0,
  );
  const list = (field: "prompts" | "minus", caption: string, name: string, title: string) => (
    <PromptList
      key={field}
      caption={caption}
      name={`${name} ${of}`}
      prompts={slot[field]}
      {...{ title, offline }}
      send={(prompts, refuse) => commit(change({ [field]: prompts }), refuse)}
    />
  );
  return (
    <>
      {!isMean && (
        <ExperimentSelect
          app={app}
          name={`What slot ${index} reads`}
          value={reading}
          options={[...known, ...(reading === "vector" ? (["vector"] as const) : [])].map(
            (value) => ({
              value,
              text: value === "vector" ? vectorWords(slot) : NAMES[value],
            }),
          )}
          next={(value) => setReading(experiment, index, value as Reading)}
        />
      )}
      {reading !== "vector" && (
        <ExperimentSelect
          app={app}
          name={`Layer that slot ${index} reads`}
          value={String(slot.source_layer ?? "")}
          options={[
            { value: "", text: "same layer" },
            ...Array.from({ length: layers }, (_, n) => ({ value: `${n}`, text: `at layer ${n}` })),
          ]}
          next={(value) => change({ source_layer: value === "" ? null : Number(value) })}
        />
      )}
      {(isMean || slot.prompts.length > 0) && (
        <>
          <Labelled text="mean at">
            <TextField
              name={`Positions in the prompts ${of}`}
              value={writePlaces(slot.source_position)}
              refusal={offline}
              placeholder="as base"
              title="Where in each prompt the state is read, one number per base position: 3 is the fourth token, -1 the last; empty: the same positions as in the base"
              onChoose={(text) => commit(change({ source_position: readPlaces(text) }))}
            />
          </Labelled>
          {list(
            "prompts",
            "mean of",
            "Prompts",
            "The mean is taken over these prompts, one per line",
          )}
          {reading === "difference" &&
            list(
              "minus",
              "minus mean of",
              "Prompts to subtract",
              "Their mean is subtracted, one prompt per line",
            )}
        </>
      )}
    </>
  );
}

export const vectorWords = ({ vector }: Slot) => `a vector of ${vector?.length} numbers`;

/** What is typed stays, with the kernel's reason, until it is accepted. */
function PromptList(props: {
  caption: string;
  name: string;
  prompts: string[];
  title: string;
  offline: string | null;
  send(prompts: string[], refuse: (why: string) => void): Promise<void> | undefined;
}) {
  const { caption, name, prompts, title, offline, send } = props;
  const draft = useSignal<string | null>(null);
  const problem = useSignal<string | null>(null);
  return (
    <span class="vene-prompt-list">
      <span class="vene-note" aria-hidden="true">
        {caption}
      </span>
      <textarea
        class="vene-field vene-field-long"
        rows={2}
        aria-label={name}
        aria-invalid={problem.value !== null}
        title={offline ?? title}
        spellcheck={false}
        disabled={offline != null}
        value={draft.value ?? prompts.join("\n")}
        onInput={(event) => {
          draft.value = event.currentTarget.value;
        }}
        onChange={async (event) => {
          problem.value = null;
          await send(readPrompts(event.currentTarget.value), (why) => {
            problem.value = why;
          });
          if (problem.value === null) draft.value = null;
        }}
      />
      {problem.value && (
        <span class="vene-compare-error" role="alert">
          {problem.value}
        </span>
      )}
    </span>
  );
}
