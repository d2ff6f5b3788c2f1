// The code that gives the result again: which library's names, and which lines the last change made.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { Answer, Script } from "../../kernel/wire";
import { createAnswer } from "../answer/state";
import { createWholeMap } from "../map/sweep";

export type Face = Script["face"];

export const FACES: Record<Face, string> = {
  vene_widgets: "vene_widgets",
  intervenable: "the tutorial’s names",
  pyvene: "pyvene",
};

export interface Line {
  text: string;
  isChanged: boolean;
}

export function createCode(app: App) {
  const answer = app.use(createAnswer).newest;
  const map = app.use(createWholeMap);
  const face = signal<Face>("vene_widgets");
  /** The answer on the screen and the one before it, whose code the marks compare with. */
  const latest = signal<{ now: Answer | null; before: Answer | null }>({ now: null, before: null });
  app.effect(() => {
    const now = answer.value;
    const last = latest.peek().now;
    if (now && now !== last) latest.value = { now, before: last };
    return undefined;
  });

  /** A map with held slots is a sweep of its own. */
  const sweep = computed(() => (face.value === "vene_widgets" && map.value?.code) || "");
  const script = computed(() => scriptOf(latest.value.now, face.value, sweep.value));
  const lines = computed<Line[]>(() => {
    const now = script.value?.text?.trimEnd().split("\n") ?? [];
    const before = scriptOf(latest.value.before, face.value, sweep.value)
      ?.text?.trimEnd()
      .split("\n");
    const changed = before ? changedLines(before, now) : new Set<number>();
    return now.map((text, n) => ({ text, isChanged: changed.has(n) }));
  });

  /** Further questions continue the script, so its names must be this package's. */
  const questions = computed(() =>
    face.value === "vene_widgets" ? (latest.value.now?.questions ?? []) : [],
  );
  const asked = signal<string | null>(null);
  /** The question whose line is shown: the chosen one while the experiment allows it. */
  const question = computed(
    () => questions.value.find(({ name }) => name === asked.value) ?? questions.value[0] ?? null,
  );

  return {
    face,
    questions,
    question,
    asked,
    script,
    lines,
  };
}

function scriptOf(answer: Answer | null, face: Face, more: string): Script | null {
  const found = answer?.scripts.find((script) => script.face === face);
  if (!found?.text || !more) return found ?? null;
  return { ...found, text: `${found.text.trimEnd()}\n\n${more}\n` };
}

/** Indices of the later lines that are not in the longest common subsequence with the earlier. */
export function changedLines(before: string[], after: string[]): Set<number> {
  const lengths = Array.from({ length: before.length + 1 }, () =>
    new Array<number>(after.length + 1).fill(0),
  );
  const at = (i: number, j: number) => lengths[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const row = lengths[i] as number[];
      row[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const changed = new Set<number>();
  let [i, j] = [0, 0];
  while (j < after.length) {
    if (i < before.length && before[i] === after[j]) {
      i++;
      j++;
    } else if (i < before.length && at(i + 1, j) >= at(i, j + 1)) i++;
    else changed.add(j++);
  }
  return changed;
}
