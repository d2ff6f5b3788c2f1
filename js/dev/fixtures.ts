// Made-up but consistent traits for looking at the screen and for tests: no model was run for them.
import type {
  Answer,
  Candidate,
  Cell,
  InterventionInfo,
  MetricInfo,
  Protocol,
  Scene,
  Map as Sweep,
  TokenInfo,
} from "../src/kernel/wire";

type Experiment = Scene["experiment"];

const VOCABULARY = [
  " Madrid",
  " Rome",
  " the",
  " Barcelona",
  " Milan",
  " a",
  " located",
  " in",
  " Paris",
  " called",
  " Naples",
  " not",
  " Lisbon",
  " one",
  " Italy",
  " Spain",
  " Berlin",
  " known",
  "\n",
  ",",
];

/** Operators as the kernel lists them: name, formula, and which of their properties hold. */
const KINDS: InterventionInfo[] = (
  [
    ["vanilla", "new = s", "source"],
    ["addition", "new = b + s", "source"],
    ["subtraction", "new = b − s", "source"],
    ["zero", "new = 0", ""],
    ["mean", "new = mean over the given prompts", ""],
    ["noise", "new = b + scale · ε", ""],
    ["collect", "new = b", ""],
    ["rotated_space", "new = [b R | s R] Rᵀ", "source rotated weights"],
    ["low_rank_rotated_space", "new = b + (s R − b R) Rᵀ", "source rotated weights rank needed"],
    ["sigmoid_mask", "new = (1 − σ(m/T)) b + σ(m/T) s", "source weights"],
    ["boundless_rotated_space", "new = ((1 − w) b R + w s R) Rᵀ", "source rotated weights"],
    ["pca_rotated_space", "new = [z(b) | z(s)] C · std + mean", "source rotated weights rank"],
  ] as const
).map(([name, formula, has]) => ({
  name,
  formula,
  about: `What ${name} is for.`,
  needs_source: has.includes("source"),
  rotated: has.includes("rotated"),
  needs_rank: has.includes("needed"),
  takes_rank: has.includes("rank"),
  has_weights: has.includes("weights"),
}));

/** Metrics as `vene_widgets.tables.metrics` has them. */
export const METRICS: MetricInfo[] = (
  [
    ["probability", "P(t)", "", "P(t) after the change", "amount", 0, 1],
    ["delta", "ΔP(t)", "", "P(t) after the change − P(t) in the base run", "difference", -1, 1],
    [
      "log_ratio",
      "Δ ln P(t)",
      "nats",
      "ln P(t) after the change − ln P(t) in the base run",
      "difference",
      null,
      null,
    ],
    [
      "logit_difference",
      "logit(t) − logit(u)",
      "logits",
      "ln (P(t) / P(u)) after the change",
      "difference",
      null,
      null,
    ],
    [
      "kl",
      "KL(cell ‖ base)",
      "nats",
      "Σ P after · ln (P after / P base) over the vocabulary",
      "amount",
      0,
      null,
    ],
    [
      "rank",
      "Rank of t",
      "1 = most likely",
      "1 + how many tokens are more likely than t",
      "order",
      1,
      null,
    ],
  ] as const
).map(([name, title, unit, formula, scale, low, high]) => ({
  name,
  title,
  unit,
  formula,
  about: `What ${name} is for.`,
  scale,
  low,
  high,
  of_target: name !== "kl",
  of_pair: name === "logit_difference",
}));

const kindOf = (slot: { intervention?: string }) =>
  KINDS.find((kind) => kind.name === (slot.intervention ?? "vanilla"));

export const visible = (text: string) => text.replaceAll(" ", "␣").replaceAll("\n", "↵");

export function tokens(prompt: string): TokenInfo[] {
  return (prompt.match(/ ?\S+/g) ?? []).map((text, index) => ({
    index,
    id: hash(text),
    text,
    label: visible(text),
  }));
}

const hash = (text: string) =>
  [...text].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 50257, 7);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** A distribution that leans towards the base's answer (0) or the source's (1). */
