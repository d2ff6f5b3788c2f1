// What Python sent in real sessions on the built-in model (`tests/helpers/js_fixtures.py`), and
// builders that fit it to other prompts, slots and depths: those numbers belong to another experiment.

import { tokensOf } from "../src/domain/sources";
import type {
  Answer,
  Candidate,
  Cell,
  Contrast,
  DataSet,
  MetricInfo,
  Past,
  Protocol,
  Scene,
  Story,
  Map as Sweep,
  TokenInfo,
} from "../src/kernel/wire";
import answers from "./fixtures/answers.json";
import contrasts from "./fixtures/contrasts.json";
import dataSet from "./fixtures/data_set.json";
import held from "./fixtures/held.json";
import past from "./fixtures/past.json";
import spainItaly from "./fixtures/spain_italy.json";
import story from "./fixtures/story.json";

type Experiment = Scene["experiment"];
type Recorded = Pick<Scene, "experiment" | "slots"> & { answer: Answer };

export type Traits = Omit<
  Protocol,
  | "request"
  | "reply"
  | "figure"
  | "contrast"
  | "past"
  | "story"
  | "data_set"
  | "data_progress"
  | "specification"
  | "placebo"
  | "estimates"
  | "generation"
  | "lens"
  | "attention"
  | "paths"
  | "circuit"
> & {
  steps: object;
  step: number | null;
  picture: object;
  contrast: object;
  past: object;
  data_set: object;
  data_progress: object;
  specification: object;
  placebo: object;
  estimates: object;
  generation: object;
  lens: object;
  attention: object;
  paths: object;
  circuit: object;
};

export const SPAIN = "The capital of Spain is";
export const ITALY = "The capital of Italy is";

/** Spain and Italy, nothing patched. */
const OPENED = spainItaly as unknown as Pick<Traits, "scene" | "map" | "answer" | "status">;
/** Answers of the same prompts with slots, by what is special about them. */
export const ANSWERS = answers as unknown as Record<keyof typeof answers, Recorded>;
export const CONTRASTS = contrasts as unknown as Record<keyof typeof contrasts, Contrast>;
/** One held slot: its answer and map, and the answers of two tiles with it in place. */
export const HELD = held as unknown as {
  alone: Recorded;
  map: Sweep;
  after: Record<keyof typeof held.after, Recorded>;
};
export const PAST = past as unknown as Past;
export const METRICS: MetricInfo[] = OPENED.scene.model.metrics;

const KINDS = OPENED.scene.model.interventions;
const WIDTH = OPENED.scene.slots[0]?.coordinates ?? 128;
const IDS = new Map(
  [...OPENED.scene.base, ...OPENED.scene.sources.flatMap(({ tokens }) => tokens)].map((t) => [
    t.text,
    t.id,
  ]),
);

/** Six pairs of three capitals, with a control. */
export const aDataSet = (): DataSet => copy(dataSet as unknown as DataSet);

/** A copy, so that no test changes another's messages. */
const copy = <T>(value: T): T => structuredClone(value);

export function spainAndItaly(layers = OPENED.scene.model.layers): Traits {
  const scene = makeScene(SPAIN, { italy: ITALY }, layers);
  return {
    scene,
    map: makeMap(scene),
    answer: copy(OPENED.answer),
    picture: {},
    contrast: {},
    past: {},
    data_set: {},
    data_progress: {},
    specification: {},
    placebo: {},
    estimates: {},
    generation: {},
    lens: {},
    attention: {},
    paths: {},
    circuit: {},
    steps: {},
    step: null,
    status: copy(OPENED.status),
  };
}

/** Four steps: the base alone, a question, other prompts, a group. */
export const aStory = (): Story => copy(story as unknown as Story);

// prompts -----------------------------------------------------------------------------------------

export const visible = (text: string) => text.replaceAll(" ", "␣").replaceAll("\n", "↵");

/** One token per word; words that were not recorded get made-up ids. */
export function tokens(prompt: string): TokenInfo[] {
  return (prompt.match(/ ?\S+/g) ?? []).map((text, index) => ({
    index,
    id: IDS.get(text) ?? madeUpId(text),
    text,
    label: visible(text),
  }));
}

const madeUpId = (text: string) =>
  100_000 + [...text].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 50257, 7);

// scenes ------------------------------------------------------------------------------------------

