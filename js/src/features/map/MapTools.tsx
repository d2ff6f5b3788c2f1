// What the map sweeps (component, head, source) and what it shows of it (metric, tokens).

import type { State } from "../../app/state";
import { words } from "../../domain/format";
import type { MetricName } from "../../domain/metrics";
import { Select } from "../../ui/controls";
import { TargetField } from "./TargetField";

export function MapTools({ state }: { state: State }) {
  const scene = state.scene.value;
  const metric = state.lens.metric.value;
  if (!scene) return null;
  const sweep = state.sweep.value;
  const heads = scene.model.heads[sweep.component];
  const sources = Object.keys(scene.experiment.sources ?? {});
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
      {metric && (
        <span class="vene-tool-group">
          <Select
            name="Metric"
            title={`${metric.formula}\n${metric.about}`}
            value={metric.name}
            options={state.lens.metrics.value.map(({ name, title, about }) => ({
              value: name,
              text: title,
              title: about,
            }))}
            onChoose={(name) => state.lens.show(name as MetricName)}
          />
          {metric.of_target && (
            <TargetField state={state} which="target" letter="t" name="Target token" />
          )}
          {metric.of_pair && (
            <TargetField state={state} which="other" letter="u" name="Second token" />
          )}
        </span>
      )}
    </span>
  );
}