function logitsAt(lean: number): number[] {
  return VOCABULARY.map((text, i) => {
    const tail = 1.5 - 0.35 * i + 0.3 * Math.sin(hash(text) + 2 * lean);
    if (text === " Madrid") return 7.5 * (1 - lean) + 0.2;
    if (text === " Rome") return 7.3 * lean + 0.1;
    if (text === " Barcelona") return 3.4 * (1 - lean);
    if (text === " Milan") return 3.6 * lean;
    return tail;
  });
}

function distribution(lean: number): Candidate[] {
  const logits = logitsAt(lean);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  return VOCABULARY.map((text, i) => ({
    token_id: hash(text),
    label: visible(text),
    logit: logits[i] as number,
    probability: Math.exp(logits[i] as number) / total,
    rank: 0,
  }))
    .sort((a, b) => b.logit - a.logit)
    .map((candidate, i) => ({ ...candidate, rank: i + 1 }));
}

const p = (run: Candidate[], id: number) => run.find((c) => c.token_id === id)?.probability ?? 0;
const percent = (x: number) => `${(100 * x).toFixed(1)} %`;

export function makeScene(
  base: string,
  sources: { [name: string]: string },
  layers: number,
): Scene {
  return sceneOf({ base, sources, slots: [] }, layers, 1, null);
}

export function sceneOf(
  experiment: Experiment,
  layers: number,
  revision: number,
  request: string | null,
): Scene {
  const names = Object.keys(experiment.sources ?? {});
  const list = (x: unknown) => (Array.isArray(x) ? x : [x]) as number[];
  return {
    revision,
    request,
    model: {
      name: "capitals",
      layers,
      heads: {
        head_attention_value_output: 4,
        head_query_output: 4,
        head_key_output: 4,
        head_value_output: 4,
      },
      components: [
        "block_input",
        "block_output",
        "mlp_input",
        "mlp_activation",
        "mlp_output",
        "attention_input",
        "attention_output",
        "attention_value_output",
        "query_output",
        "key_output",
        "value_output",
        "head_attention_value_output",
        "head_query_output",
        "head_key_output",
        "head_value_output",
      ],
      interventions: KINDS,
      metrics: METRICS,
      device: "cpu",
      dtype: "float32",
    },
    base: tokens(experiment.base),
    sources: Object.fromEntries(
      Object.entries(experiment.sources ?? {}).map(([name, text]) => [name, tokens(text)]),
    ),
    experiment,
    slots: (experiment.slots ?? []).map((slot, index) => ({
      index,
      layer: slot.layer,
      component: slot.component ?? "block_output",
      head: slot.head ?? null,
      source: kindOf(slot)?.needs_source === false ? null : (slot.source ?? names[0] ?? null),
      base_positions: list(slot.position),
      source_positions: list(slot.source_position ?? slot.position),
      target: null,
      intervention: slot.intervention ?? "vanilla",
      strength: slot.strength ?? 1,
      subspace: slot.subspace ?? null,
      dims: null,
      coordinates: kindOf(slot)?.takes_rank ? (slot.rank ?? 96) : 96,
      partition: (slot.partition ?? null) as { [name: string]: number[] } | null,
      rank: slot.rank ?? null,
      link: slot.link ?? null,
      group: slot.group ?? null,
      skip: slot.skip ?? false,
    })),
  };
}

/** How far a swap at a place moves the answer: the subject early, the last token late. */
function leanAt(
  layer: number,
  position: number,
  layers: number,
  first: number,
  last: number,
): number {
  const depth = (layer + 0.5) / layers;
  const wobble = 0.03 * Math.sin(7 * layer + 3 * position);
  if (position < first || (layer === layers - 1 && position < last)) return 0;
  if (position === first) return sigmoid(14 * (0.48 - depth)) + wobble;
  if (position === last) return sigmoid(14 * (depth - 0.5)) + wobble;
  return 0.06 + wobble;
}

