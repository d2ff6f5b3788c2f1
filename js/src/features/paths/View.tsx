// Paths: a map of what each head and MLP adds to the answer or to a receiver, and what is behind it.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { signed } from "../../domain/format";
import { endWords, pathSentence, type Sender, senderFirst } from "../../domain/paths";
import { Button, Panel, Select } from "../../ui/controls";
import { ScaleBar } from "../map/Legend";
import { createStory } from "../story/state";
import { PathMap } from "./PathMap";
import { createPaths, type Part } from "./state";
import { Circuit, Mark, Strongest } from "./Tables";
import "./style.css";

const PARTS = [
  { value: "q", text: "query" },
  { value: "k", text: "key" },
  { value: "v", text: "value" },
];

export function PathsPanel({ app }: { app: App }) {
  const state = app.use(createPaths);
  const scene = app.use(createStory).scene.value;
  const at = useSignal<Sender | null>(null);
  const [grid, to, head] = [state.shown.value, state.receiver.value, state.chosen.value];
  const { offline } = app.kernel;
  const hint = state.isOld.value
    ? "measuring the paths…"
    : !to && "Click a head or an MLP to see what reaches it. Shift-click or Space marks a head.";
  if (!scene) return null;
  return (
    <Panel
      name="Paths"
      area="paths"
      tools={
        <>
          {to && (
            <Button refusal={offline} onClick={() => state.receive(null)}>
              ← the logits
            </Button>
          )}
          <strong>to {endWords(to, state.isShared.value)}</strong>
          {to && to.part !== "mlp" && (
            <Select
              name="What of the head receives"
              value={to.part}
              options={PARTS}
              refusal={() => offline}
              onChoose={(value) => state.choosePart(value as Part)}
            />
          )}
          {head && head.head !== null && (
            <span>
              <Mark app={app} head={head} />
              mark
            </span>
          )}
          <Select
            name="Norms on the way"
            value={state.isHeld.value ? "held" : "exact"}
            options={[
              { value: "exact", text: "norms computed anew" },
              { value: "held", text: "norms held" },
            ]}
            refusal={(value) => (value === "held" ? state.whyNotHeld.value : null)}
            onChoose={(value) => state.hold(value === "held")}
          />
          <span class="vene-note">{state.note.value ?? offline ?? hint}</span>
        </>
      }
    >
      {grid && (
        <>
          <p role="status">{says(app, at.value)}</p>
          <div class="vene-paths">
            <div>
              <PathMap
                app={app}
                layers={scene.model.layers}
                point={(sender) => {
                  at.value = sender;
                }}
              />
              <div class="vene-legend">
                {state.metric.value && (
                  <ScaleBar metric={state.metric.value} limit={state.limit.value} />
                )}
                <span class="vene-legend-item">
                  base {signed(grid.base_metric)}, source {signed(grid.source_metric)}
                </span>
                {to && (
                  <span class="vene-legend-item">
                    <i class="vene-swatch vene-tile-idle" /> no path
                  </span>
                )}
              </div>
            </div>
            <div class="vene-paths vene-path-tables">
              <Strongest app={app} />
              <Circuit app={app} />
            </div>
          </div>
        </>
      )}
    </Panel>
  );
}

/** What is pointed at in a sentence; the strongest path while nothing is. */
function says(app: App, at: Sender | null): string {
  const { shown, order, isHeld, isShared, isReceiver, at: valueAt } = app.use(createPaths);
  const grid = shown.value;
  const sender = at ?? order.value[0]?.sender;
  if (!grid || !sender) return "";
  const value = valueAt(sender);
  const to = endWords(grid.receiver, isShared.value);
  if (value !== undefined) return pathSentence(grid, sender, value, isHeld.value, isShared.value);
  return isReceiver(sender)
    ? `The paths lead to ${to}.`
    : `${senderFirst(sender)} is not before ${to}: no path leads there.`;
}
