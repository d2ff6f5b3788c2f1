// The slots of the experiment, a line each, in the order in which they act at one site.

import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { ExperimentSelect } from "../../app/ExperimentSelect";
import { createExperiment } from "../../app/experiment";
import { addSlot, group, groupsOf, isSame, type Plain, ungroup } from "../../domain/experiments";
import { isHeld } from "../../domain/held";
import { setMode } from "../../domain/prompts";
import { namesOf } from "../../domain/sources";
import { Button, Panel } from "../../ui/controls";
import { PlusIcon } from "../../ui/icons";
import { createVoice } from "../../ui/voice";
import { createAnswer } from "../answer/state";
import { createMap } from "../map/state";
import { createSweep } from "../map/sweep";
import { createStory } from "../story/state";
import { Details } from "./Details";
import { SlotLine } from "./SlotLine";
import { createSlots } from "./state";
import "./style.css";

export function SlotsPanel({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const experiment = app.use(createExperiment).now.value;
  const { keys, open } = app.use(createSlots);
  const drag = useSignal<{ from: number; to: number } | null>(null);
  const panel = useRef<HTMLDivElement>(null);
  const wanted = useRef<{ index: number; control: string } | null>(null);
  useLayoutEffect(() => {
    const { index, control } = wanted.current ?? {};
    if (index === undefined || !control) return;
    wanted.current = null;
    const row = panel.current?.querySelector(`[data-slot="${index}"]`);
    // After the last slot: where the next one comes from, so that keys stay on the screen.
    const found = row?.querySelector<HTMLElement>(control);
    const whole = panel.current?.closest("[data-panel=slots]");
    (found ?? whole?.querySelector<HTMLElement>(".vene-add-slot"))?.focus();
  });
  if (!scene || !experiment) return null;
  const { slots } = experiment;
  const groups = groupsOf(experiment);
  const colourOf = (index: number) => {
    const name = slots[index]?.group ?? null;
    return name === null ? -1 : groups.indexOf(name);
  };
  const focusOn = (index: number, control: string) => {
    wanted.current = { index, control };
  };
  return (
    <Panel name="Slots" area="slots" tools={<Tools app={app} experiment={experiment} />}>
      <div class="vene-slots-frame" ref={panel}>
        {slots.length === 0 ? (
          <p class="vene-hint">{emptyWords(experiment)}</p>
        ) : (
          <ol class="vene-slots">
            {slots.map((slot, index) => (
              <SlotLine
                key={keys.value[index]}
                app={app}
                scene={scene}
                experiment={experiment}
                slot={slot}
                index={index}
                colour={colourOf(index)}
                receipt={app
                  .use(createAnswer)
                  .receipts.value.find((receipt) => receipt.index === index)}
                drop={dropAt(drag.value, index)}
                onDrag={(to) => {
                  drag.value = to === null ? null : { from: index, to };
                }}
                onFocus={focusOn}
              />
            ))}
          </ol>
        )}
        {open.value !== null && slots[open.value] && (
          <Details
            key={keys.value[open.value]}
            app={app}
            scene={scene}
            experiment={experiment}
            index={open.value}
            colour={colourOf(open.value)}
            onFocus={focusOn}
          />
        )}
      </div>
      <p class="vene-visually-hidden vene-voice" aria-live="polite">
        {app.use(createVoice).said.value}
      </p>
    </Panel>
  );
}

function emptyWords(experiment: Plain): string {
  return experiment.sources.length > 0
    ? "No slots yet. Click a tile to patch the source’s state into the base’s run there."
    : "No slots yet. Add a source prompt to patch from, or click a tile to zero the state there.";
}

function Tools({ app, experiment }: { app: App; experiment: Plain }) {
  const { slots } = experiment;
  const skipped = slots.filter((slot) => slot.skip).length;
  const held = slots.filter(isHeld).length;
  const { commit, refusal } = app.use(createExperiment);
  const column = app.use(createMap).axes.value.columns.at(-1) ?? 0;
  const place = app.use(createSweep).place({ row: 0, column });
  const added = addSlot(experiment, place);
  const grouped = group(experiment);
  return (
    <>
      <span class="vene-count">
        {slots.length > 0 && slots.length}
        {skipped > 0 && ` (${skipped} skipped)`}
        {held > 0 && ` (${held} held)`}
      </span>
      <Mode app={app} experiment={experiment} />
      <span class="vene-tools-end">
        <Button
          title="All slots read one shared source run (G)"
          refusal={refusal(grouped)}
          disabled={isSame(grouped, experiment)}
          onClick={app.use(createSlots).group}
        >
          Group
        </Button>
        <Button
          title="Each slot reads a source run of its own (U)"
          refusal={refusal(ungroup(experiment))}
          disabled={groupsOf(experiment).length === 0}
          onClick={app.use(createSlots).ungroup}
        >
          Ungroup
        </Button>
        <Button
          look="vene-add-slot"
          title="Add a slot at layer 0, the last token"
          refusal={refusal(added)}
          onClick={() => {
            commit(added);
            app
              .use(createVoice)
              .say(`Slot ${slots.length} is added at layer ${place.layer}, at the last token.`);
          }}
        >
          <PlusIcon /> Add slot
        </Button>
      </span>
    </>
  );
}

/** How several sources run. With one source there is nothing to choose. */
function Mode({ app, experiment }: { app: App; experiment: Plain }) {
  const names = namesOf(experiment.sources);
  if (names.length < 2 && experiment.mode === "parallel") return null;
  const chain = names
    .slice(0, -1)
    .map((name, i) => `slots that read “${name}” act on the run of “${names[i + 1]}”`);
  const about =
    experiment.mode === "parallel"
      ? "Every source runs as it is, and all slots act on the base."
      : `The sources form a chain: ${[...chain, `slots that read “${names.at(-1)}” act on the base`].join(", ")}.`;
  return (
    <ExperimentSelect
      app={app}
      name="How the sources run"
      value={experiment.mode}
      title={about}
      options={[
        { value: "parallel", text: "sources in parallel" },
        { value: "serial", text: "sources in a chain" },
      ]}
      next={(mode) => setMode(experiment, mode as Plain["mode"])}
    />
  );
}

function dropAt(drag: { from: number; to: number } | null, index: number) {
  if (!drag) return undefined;
  if (index === drag.from) return "dragged";
  if (index !== drag.to) return undefined;
  return drag.to > drag.from ? "after" : "before";
}