export function makeMap(scene: Scene, done = 1, choice: Partial<Sweep> = {}): Sweep {
  const { layers: count } = scene.model;
  const [name = null] = Object.keys(scene.sources);
  const source = scene.sources[choice.source ?? name ?? ""] ?? [];
  const first = scene.base.findIndex((token, i) => token.id !== source[i]?.id);
  const last = scene.base.length - 1;
  const [base, other] = [distribution(0), distribution(1)];
  const targets = VOCABULARY.map((text) => ({
    token_id: hash(text),
    label: visible(text),
    base: p(base, hash(text)),
    source: p(other, hash(text)),
    request: null,
  }));
  const cells: Cell[] = [];
  for (let layer = 0; layer < count; layer++) {
    for (const { index } of scene.base) {
      const after = distribution(leanAt(layer, index, count, first, last));
      const kl = after.reduce(
        (sum, c) => sum + c.probability * Math.log(c.probability / p(base, c.token_id)),
        0,
      );
      const probabilities = targets.map((target) => p(after, target.token_id));
      const [madrid, rome] = probabilities as [number, number];
      const isCausal = index >= first && layer === count - 1 && index < last;
      cells.push({
        layer,
        position: index,
        source_position: Math.min(index, source.length - 1),
        top: after.slice(0, 10),
        probabilities,
        ranks: targets.map(
          (target) => after.find((c) => c.token_id === target.token_id)?.rank ?? 999,
        ),
        kl: Math.max(0, kl),
        idle: index < first ? "same" : isCausal ? "causal" : null,
        sentence:
          index < first
            ? `Base and source agree up to and including “${scene.base[first - 1]?.text.trim()}”, so the states there are the same and copying changes nothing.`
            : isCausal
              ? `Block ${layer} is the last one, and what it makes of “${scene.base[index]?.text.trim()}” reaches no later position: nothing done here can change the answer.`
              : `Copying “${source[index]?.text.trim()}” into “${scene.base[index]?.text.trim()}” after block ${layer} ${rome > madrid ? "moved the answer from “Madrid” to “Rome”" : "left the answer at “Madrid”"}: “Rome” ${percent(targets[1]?.base ?? 0)} → ${percent(rome)}, “Madrid” ${percent(targets[0]?.base ?? 0)} → ${percent(madrid)}.`,
      });
    }
  }
  const kept = Math.round(cells.length * done);
  return {
    revision: scene.revision,
    source: name,
    component: "block_output",
    head: null,
    ...choice,
    layers: Array.from({ length: count }, (_, i) => i),
    positions: scene.base.map((token) => token.index),
    source_positions: scene.base.map((token) => Math.min(token.index, source.length - 1)),
    first_difference: Math.max(0, first),
    targets,
    cells: cells.slice(0, kept),
    done: kept,
    total: cells.length,
    slow: null,
  };
}

function makeScripts({ experiment }: Scene): Answer["scripts"] {
  const slots = (experiment.slots ?? []).map(
    (slot) => `        vw.Slot(layer=${slot.layer}, position=${slot.position}),`,
  );
  const text = [
    "import vene_widgets as vw",
    "",
    'model = vw.load("capitals", device="cpu")',
    "experiment = vw.Experiment(",
    `    base=${JSON.stringify(experiment.base)},`,
    "    slots=[",
    ...slots,
    "    ],",
    ")",
    "run = vw.run(model, experiment)",
    "logits = run.logits",
    "",
  ].join("\n");
  return [
    { face: "vene_widgets", text, why: null },
    { face: "intervenable", text: text.replace("vw.run", "intervenable"), why: null },
    { face: "pyvene", text: null, why: "slots[0] has strength 0.5, for which pyvene has no word." },
  ];
}

