// What the map sweeps (component, head, source) and what it shows of it (metric, tokens).

import type { App } from "../../app/app";
import { words } from "../../domain/format";
import type { MetricName } from "../../domain/metrics";
import { Select } from "../../ui/controls";
import { createStory } from "../story/state";
import { createMap } from "./state";
import { createSweep } from "./sweep";
import { TargetField } from "./TargetField";

export function MapTools({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const metric = app.use(createMap).metric.value;
  if (!scene) return null;
  const sweep = app.use(createSweep).choice.value;
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
            app.use(createSweep).choose({ ...sweep, component, head });
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
            onChoose={(head) => app.use(createSweep).choose({ ...sweep, head: Number(head) })}
          />
        )}
        {sources.length > 1 && (
          <Select
            name="Source of the map"
            value={sweep.source ?? ""}
            options={sources.map((name) => ({ value: name, text: `⟵ ${name}` }))}
            onChoose={(source) => app.use(createSweep).choose({ ...sweep, source })}
          />
        )}
      </span>
      {metric && (
        <span class="vene-tool-group">
          <Select
            name="Metric"
            title={`${metric.formula}\n${metric.about}`}
            value={metric.name}
            options={app.use(createMap).metrics.value.map(({ name, title, about }) => ({
              value: name,
              text: title,
              title: about,
            }))}
            onChoose={(name) => app.use(createMap).show(name as MetricName)}
          />
          {metric.of_target && (
            <TargetField app={app} which="target" letter="t" name="Target token" />
          )}
          {metric.of_pair && <TargetField app={app} which="other" letter="u" name="Second token" />}
        </span>
      )}
    </span>
  );
}
