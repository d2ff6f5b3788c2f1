// Where a slot acts and what it reads there: pairs of base and source position.

import type { App } from "../../app/app";
import { ExperimentSelect } from "../../app/ExperimentSelect";
import { createExperiment } from "../../app/experiment";
import {
  isEdge,
  type Plain,
  positionsOf,
  type Slot,
  setSource,
  sourcePositionsOf,
} from "../../domain/experiments";
import { kindOf, targetOf } from "../../domain/operators";
import { pairsOf, setPairs } from "../../domain/prompts";
import { namesOf, tokensOf } from "../../domain/sources";
import type { Scene, TokenInfo } from "../../kernel/wire";
import { Button, IconButton, type Option } from "../../ui/controls";
import { CrossIcon, PlusIcon } from "../../ui/icons";
import { createSweep } from "../map/sweep";
import { createPairing } from "../prompts/pairing";

interface Props {
  app: App;
  scene: Scene;
  experiment: Plain;
  slot: Slot;
  index: number;
}

export function Route({ app, scene, experiment, slot, index }: Props) {
  const kinds = app.use(createExperiment).kinds.value;
  const reads = (kindOf(kinds, slot.intervention)?.needs_source ?? true) && slot.source !== null;
  const target = targetOf(experiment, slot, kinds);
  const tokens = target === null ? scene.base : (tokensOf(scene.sources, target) ?? []);
  const sourceTokens = tokensOf(scene.sources, slot.source) ?? [];
  const names = namesOf(experiment.sources);
  const pairs = pairsOf(slot);
  const taken = pairs.map(([base]) => base);
  const { commit, refusal } = app.use(createExperiment);
  const paired = (next: [number, number][]) => setPairs(experiment, index, next);
  const partner = (position: number) =>
    target === null
      ? app.use(createSweep).partner(position)
      : Math.min(position, sourceTokens.length - 1);
  const replaced = (n: number, pair: [number, number]) =>
    paired(pairs.map((old, i) => (i === n ? pair : old)));
  const without = (n: number) => paired(pairs.filter((_, i) => i !== n));
  const next = tokens.find((token) => !taken.includes(token.index))?.index;
  const longer = next === undefined ? null : paired([...pairs, [next, partner(next)]]);
  if (isEdge(slot)) {
    const named = (list: number[]) => list.map((n) => `${n} ${tokens[n]?.label ?? ""}`).join(", ");
    return (
      <span>
        query {named(positionsOf(slot))} → key {named(sourcePositionsOf(slot))}{" "}
        <span class="vene-dim">others: in the tab Attention</span>
      </span>
    );
  }
  return (
    <>
      {pairs.map(([base, source], n) => {
        const of = `of slot ${index}${n === 0 ? "" : `, pair ${n + 1}`}`;
        return (
          <span class="vene-pair" key={base}>
            <PositionSelect
              app={app}
              name={`Base position ${of}`}
              tokens={tokens}
              position={base}
              taken={taken}
              next={(position) => replaced(n, [position, partner(position)])}
            />
            {reads && (
              <>
                <span class="vene-arrow" aria-hidden="true">
                  ⟵
                </span>
                <PositionSelect
                  app={app}
                  name={`Source position ${of}`}
                  tokens={sourceTokens}
                  position={source}
                  next={(position) => replaced(n, [base, position])}
                />
              </>
            )}
            {pairs.length > 1 && (
              <IconButton
                name={`Take position ${base} out of slot ${index}`}
                refusal={refusal(without(n))}
                onPress={() => commit(without(n))}
              >
                <CrossIcon />
              </IconButton>
            )}
          </span>
        );
      })}
      {reads && names.length > 1 && slot.source !== null && (
        <ExperimentSelect
          app={app}
          name={`Source of slot ${index}`}
          value={slot.source}
          options={names.map((name) => ({ value: name, text: name }))}
          next={(name) => {
            // Positions that the other prompt has not got are paired anew, so that it is valid at once.
            const { length } = tokensOf(scene.sources, name) ?? [];
            const fit = ([base, source]: [number, number]): [number, number] => [
              base,
              length === undefined || source < length
                ? source
                : Math.min(app.use(createPairing).of(name)[base] ?? source, length - 1),
            ];
            return setPairs(setSource(experiment, index, name), index, pairs.map(fit));
          }}
        />
      )}
      {longer && (
        <Button
          look="vene-quiet-button"
          aria-label={`Add a position to slot ${index}`}
          refusal={refusal(longer)}
          onClick={() => commit(longer)}
        >
          <PlusIcon /> position
        </Button>
      )}
    </>
  );
}

interface PositionProps {
  app: App;
  name: string;
  tokens: TokenInfo[];
  position: number;
  /** Positions that are spoken for. */
  taken?: number[];
  next(position: number): Plain;
}

function PositionSelect({ app, name, tokens, position, taken = [], next }: PositionProps) {
  const options: Option[] = tokens
    .filter((token) => token.index === position || !taken.includes(token.index))
    .map((token) => ({ value: String(token.index), text: `${token.index} ${token.label}` }));
  const value = String(position);
  // The prompt may have become shorter a moment ago.
  if (!options.some((option) => option.value === value)) options.unshift({ value, text: value });
  return (
    <ExperimentSelect
      app={app}
      name={name}
      value={value}
      options={options}
      next={(chosen) => next(Number(chosen))}
    />
  );
}