export function makeAnswer(scene: Scene): Answer {
  const map = makeMap(scene);
  const live = scene.slots.filter((slot) => !slot.skip);
  const lean = Math.min(
    1,
    live.reduce((sum, slot) => {
      const at = slot.base_positions[0] ?? 0;
      const last = scene.base.length - 1;
      return sum + leanAt(slot.layer, at, scene.model.layers, map.first_difference, last);
    }, 0),
  );
  const grouped = live.some((slot) => slot.group !== null);
  const columns: { role: Answer["runs"][number]["role"]; lean: number; runs: number }[] = [
    { role: "base", lean: 0, runs: 0 },
    { role: "source", lean: 1, runs: 0 },
  ];
  if (grouped) columns.push({ role: "ungrouped", lean: lean * 0.92, runs: live.length });
  if (live.length) columns.push({ role: grouped ? "grouped" : "intervened", lean, runs: 1 });
  const full = columns.map((column) => distribution(column.lean));
  const ids = [...new Set(full.flatMap((run) => run.slice(0, 10).map((c) => c.token_id)))];
  const labels = new Map(full.flat().map((c) => [c.token_id, c.label]));
  const [base, after] = [full[0] as Candidate[], full.at(-1) as Candidate[]];
  const rank = (run: Candidate[], id: number) => run.find((c) => c.token_id === id)?.rank ?? 0;
  return {
    revision: scene.revision,
    label: "exact",
    scripts: makeScripts(scene),
    milliseconds: 38.2,
    runs: columns.map((column, i) => ({
      role: column.role,
      name: column.role === "source" ? (map.source ?? "source") : column.role,
      top: (full[i] as Candidate[]).slice(0, 10),
      source_runs: column.runs,
    })),
    tokens: ids
      .map((token_id) => ({
        token_id,
        label: labels.get(token_id) ?? "",
        probabilities: full.map((run) => p(run, token_id)),
      }))
      .sort((a, b) => Math.max(...b.probabilities) - Math.max(...a.probabilities)),
    differences: live.length
      ? ids
          .map((id) => ({
            token_id: id,
            label: labels.get(id) ?? "",
            before: p(base, id),
            after: p(after, id),
            kl: p(after, id) * Math.log(p(after, id) / p(base, id)),
            rank_before: rank(base, id),
            rank_after: rank(after, id),
          }))
          .sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before))
      : [],
    verdicts: grouped
      ? [
          {
            left: "grouped",
            right: "ungrouped",
            verdict: live.length > 1 ? "different" : "bit-equal",
            max_abs: live.length > 1 ? 0.41318 : 0,
            tolerance: 1e-5,
            first_divergence: live.length > 1 ? 2 : null,
            scope: "all positions",
            words:
              live.length > 1
                ? "The runs part at layer 2: the largest logit difference is 0.413."
                : "Every logit is the same, bit for bit.",
          },
        ]
      : [],
    receipts: scene.slots.map((slot) => ({
      index: slot.index,
      fired: !slot.skip && (slot.base_positions[0] ?? 0) >= map.first_difference,
      skipped: slot.skip,
      idle: !slot.skip && (slot.base_positions[0] ?? 0) < map.first_difference,
      reason: slot.skip
        ? ("skipped" as const)
        : (slot.base_positions[0] ?? 0) >= map.first_difference
          ? ("changed" as const)
          : ("prefix" as const),
      shape: slot.skip ? null : [1, scene.base.length, 96],
      others_equal: true,
      rows: slot.skip ? 0 : 1,
      size: slot.skip ? 0 : 12.31,
      words: slot.skip
        ? "skipped"
        : (slot.base_positions[0] ?? 0) >= map.first_difference
          ? "changed 1 position by 12.31"
          : "wrote what was there already: base and source agree at this position",
    })),
    sentence:
      live.length === 1
        ? (map.cells.find(
            (c) => c.layer === live[0]?.layer && c.position === live[0]?.base_positions[0],
          )?.sentence ?? "")
        : live.length
          ? `Running ${live.length} slots together moved the answer from “Madrid” to “Rome”: “Rome” ${percent(p(base, hash(" Rome")))} → ${percent(p(after, hash(" Rome")))}, “Madrid” ${percent(p(base, hash(" Madrid")))} → ${percent(p(after, hash(" Madrid")))}.`
          : `Nothing is swapped yet: the base answers “Madrid” (${percent(base[0]?.probability ?? 0)}). Click a tile.`,
  };
}

export const SPAIN = "The capital of Spain is";
export const ITALY = "The capital of Italy is";

export type Traits = Omit<
  Protocol,
  "request" | "reply" | "figure" | "contrast" | "past" | "story"
> & {
  steps: object;
  step: number | null;
  picture: object;
  contrast: object;
  past: object;
};

export function spainAndItaly(layers = 6): Traits {
  const scene = makeScene(SPAIN, { italy: ITALY }, layers);
  return {
    scene,
    map: makeMap(scene),
    answer: makeAnswer(scene),
    picture: {},
    contrast: {},
    past: {},
    steps: {},
    step: null,
    status: { busy: null, progress: null, error: null },
  };
}
