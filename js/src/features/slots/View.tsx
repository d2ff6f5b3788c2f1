// A: the experiment as its slots, one row each, in the order in which they act at one site.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { group, groupsOf, isSame, type Plain, type Slot } from "../../domain/experiments";
import { type Known, keysAfter, NOBODY } from "../../domain/order";
import { setMode } from "../../domain/prompts";
import { Panel, Select } from "../../ui/controls";
import { PlusIcon } from "../../ui/icons";
import { createVoice } from "../../ui/voice";
import { createAnswer } from "../answer/state";
import { createGestures } from "../map/gestures";
import { createStory } from "../story/state";
import { SlotRow } from "./SlotRow";
import { createSlots } from "./state";
import "./style.css";

export function SlotsPanel({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const experiment = app.use(createExperiment).now.value;
  const drag = useSignal<{ from: number; to: number } | null>(null);
  const list = useRef<HTMLOListElement>(null);
  const add = useRef<HTMLButtonElement>(null);
  const wanted = useRef<{ index: number; control: string } | null>(null);
  const keys = useKeys(experiment?.slots ?? []);
  useLayoutEffect(() => {
    const { index, control } = wanted.current ?? {};
    if (index === undefined || !control) return;
    wanted.current = null;
    const row = list.current?.querySelector(`[data-slot="${index}"]`);
    // After the last slot: where the next one comes from, so that keys stay on the screen.
    (row?.querySelector<HTMLElement>(control) ?? add.current)?.focus();
  });
  if (!scene || !experiment) return null;
  const { slots } = experiment;
  const groups = groupsOf(experiment);
  const hasSources = Object.keys(experiment.sources).length > 0;
  return (
    <Panel name="Slots" area="slots" tools={<Tools app={app} experiment={experiment} />}>
      <Mode app={app} experiment={experiment} />
      {slots.length === 0 ? (
        <p class="vene-hint">
          {hasSources
            ? "No slot yet. Click a tile of the map: the source’s app there is copied into the base’s run."
            : "Add a source prompt to copy its app into the base’s run, or click a tile to zero the app there."}
        </p>
      ) : (
        <ol class="vene-slots" ref={list}>
          {slots.map((slot, index) => (
            <SlotRow
              key={keys[index]}
              app={app}
              scene={scene}
              experiment={experiment}
              slot={slot}
              index={index}
              colour={slot.group === null ? -1 : groups.indexOf(slot.group)}
              receipt={app
                .use(createAnswer)
                .receipts.value.find((receipt) => receipt.index === index)}
              drop={dropAt(drag.value, index)}
              onDrag={(to) => {
                drag.value = to === null ? null : { from: index, to };
              }}
              onFocus={(at, control) => {
                wanted.current = { index: at, control };
              }}
            />
          ))}
        </ol>
      )}
      <button
        type="button"
        ref={add}
        class="vene-button vene-add-slot"
        onClick={() => {
          app.use(createGestures).add({ layer: 0, position: scene.base.length - 1 });
          app.use(createVoice).say(`Slot ${slots.length} is added at layer 0, the last token.`);
        }}
      >
        <PlusIcon /> Add slot
      </button>
      <p class="vene-voice" aria-live="polite">
        {app.use(createVoice).said.value}
      </p>
    </Panel>
  );
}

function Tools({ app, experiment }: { app: App; experiment: Plain }) {
  const { slots } = experiment;
  const live = slots.filter((slot) => !slot.skip).length;
  return (
    <>
      {slots.length > 0 && (
        <span class="vene-count">
          {slots.length === 1 ? "1 slot" : `${slots.length} slots`}, {live} live
        </span>
      )}
      <span class="vene-tools-end">
        <button
          type="button"
          class="vene-button"
          title="All slots read one shared source run (G)"
          disabled={isSame(group(experiment), experiment)}
          onClick={app.use(createSlots).group}
        >
          Group
        </button>
        <button
          type="button"
          class="vene-button"
          title="Each slot reads a source run of its own (U)"
          disabled={groupsOf(experiment).length === 0}
          onClick={app.use(createSlots).ungroup}
        >
          Ungroup
        </button>
      </span>
    </>
  );
}

/** How several sources run. With one source there is nothing to choose. */
function Mode({ app, experiment }: { app: App; experiment: Plain }) {
  const names = Object.keys(experiment.sources);
  if (names.length < 2 && experiment.mode === "parallel") return null;
  const chain = names
    .slice(0, -1)
    .map((name, i) => `those that read “${name}” act on the run of “${names[i + 1]}”`);
  const about =
    experiment.mode === "parallel"
      ? "Every source runs as it is, and all slots act on the base."
      : `The sources form a chain: of the slots, ${[...chain, `those that read “${names.at(-1)}” on the base`].join(", ")}.`;
  return (
    <p class="vene-mode">
      <Select
        name="How the sources run"
        value={experiment.mode}
        options={[
          { value: "parallel", text: "parallel" },
          { value: "serial", text: "serial" },
        ]}
        onChoose={(mode) =>
          app.use(createExperiment).commit(setMode(experiment, mode as Plain["mode"]))
        }
      />
      <span class="vene-dim">{about}</span>
    </p>
  );
}

/** Rows keep what is open in them when their numbers change. */
function useKeys(slots: readonly Slot[]): readonly number[] {
  const known = useRef<Known>(NOBODY);
  if (known.current.slots !== slots) known.current = keysAfter(known.current, slots);
  return known.current.keys;
}

function dropAt(drag: { from: number; to: number } | null, index: number) {
  if (!drag) return undefined;
  if (index === drag.from) return "dragged";
  if (index !== drag.to) return undefined;
  return drag.to > drag.from ? "after" : "before";
}
