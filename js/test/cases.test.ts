// Rules that Python implements too: both halves read the same cases, `tests/cases/*.json`.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { METRICS, spainAndItaly } from "../dev/fixtures";
import { RAMPS, type Theme } from "../src/domain/colour";
import { measure } from "../src/domain/controls";
import { fromScene, isSame, keyOf, type Plain, toPlain } from "../src/domain/experiments";
import { componentWords, inPercent, nothingLive, points, site, three } from "../src/domain/format";
import { limitOf, readingOf } from "../src/domain/metrics";
import { setSeed, twinsOf, unlink } from "../src/domain/operators";
import { type Known, tablesOf } from "../src/domain/preview";
import { align } from "../src/domain/prompts";
import { sidesOf } from "../src/domain/sides";
import { read } from "../src/features/map/state";
import type {
  Cell,
  OrderedExperiment as Experiment,
  MetricInfo,
  PastEntry,
  Placebo,
  Scene,
  Map as Sweep,
} from "../src/kernel/wire";

interface Case<Input, Expected> {
  name: string;
  input: Input;
  expected: Expected;
  /** Of a label: whether it can be typed. */
  typed?: boolean;
}

function cases<Input, Expected>(
  name: string,
  check: (input: Input, expected: Expected, found: Case<Input, Expected>) => void,
): void {
  const all: Case<Input, Expected>[] = JSON.parse(
    readFileSync(`../tests/cases/${name}.json`, "utf8"),
  );
  describe(name, () => {
    for (const found of all) it(found.name, () => check(found.input, found.expected, found));
  });
}

// colours -----------------------------------------------------------------------------------------

cases("colours", (input: { theme: Theme; side: "more" | "less" }, expected: string[]) => {
  expect(RAMPS[input.theme][input.side]).toEqual(expected);
});

// prompts -----------------------------------------------------------------------------------------

cases("alignment", (input: { base: string; source: string }, expected: number[]) => {
  const [base, source] = [input.base.split(" "), input.source.split(" ")];
  const words = [...new Set([...base, ...source])];
  const ids = (prompt: string[]) => prompt.map((word) => words.indexOf(word));
  expect(align(ids(base), ids(source))).toEqual(expected);
});

// Labels are Python's; the browser reads back what can be typed.
cases("labels", (text: string, label: string, { typed = true }) => {
  if (typed) expect(read(label)).toBe(text);
  else expect(read(label)).not.toBe(text);
});

// experiments -------------------------------------------------------------------------------------

cases("defaults", (input: Experiment, expected: Plain) => {
  expect(toPlain(input)).toEqual(expected);
});

type Resolved = Pick<
  Scene["slots"][number],
  "layer" | "head" | "source" | "base_positions" | "source_positions"
>;

cases(
  "normal_form",
  (
    input: { both: Experiment; left: Partial<Experiment>; right: Partial<Experiment> },
    expected: { same: boolean; resolved: Record<"left" | "right", Resolved[]>; normal: Experiment },
  ) => {
    const of = (side: "left" | "right") =>
      fromScene({
        experiment: { ...input.both, ...input[side] },
        slots: expected.resolved[side],
      } as Scene);
    expect(isSame(of("left"), of("right"))).toBe(expected.same);
    // An entry of the history is recognised as what is on the screen.
    expect(keyOf(of("left"))).toBe(keyOf(toPlain(expected.normal)));
  },
);

cases("sides", (input: { experiment: Experiment; past: PastEntry[] }, expected: object[]) => {
  const found = sidesOf(
    toPlain(input.experiment),
    input.past.map((entry) => ({ ...entry, label: "x", probability: 0.5 })),
  );
  expect(
    found.map(({ title, isShared, experiment: side }) => ({
      title,
      shared: isShared,
      base: side.base,
      skips: side.slots.map((slot) => slot.skip),
      groups: side.slots.map((slot) => slot.group),
    })),
  ).toEqual(expected);
  expect(new Set(found.map(({ key }) => key)).size).toBe(found.length);
});

cases(
  "nothing_live",
  (
    input: { slots: number; has_source: boolean; label: string; probability: number },
    expected: string,
  ) => {
    const { slots, has_source, label, probability } = input;
    expect(nothingLive(slots, has_source, label, probability)).toBe(expected);
  },
);

cases(
  "links",
  (
    input: { slots: Partial<Plain["slots"][number]>[]; unlink?: number },
    expected: { sharing: number[][]; twins: number[][]; unlinked?: (string | null)[] },
  ) => {
    const experiment = toPlain({
      base: "B",
      sources: [["s", "S"]],
      slots: input.slots.map((slot, layer) => ({ layer, position: 3, ...slot }) as never),
    });
    const { widths } = spainAndItaly().scene.model;
    // A seed is set for all slots that share the weights which begin from it.
    const sharing = experiment.slots.map((_, index) =>
      setSeed(experiment, index, 99).slots.flatMap((slot, i) => (slot.seed === 99 ? [i] : [])),
    );
    const distinct = [...new Set(sharing.map((indices) => JSON.stringify(indices)))];
    expect(distinct.map((text) => JSON.parse(text))).toEqual(expected.sharing);
    expect(experiment.slots.map((_, i) => twinsOf(experiment, i, widths).sort())).toEqual(
      expected.twins,
    );
    if (input.unlink !== undefined) {
      const now = unlink(experiment, input.unlink);
      expect(now.slots.map((slot) => slot.link)).toEqual(expected.unlinked);
    }
  },
);

