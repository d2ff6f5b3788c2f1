// What the map sweeps (component, heads, operator, source) and what it shows of it (metric, tokens).
import type { App } from "../../app/app";
import type { MetricName } from "../../domain/metrics";
import { componentOptions } from "../../ui/components";
import { type Option, Select } from "../../ui/controls";
import { createEstimate } from "../estimate/state";
import { createLens, LENSES, type LensOf } from "../lens/state";
import { createPlacebo, named } from "../placebo/state";
import { createStory } from "../story/state";
import { createMap } from "./state";
import { createSweep, type SweepChoice } from "./sweep";
import { TargetField } from "./TargetField";

/** Operators of a map: with a source, and those that have an effect in an experiment of one prompt. */
const OPERATORS = ["vanilla", "zero", "mean", "noise"];
const LENS = "Best token in each layer (logit lens)";
const ALONE = ["zero", "noise"];

export function MapTools({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const lens = app.use(createMap);
  const reading = app.use(createLens);
  const read = reading.of.value;
  const metric = (read && reading.metric.value) || lens.metric.value;
  if (!scene) return null;
  const { choice, choose, refusal } = app.use(createSweep);
  const sweep = choice.value;
  const heads = scene.model.heads[sweep.component];
  const sources = scene.sources.map(({ name }) => name);
  /** What choosing a value means: the map that it stands for, where that can be had. */
  const to = (next: (value: string) => SweepChoice) => ({
    onChoose: (value: string) => void choose(next(value)),
    refusal: (value: string) => refusal(next(value)),
  });
  return (
    <span class="vene-map-tools">
      <span class="vene-tool-group">
        <PlaceboSelect app={app} />
        <Select
          name="Component of the map"
          value={sweep.component}
          options={componentOptions(scene.model.components)}
          {...to((component) => {
            const count = scene.model.heads[component];
            // All heads first: which one to look at is what a map of them shows.
            const { head: now } = sweep;
            const head = typeof now === "number" ? Math.min(now, (count ?? 1) - 1) : "all";
            const whole = count === undefined && { head: null, layer: null, position: null };
            return { ...sweep, component, head, ...whole };
          })}
        />
        {heads !== undefined && (
          <Select
            name="Heads of the map"
            value={headsOf(sweep, scene.base.length - 1)}
            options={[
              ...scene.base.map(({ index, label }) => ({
                value: `position ${index}`,
                text: `at ${index} ${label}`,
                group: "All heads of all layers, at one token",
              })),
              ...counted(heads, (n) => ({
                value: String(n),
                text: `head ${n}`,
                group: "One head of every layer",
              })),
              ...counted(scene.model.layers, (n) => ({
                value: `layer ${n}`,
                text: `in L${n}`,
                group: "All heads of one layer",
              })),
            ]}
            {...to((value) => {
              const [of = "", n] = value.split(" ");
              const all = { head: "all" as const, layer: null, position: null, [of]: Number(n) };
              return n === undefined
                ? { ...sweep, head: Number(of), layer: null, position: null }
                : { ...sweep, ...all };
            })}
          />
        )}
        <Select
          name="Operator of the map"
          value={sweep.intervention}
          title={lens.map.value?.operator}
          options={operatorsOf(sources.length > 0 ? OPERATORS : ALONE, sweep.intervention)}
          {...to((intervention) => ({ ...sweep, intervention }))}
        />
        {sources.length > 1 && (
          <Select
            name="Source of the map"
            value={sweep.source ?? ""}
            options={sources.map((name) => ({ value: name, text: `⟵ ${name}` }))}
            {...to((source) => ({ ...sweep, source }))}
          />
        )}
      </span>
      {metric && (
        <span class="vene-tool-group">
          <Select
            name="Metric"
            title={`${metric.formula}\n${metric.about}`}
            value={read ? `lens ${read}` : metric.name}
            options={[
              ...lens.metrics.value
                .filter((one) => sources.length > 0 || !one.of_source || one === metric)
                .map(({ name, label, about }) => ({ value: name, text: label, title: about })),
              ...lensOptions(app),
            ]}
            onChoose={(name) => {
              const [, run] = name.split("lens ");
              reading.show((run as LensOf) ?? null);
              if (!run) lens.show(name as MetricName);
            }}
          />
          {(metric.of_target || read) && (
            <TargetField app={app} which="target" name="Target token" />
          )}
          {metric.of_pair && !read && (
            <>
              vs
              <TargetField app={app} which="other" name="Second token" />
            </>
          )}
        </span>
      )}
    </span>
  );
}

/** A choice of the menu of heads: `2` of every layer, `layer 3`, `position 4`. */
function headsOf({ head, layer, position }: SweepChoice, last: number): string {
  if (head !== "all") return String(head ?? 0);
  return layer === null ? `position ${position ?? last}` : `layer ${layer}`;
}

const ESTIMATE = "estimate";

/** The map, one of its controls in its place, or its estimate beside it. */
function PlaceboSelect({ app }: { app: App }) {
  const { names, at, show, showEstimate, refusal } = app.use(createPlacebo);
  const estimate = app.use(createEstimate);
  return (
    <Select
      name="Map or control"
      title="The map, the same where it should show nothing (S), or what gradients predict of it"
      value={estimate.isOn.value ? ESTIMATE : String(at.value)}
      options={[
        ...["real map", ...names.value].map((name, n) => ({
          value: String(n),
          text: named(name),
          ...(n > 0 && { group: "Controls" }),
        })),
        {
          value: ESTIMATE,
          text: "beside the estimate by gradients",
          group: "Attribution patching",
        },
      ]}
      refusal={(value) =>
        value === "0" ? null : value === ESTIMATE ? estimate.refusal.value : refusal.value
      }
      onChoose={(value) => (value === ESTIMATE ? showEstimate() : show(Number(value)))}
    />
  );
}

/** The runs whose layers can be read; for other components, why they cannot. */
function lensOptions(app: App): Option[] {
  const { has, isReadable } = app.use(createLens);
  const group = LENS;
  if (!isReadable.value)
    return [
      { value: "lens", text: "reads the residual stream after a block", group, isDisabled: true },
    ];
  return LENSES.filter(has).map((run) => ({ value: `lens ${run}`, text: `lens: ${run}`, group }));
}

function counted(count: number, option: (n: number) => Option): Option[] {
  return Array.from({ length: count }, (_, n) => option(n));
}

/** A map that was asked for in Python may have a registered operator. */
function operatorsOf(names: readonly string[], now: string) {
  return [...new Set([...names, now])].map((value) => ({
    value,
    text: value === "vanilla" ? "patch" : value,
  }));
}
