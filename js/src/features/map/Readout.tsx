// What the tile under the pointer (or the keyboard) holds: exact value, tokens, and its sentence.

import type { App } from "../../app/app";
import { SHORT_WAIT, waitAt } from "../../domain/estimate";
import { full, inPercent } from "../../domain/format";
import { heldWords } from "../../domain/held";
import { readingOf, spell, valueText } from "../../domain/metrics";
import { MOST } from "../../domain/paint";
import { tokensOf } from "../../domain/sources";
import { isTouch } from "../../ui/touch";
import { createEstimate } from "../estimate/state";
import { createLens } from "../lens/state";
import { createPlacebo, named } from "../placebo/state";
import { createSpecification } from "../specification/state";
import { createStory } from "../story/state";
import { createMap } from "./state";
import { createSweep } from "./sweep";

const GROUPS = "Drag: a group. Shift: add to the group. Alt: a new group. ";

const HALVES =
  "Left half: the exact value. Right half: what gradients predict. Framed: an effect that they miss.";

export function Readout({ app }: { app: App }) {
  const lens = app.use(createMap);
  const tile = lens.hover.value;
  const scene = app.use(createStory).scene.value;
  const metric = lens.metric.value;
  const held = heldWords(lens.map.value);
  const estimated = app.use(createEstimate).found.value;
  const alone = held ? "and the held ones" : "alone";
  const painted = lens.strokeTiles.value.length;
  if (painted > 0) {
    return (
      <div class="vene-readout" role="status">
        <p class="vene-readout-value">
          {painted} {painted === 1 ? "slot" : "slots in one group"}
          {painted === MOST && ` (${MOST} are the most)`}
        </p>
        <p class="vene-readout-sentence">
          Let go or press Enter to apply, Escape to leave the experiment as it is
        </p>
      </div>
    );
  }
  if (!tile || !scene || !metric) {
    return (
      <div class="vene-readout vene-hint">
        <p>
          {app.use(createPlacebo).about.value ??
            (estimated && (estimated.note ?? HALVES)) ??
            (isTouch()
              ? `Tap a tile: this slot ${alone}. Tap a header: pin.`
              : `Hover to read. Click: this slot ${alone}. ${app.kernel.offline ? "" : GROUPS}P or a header: pin.`)}
        </p>
      </div>
    );
  }
  const cell = lens.cellAt(tile);
  const place = app.use(createSweep).place(tile);
  const { position } = place;
  const base = scene.base[position];
  const from = tokensOf(scene.sources, place.source)?.[place.source_position];
  const found = app.use(createSpecification).at(place);
  const { target, other } = lens.aim.value;
  const targets = lens.targets.value;
  const reading = app.use(createLens);
  const run = reading.of.value;
  const best = reading.at(tile);
  const placebo = app.use(createPlacebo);
  const own = readingOf(metric, cell, lens.aim.value, targets);
  const instead = own === null ? own : placebo.valueAt(tile);
  const value = instead === undefined || instead === null ? own : instead;
  const estimate =
    !run && cell?.idle === null && own !== null
      ? app.use(createEstimate).values.value[placebo.indexOf(tile)]
      : undefined;
  const controls = !run && cell?.idle === null && own !== null && placebo.inWords(tile, metric);
  return (
    <div class="vene-readout">
      <p class="vene-readout-value">
        <span class="vene-readout-place">
          <span>
            layer {place.layer} · {lens.map.value?.head === "all" && `head ${place.head} · `}
            {position} <span class="vene-token">{base?.label}</span>
            {from && (
              <>
                {" "}
                ⟵ {place.source_position} <span class="vene-token">{from.label}</span>
              </>
            )}
          </span>
          <span class="vene-dim">
            id {base?.id}
            {from && ` ⟵ ${from.id}`}
          </span>
        </span>
        {best && (
          <span class="vene-readout-reading vene-number" title={full(best.probability)}>
            <span class="vene-readout-metric">
              lens reads <span class="vene-token">{best.label}</span>
            </span>
            <span class="vene-readout-number"> = {inPercent(best.probability)}</span>
          </span>
        )}
        {!run && value !== null && (
          <span
            class="vene-readout-reading vene-number"
            title={
              held ? `${full(value)}, compared with the run of the held slots alone` : full(value)
            }
          >
            <span class="vene-readout-metric">
              {placebo.shown.value
                ? named(placebo.shown.value)
                : spell(metric.title, targets[target]?.label, targets[other]?.label)}
            </span>
            <span class="vene-readout-number"> = {valueText(metric, value)}</span>
          </span>
        )}
        <Wait app={app} layer={place.layer} />
      </p>
      <p
        class="vene-readout-sentence"
        title={run ? best?.followed : [cell?.sentence, controls].filter(Boolean).join(" ")}
      >
        {run &&
          (best
            ? `${best.other === null ? "" : `Base: ${best.other}. `}${best.followed}.`
            : "Not read yet.")}
        {estimate !== undefined && `Estimated by gradients: ${valueText(metric, estimate)}. `}
        {!run &&
          cell?.idle === null &&
          placebo.isWithin(tile) &&
          "Within the range of the controls. "}
        {!run &&
          ((placebo.shown.value && controls) ||
            (app.use(createSweep).otherPair(tile) ??
              cell?.sentence ??
              "This tile has not been computed yet."))}
        {!placebo.shown.value && controls && ` ${controls}`}
        {!run &&
          found &&
          ` Is it real? Same sign in ${found.agreed} of ${found.count} specifications.`}
      </p>
    </div>
  );
}

/** How long the exact answer will take, where that is long enough to be worth knowing before. */
function Wait({ app, layer }: { app: App; layer: number }) {
  const { map, pass: newest } = app.use(createMap);
  const pass = newest.value;
  const layers = app.use(createStory).scene.value?.model.layers ?? 1;
  if (pass === null) return null;
  const wait = waitAt(layer, pass, layers, Boolean(map.value?.slow));
  if (wait <= SHORT_WAIT) return null;
  return (
    <span class="vene-readout-wait">Exact answer in about {(wait / 1000).toPrecision(2)} s.</span>
  );
}
