// What the map sweeps (component, head, source) and what it shows of it (metric, token).
import { words } from "../format";
import { METRICS, type MetricName } from "../metrics";
import type { State } from "../state";
import { Select } from "./controls";
import { targetOf } from "./MapPanel";

export function MapTools({ state }: { state: State }) {
  const scene = state.scene.value;
  if (!scene) return null;
  const sweep = state.sweep.value;
  const heads = scene.model.heads[sweep.component];
  const sources = Object.keys(scene.experiment.sources ?? {});
  const metric = METRICS[state.metric.value];
  const targets = state.map.value?.targets ?? [];
  return (
    <span class="vene-map-tools">
      <span class="vene-tool-group">
        <Select
          name="Component of the map"
          value={sweep.component}
          options={scene.model.components.map((name) => ({ value: name, text: words(name) }))}
          onChoose={(component) => {
            const count = scene.model.heads[component];
            const head = count === undefined ? null : Math.min(sweep.head ?? 0, count - 1);
            state.chooseSweep({ ...sweep, component, head });
          }}
        />
        {heads !== undefined && (
          <Select
            name="Head of the map"
            value={String(sweep.head ?? 0)}
            options={Array.from({ length: heads }, (_, i) => ({
              value: String(i),
              text: `head ${i}`,
            }))}
            onChoose={(head) => state.chooseSweep({ ...sweep, head: Number(head) })}
          />
        )}
        {sources.length > 1 && (
          <Select
            name="Source of the map"
            value={sweep.source ?? ""}
            options={sources.map((name) => ({ value: name, text: `⟵ ${name}` }))}
            onChoose={(source) => state.chooseSweep({ ...sweep, source })}
          />
        )}
      </span>
      <span class="vene-tool-group">
        <Select
          name="Metric"
          title={metric.formula}
          value={metric.name}
          options={Object.values(METRICS).map(({ name, title }) => ({ value: name, text: title }))}
          onChoose={(name) => {
            state.metric.value = name as MetricName;
          }}
        />
        {metric.needsTarget && targets.length > 0 && (
          <Select
            name="Token"
            value={String(targets[targetOf(state)]?.token_id)}
            options={targets.map(({ token_id, label }) => ({
              value: String(token_id),
              text: label,
            }))}
            onChoose={(id) => {
              state.target.value = Number(id);
            }}
          />
        )}
      </span>
    </span>
  );
}