// numbers -----------------------------------------------------------------------------------------

const metricOf = (name: string) => METRICS.find((info) => info.name === name) as MetricInfo;

cases(
  "metrics",
  (
    { base, cell, source }: { base: number[]; cell: number[] | null; source: number[] },
    expected: Record<string, number | null>,
  ) => {
    const targets = base.map((p, id) => ({
      token_id: id,
      label: String(id),
      base: p,
      source: source[id] ?? 0,
      plain: p,
      request: null,
    }));
    // Rank and divergence come with the cell.
    const found =
      cell &&
      ({
        probabilities: cell,
        ranks: [expected.rank],
        kl: expected.kl,
        kl_source: expected.kl_source,
      } as Cell);
    expect(Object.keys(expected)).toEqual(METRICS.map((info) => info.name));
    for (const [name, value] of Object.entries(expected)) {
      const reading = readingOf(
        metricOf(name),
        found ?? undefined,
        { target: 0, other: 1 },
        targets,
      );
      if (value === null) expect(reading, name).toBeNull();
      else expect(reading, name).toBeCloseTo(value, 12);
    }
  },
);

cases("limits", (input: { metric: string; values: number[] }, expected: number) => {
  expect(limitOf(metricOf(input.metric), input.values)).toBeCloseTo(expected, 12);
});

/** Runs as they are known here, and their tokens, met in the reverse order of their ids. */
function known(runs: number[][]): { labels: Map<number, string>; columns: Known[] } {
  const ids = (runs[0] ?? []).map((_, id) => id).reverse();
  return {
    labels: new Map(ids.map((id) => [id, String(id)])),
    columns: runs.map((run) => ({
      ps: new Map(ids.map((id) => [id, run[id] as number])),
      ranks: new Map(),
    })),
  };
}

cases("differences", (input: { before: number[]; after: number[] }, expected: number[]) => {
  const { labels, columns } = known([input.before, input.after]);
  const [before, after] = columns as [Known, Known];
  const { differences } = tablesOf(labels, columns, before, after);
  expect(differences.map(({ id }) => id)).toEqual(expected);
});

cases("token_rows", (runs: number[][], expected: number[]) => {
  const { labels, columns } = known(runs);
  const [first] = columns as [Known];
  const { tokens } = tablesOf(labels, columns, first, first);
  expect(tokens.map(({ id }) => id)).toEqual(expected);
});

const FORMATS = { percent: inPercent, points, significant: three };

cases("numbers", (input: { as: keyof typeof FORMATS; value: number }, expected: string) => {
  expect(FORMATS[input.as](input.value)).toBe(expected);
});

// words -------------------------------------------------------------------------------------------

cases("components", (name: string, expected: string) => {
  expect(componentWords(name)).toBe(expected);
});

cases(
  "sites",
  (input: { component: string; layer: number; head: number | null }, expected: string) => {
    expect(site(input.layer, input.component, input.head)).toBe(expected);
  },
);

// controls ----------------------------------------------------------------------------------------

interface Draw {
  base: number[];
  cells: number[][];
}

interface Drawn {
  least: number[];
  most: number[];
  within: boolean[];
}

cases(
  "placebo",
  (
    input: Draw & {
      metric: string;
      target: number;
      other: number;
      source: number[];
      controls: Record<string, Draw[]>;
    },
    expected: Record<string, Drawn>,
  ) => {
    const kl = (p: number[], q: number[]) =>
      p.reduce((sum, one, i) => sum + one * Math.log(one / (q[i] as number)), 0);
    const reading = (p: number[], base: number[]) => ({
      probabilities: p,
      ranks: p.map((one) => 1 + p.filter((other) => other > one).length),
      kl: kl(p, base),
      kl_source: kl(p, input.source),
    });
    const drawn = (draw: Draw) => ({
      base: reading(draw.base, draw.base),
      cells: draw.cells.map((cell) => reading(cell, draw.base)),
    });
    const real = drawn(input);
    const targets = input.base.map((base, id) => ({
      token_id: id,
      base,
      source: input.source[id] as number,
    }));
    const metric = METRICS.find(({ name }) => name === input.metric) as MetricInfo;
    const found = measure(
      {
        targets: [2, 1, 0],
        base: turned(real.base),
        controls: Object.keys(input.controls),
        draws: Object.entries(input.controls).flatMap(([control, draws]) =>
          draws.map((draw) => {
            const { base, cells } = drawn(draw);
            return { control, base: turned(base), cells: cells.map(turned) };
          }),
        ),
      } as Placebo,
      { targets, cells: real.cells } as unknown as Sweep,
      metric,
      { target: input.target, other: input.other },
    );
    for (const control of found ?? []) {
      const own = expected[control.name] as Drawn;
      expect(control.within).toEqual(own.within);
      for (const end of ["least", "most"] as const)
        control[end].forEach((value, n) => {
          expect(value).toBeCloseTo(own[end][n] as number, 6);
        });
    }
    expect(found).toHaveLength(2);
  },
);

/** In the order of other targets than the map's. */
function turned<R extends { probabilities: number[]; ranks: number[] }>(reading: R): R {
  return {
    ...reading,
    probabilities: [...reading.probabilities].reverse(),
    ranks: [...reading.ranks].reverse(),
  };
}
