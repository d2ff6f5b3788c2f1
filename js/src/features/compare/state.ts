// Two sides compared: which ones, what the kernel said of them, and what is shown until it has.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { keyOf } from "../../domain/experiments";
import { withNewest } from "../../domain/newest";
import {
  cellOf,
  type Known,
  probabilities,
  ranks,
  type Tables,
  tables,
  tablesOf,
  unchanged,
} from "../../domain/preview";
import { BASE, ofPast, RESULT, type Side, sidesOf, toWire } from "../../domain/sides";
import { PATIENCE } from "../../kernel/kernel";
import type { Answer, Contrast, PastEntry, RunInfo, Verdict } from "../../kernel/wire";
import { createAnswers } from "../answer/answers";
import { createAnswer } from "../answer/state";
import { createDrawer } from "../drawer/state";
import { createHistory } from "../history/state";
import { createWholeMap } from "../map/sweep";

/** What the panel draws. Null is what a preview does not know. */
export interface Contrasted extends Tables {
  left: string;
  right: string;
  kl: number | null;
  milliseconds: number | null;
  verdict: Verdict | null;
}

/** Why a comparison that was asked for did not begin. */
type Failure = { request: string; error: string };

/** `kept`: exact once, and the kernel that could say so now is gone. */
export type ContrastLabel = "exact" | "kept" | "preview" | "busy" | "none";

const KEPT = 20;

export type Compare = ReturnType<typeof createCompare>;

export function createCompare(app: App) {
  const { kernel } = app;
  const { now: experiment, pending, modelSince } = app.use(createExperiment);
  const { entries } = app.use(createHistory);
  const written = kernel.trait<Contrast>("contrast");
  const drawer = app.use(createDrawer);
  const isOpen = computed(() => drawer.tab.value === "compare");
  const keys = signal({ left: BASE, right: RESULT });
  /** Answers and failures by what was asked, the newest last. */
  const got = signal<ReadonlyMap<string, Contrast | Failure>>(new Map());
  const asked = signal<{ id: string; question: string } | null>(null);
  const isWaiting = signal(false);

  /** On a saved page, those whose results it holds. */
  const sides = computed<Side[]>(() => {
    const all = experiment.value ? sidesOf(experiment.value, entries.value, modelSince.value) : [];
    return kernel.offline ? all.filter((side) => known(side, app, new Map())) : all;
  });
  const find = (key: string) => sides.value.find((side) => side.key === key);
  const left = computed(() => find(keys.value.left) ?? find(BASE) ?? null);
  const right = computed(
    () => find(keys.value.right) ?? find(RESULT) ?? sides.value[1] ?? find(BASE) ?? null,
  );
  const question = computed(() => {
    const both = [left.value, right.value];
    // Of a changed model it is another question.
    return both.some((side) => side === null)
      ? null
      : [
          modelSince.value,
          ...both.map((side) => `${side?.isShared} ${side && keyOf(side.experiment)}`),
        ].join("\n");
  });

  const answered = computed(() =>
    question.value === null ? null : (got.value.get(question.value) ?? null),
  );
  const error = computed(() => answered.value?.error ?? null);
  const guess = computed(() => {
    if (!isOpen.value || !left.value || !right.value) return null;
    const labels = new Map<number, string>();
    const [one, other] = [known(left.value, app, labels), known(right.value, app, labels)];
    if (!one || !other) return null;
    const { tokens, differences } = tablesOf(labels, [one, other], one, other);
    return { tokens, differences, kl: null, milliseconds: null, verdict: null };
  });
  const titles = computed(() => ({
    left: left.value?.title ?? "",
    right: right.value?.title ?? "",
  }));
  const now = computed<Contrasted | null>(() => {
    const found = answered.value;
    const rest =
      found && "tokens" in found && found.error === null
        ? { ...found, ...tables(found) }
        : guess.value;
    if (!rest) return null;
    // An entry may have got another name since.
    const verdict = rest.verdict && { ...rest.verdict, ...titles.value };
    return { ...rest, ...titles.value, verdict };
  });
  /** What stands there while another pair is on its way. */
  const before = signal<Contrasted | null>(null);
  const shown = computed(() => now.value ?? before.value);
  const label = computed<ContrastLabel>(() => {
    if (answered.value && error.value === null) return kernel.isGone.value ? "kept" : "exact";
    if (guess.value) return "preview";
    if (error.value !== null || kernel.isGone.value) return "none";
    return asked.value || pending.value ? "busy" : "none";
  });

  /** What each request was about: an answer that comes late is kept for its own question. */
  let questions = new Map<string, string>();

  async function ask(): Promise<void> {
    const [one, other, about] = [left.peek(), right.peek(), question.peek()];
    if (!one || !other || about === null) return;
    const id = kernel.nextId();
    questions = withNewest(questions, id, about, 50);
    if (got.peek().get(about)?.error != null) {
      got.value = new Map([...got.peek()].filter(([key]) => key !== about));
    }
    asked.value = { id, question: about };
    try {
      await kernel.request({ kind: "compare", left: toWire(one), right: toWire(other) }, { id });
    } catch (error) {
      keep({ request: id, error: (error as Error).message });
    }
  }

  function keep(contrast: Contrast | Failure): void {
    const about = questions.get(contrast.request);
    const waits = asked.peek();
    if (about === undefined) {
      // Another view's question has taken the place of ours, which the kernel has then dropped.
      if (waits) ask();
      return;
    }
    batch(() => {
      got.value = withNewest(got.peek(), about, contrast, KEPT);
      if (waits?.question === about) asked.value = null;
    });
  }

  app.effect(() => {
    const about = isOpen.value && !kernel.offline ? question.value : null; // closed, it costs a click nothing
    // Asked for once the kernel has the experiment that the sides are of.
    if (about === null || pending.value) return undefined;
    if (asked.peek()?.question !== about && !got.peek().has(about)) ask();
    return undefined;
  });
  app.effect(() => {
    if (written.value) keep(written.value);
    return undefined;
  });
  app.effect(() => {
    if (now.value) before.value = now.value;
    return undefined;
  });
  app.effect(() => {
    isWaiting.value = false;
    if (asked.value === null) return undefined;
    const timer = setTimeout(() => {
      isWaiting.value = true;
    }, PATIENCE);
    return () => clearTimeout(timer);
  });
  return {
    isOpen,
    sides,
    left,
    right,
    shown,
    label,
    error,
    isWaiting,
    toggle: () => drawer.toggle("compare"),
    close: drawer.close,
    choose(which: "left" | "right", key: string): void {
      keys.value = { ...keys.value, [which]: key };
    },
    swap(): void {
      const [one, other] = [left.value?.key, right.value?.key];
      if (one && other) keys.value = { left: other, right: one };
    },
    /** An entry of the strip against what is on the screen. */
    compareWith(entry: PastEntry): void {
      batch(() => {
        keys.value = { left: ofPast(entry), right: RESULT };
        drawer.open("compare");
      });
    },
    /** Asks once more, after a failure. */
    again: ask,
  };
}

