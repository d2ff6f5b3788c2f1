// What the tile under the pointer (or the keyboard) holds: exact value, tokens, and its sentence.
import { full } from "../format";
import { METRICS } from "../metrics";
import type { State } from "../state";
import { targetOf } from "./MapPanel";

export function Readout({ state }: { state: State }) {
  const tile = state.hover.value;
  const scene = state.scene.value;
  const map = state.map.value;
  if (!tile || !scene) {
    return (
      <div class="vene-readout vene-hint">
        <p>
          {map === null && Object.keys(scene?.sources ?? {}).length === 0
            ? "Add a source prompt to fill the map."
            : "Point at a tile to read it. Click: this slot alone. Shift: add to the group. Alt: a new group."}
        </p>
      </div>
    );
  }
  const { layer, position } = tile;
  const cell = map?.cells.find((found) => found.layer === layer && found.position === position);
  const place = state.place(tile);
  const base = scene.base[position];
  const from = scene.sources[place.source ?? ""]?.[place.source_position];
  const metric = METRICS[state.metric.value];
  const target = map?.targets[targetOf(state)];
  const name = metric.of(target?.label ?? "token");
  return (
    <div class="vene-readout">
      <p class="vene-readout-value">
        <span>
          layer {layer} · {position} <span class="vene-token">{base?.label}</span>
          <span class="vene-dim"> id {base?.id}</span>
          {from && (
            <>
              {" "}
              ⟵ {place.source_position} <span class="vene-token">{from.label}</span>
              <span class="vene-dim"> id {from.id}</span>
            </>
          )}
        </span>
        {cell && map && (
          <span class="vene-number">
            {name} = {full(metric.value(cell, targetOf(state), map.targets))}
            {metric.unit && ` ${metric.unit}`}
            {metric.needsTarget && target && <span class="vene-dim"> id {target.token_id}</span>}
          </span>
        )}
      </p>
      <p class="vene-readout-sentence">
        {cell?.sentence ?? "This tile has not been computed yet."}
      </p>
    </div>
  );
}