export function makeScene(
  base: string,
  sources: { [name: string]: string },
  layers: number,
): Scene {
  return sceneOf({ base, sources: Object.entries(sources), slots: [] }, layers, 1, null);
}

/** The scene that the kernel sends for an experiment whose positions are integers. */
export function sceneOf(
  experiment: Experiment,
  layers: number,
  revision: number,
  request: string | null,
): Scene {
  const [first = null] = (experiment.sources ?? []).map(([name]) => name);
  const list = (x: unknown) => (Array.isArray(x) ? x : [x]) as number[];
  const kindOf = (name = "vanilla") => KINDS.find((kind) => kind.name === name);
  return {
    ...copy(OPENED.scene),
    revision,
    request,
    model: { ...copy(OPENED.scene.model), layers },
    base: tokens(experiment.base),
    sources: (experiment.sources ?? []).map(([name, text]) => ({
      name,
      tokens: tokens(text),
    })),
    experiment,
    slots: (experiment.slots ?? []).map((slot, index) => ({
      index,
      layer: slot.layer,
      component: slot.component ?? "block_output",
      head: slot.head ?? null,
      source: kindOf(slot.intervention)?.needs_source === false ? null : (slot.source ?? first),
      base_positions: list(slot.position),
      source_positions: list(slot.source_position ?? slot.position),
      target: null,
      intervention: slot.intervention ?? "vanilla",
      strength: slot.strength ?? 1,
      subspace: slot.subspace ?? null,
      dims: null,
      coordinates: kindOf(slot.intervention)?.takes_rank ? (slot.rank ?? WIDTH) : WIDTH,
      partition: (slot.partition ?? null) as { [name: string]: number[] } | null,
      rank: slot.rank ?? null,
      link: slot.link ?? null,
      group: slot.group ?? null,
      skip: slot.skip ?? false,
    })),
  };
}

// maps --------------------------------------------------------------------------------------------

/**
 * The recorded map, its cells spread over the scene's layers and tokens: the country's column where
 * the prompts first differ, that of the last token at the end.
 */
export function makeMap(scene: Scene, done = 1, choice: Partial<Sweep> = {}): Sweep {
  const { layers: count } = scene.model;
  const name = scene.sources[0]?.name ?? null;
  const source = tokensOf(scene.sources, choice.source ?? name) ?? [];
  const first = firstDifference(scene, source);
  const partner = (position: number) => Math.max(0, Math.min(position, source.length - 1));
  const { head = null, component = "block_output", intervention = "vanilla" } = choice;
  const heads = range(scene.model.heads[component] ?? 0);
  const isAll = head === "all";
  // All heads of one layer, or those of all layers at one position.
  const layers = isAll && choice.layer != null ? [choice.layer] : range(count);
  const last = scene.base.length - 1;
  const positions =
    isAll && choice.layer == null
      ? [choice.position ?? last]
      : scene.base.map((token) => token.index);
  const position = isAll && choice.layer == null ? positions[0] : null;
  const rows = layers.length === 1 ? heads.length : count;
  const cells = (isAll ? heads : [head]).flatMap((at) =>
    layers.flatMap((layer) =>
      positions.map((index): Cell => {
        const row = layers.length === 1 ? (at ?? 0) : layer;
        const cell = copy(recordedCell(row, rows, columnOf(scene, index, first)));
        return {
          ...cell,
          ...{ layer, head: at, position: index, source_position: partner(index) },
          idle: cell.idle === "same" && intervention !== "vanilla" ? null : cell.idle,
        };
      }),
    ),
  );
  const kept = Math.round(cells.length * done);
  return {
    ...copy(OPENED.map),
    revision: scene.revision,
    source: name,
    ...choice,
    layers,
    positions,
    position: position ?? null,
    source_positions: positions.map(partner),
    first_difference: first,
    cells: cells.slice(0, kept),
    done: kept,
    total: cells.length,
  };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}

function firstDifference({ base }: Scene, source: TokenInfo[]): number {
  return Math.max(
    0,
    base.findIndex((token, i) => token.id !== source[i]?.id),
  );
}

/** The recorded position that stands for one of another scene. */
function columnOf({ base }: Scene, position: number, first: number): number {
  const { positions, first_difference: country } = OPENED.map;
  if (position === base.length - 1) return positions.length - 1;
  return position < first ? Math.min(position, country - 1) : country;
}