/** What the view knows of a side and the present model: a column of an answer, else a tile of the map. */
function known(side: Side, app: App, labels: Map<number, string>): Known | null {
  const since = app.use(createExperiment).modelSince.value;
  const ofNow = <T extends { revision: number }>(value: T | null) =>
    value && value.revision >= since ? value : null;
  const last = app.use(createAnswer).last.value;
  const kept = ofNow(app.use(createAnswers).of(side.experiment));
  const isPlain = side.key === BASE || side.key.startsWith("source:");
  if (last && isPlain) return column(last, last.runs.findIndex(isOf(side.key)), labels);
  if (kept) {
    const isLive = side.experiment.slots.some((slot) => !slot.skip);
    return column(kept, isLive ? kept.runs.length - 1 : 0, labels);
  }
  const cell = cellOf(side.experiment, ofNow(app.use(createWholeMap).value));
  if (!cell) return null;
  for (const { token_id, label } of cell.top) labels.set(token_id, label);
  const base = last && column(last, last.runs.findIndex(isOf(BASE)), labels);
  if (base && cell.idle !== null) return unchanged(base, cell);
  return { ps: probabilities(cell.top), ranks: ranks(cell.top) };
}

/** Whether a column is that of the base, or of a source. */
function isOf(key: string): (run: RunInfo) => boolean {
  return (run) => (run.role === "source" ? `source:${run.name}` : run.role) === key;
}

function column(answer: Answer, n: number, labels: Map<number, string>): Known | null {
  const run = answer.runs[n];
  if (!run) return null;
  const ps = new Map<number, number>();
  for (const row of answer.tokens) {
    labels.set(row.token_id, row.label);
    ps.set(row.token_id, row.probabilities[n] ?? 0);
  }
  return { ps, ranks: ranks(run.top) };
}