function recordedCell(layer: number, layers: number, position: number): Cell {
  const deep = Math.floor((layer * OPENED.map.layers.length) / layers);
  const last = layer === layers - 1 ? OPENED.map.layers.length - 1 : deep;
  return OPENED.map.cells.find((c) => c.layer === last && c.position === position) as Cell;
}

// answers -----------------------------------------------------------------------------------------

/** The answer to a scene: one patched state has its cell's numbers, several those that were recorded. */
export function makeAnswer(scene: Scene): Answer {
  const live = scene.slots.filter((slot) => !slot.skip);
  const [slot] = live;
  const isGrouped = live.some(({ group }) => group !== null);
  const names = scene.sources.map(({ name }) => name);
  const first = firstDifference(scene, tokensOf(scene.sources, names[0] ?? null) ?? []);
  const position = slot?.base_positions[0] ?? 0;
  const answer: Answer =
    slot === undefined
      ? (scene.slots.length > 0 ? ANSWERS.skipped : OPENED).answer
      : isGrouped
        ? ANSWERS.grouped.answer
        : live.length > 1
          ? ANSWERS.several.answer
          : ofCell(recordedCell(slot.layer, scene.model.layers, columnOf(scene, position, first)));
  return {
    ...copy(answer),
    revision: scene.revision,
    runs: copy(answer.runs).map((run) => ({
      ...run,
      name: run.role === "source" ? (names[0] ?? run.name) : run.name,
      source_runs: run.role === "ungrouped" ? live.length : run.source_runs,
    })),
    receipts: scene.slots.map(({ index, skip, base_positions }) => {
      const isIdle = (base_positions[0] ?? 0) < first;
      const { answer: like } = ANSWERS[skip ? "skipped" : isIdle ? "idle" : "single"];
      return { ...copy(like.receipts[0] as Answer["receipts"][number]), index };
    }),
    scripts: scriptsOf(scene),
  };
}

/** The answer of one patched state, from its cell. */
function ofCell(cell: Cell): Answer {
  const [base, source] = OPENED.answer.runs as [Answer["runs"][number], Answer["runs"][number]];
  const { targets, cells } = OPENED.map;
  // A cell that changes nothing has the ranks of the base.
  const unchanged = cells.find((other) => other.idle !== null) as Cell;
  const likely = new Set([...base.top, ...source.top, ...cell.top].map((c) => c.token_id));
  const rows = targets
    .map((target, i) => ({ ...target, i, p: cell.probabilities[i] as number }))
    .filter(({ token_id }) => likely.has(token_id));
  const most = (p: number[]) => Math.max(...p);
  return {
    ...ANSWERS.single.answer,
    runs: [
      base,
      source,
      { role: "intervened", name: "intervened", top: cell.top as Candidate[], source_runs: 1 },
    ],
    tokens: rows
      .map(({ token_id, label, base: before, source: other, p }) => ({
        token_id,
        label,
        probabilities: [before, other, p],
      }))
      .sort((a, b) => most(b.probabilities) - most(a.probabilities)),
    differences: rows
      .map(({ token_id, label, base: before, p, i }) => ({
        token_id,
        label,
        before,
        after: p,
        kl: p * Math.log(p / before),
        rank_before: unchanged.ranks[i] as number,
        rank_after: cell.ranks[i] as number,
      }))
      .sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before))
      .slice(0, 10),
    sentence: cell.sentence,
    kl: cell.kl,
  };
}

/** The recorded scripts; ours has the scene's slots. */
function scriptsOf({ experiment: { base, slots = [] } }: Scene): Answer["scripts"] {
  const { scripts } = slots.length > 0 ? ANSWERS.single.answer : OPENED.answer;
  const lines = slots.map(({ layer, position, source }) => {
    const from = source == null ? "" : `, source=${JSON.stringify(source)}`;
    return `        vw.Slot(layer=${layer}, position=${JSON.stringify(position)}${from}),`;
  });
  return scripts.map((script) => ({
    ...script,
    text:
      script.text
        ?.replace(/ {8}vw\.Slot\(.*\),/, () => lines.join("\n"))
        .replaceAll(JSON.stringify(SPAIN), () => JSON.stringify(base)) ?? null,
  }));
}
