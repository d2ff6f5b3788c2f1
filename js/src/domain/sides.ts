// What two runs can be compared: every side is an experiment with the title that Python knows it by.

import type { PastEntry, Side as WireSide } from "../kernel/wire";
import { type Plain, toPlain, ungroup } from "./experiments";
import { namesOf } from "./sources";

/** `key` outlives a change of the experiment: `result` is grouped, or intervened, or gone. */
export interface Side {
  key: string;
  title: string;
  /** What a menu adds to the title. */
  note: string;
  experiment: Plain;
  /** Groups, and their counterpart, run their source prompts anew, as the screen's columns do. */
  isShared: boolean;
}

/** What a comparison and Python call an entry of the history: its name, else its number. */
export function titleOf(entry: Pick<PastEntry, "name" | "number">): string {
  return entry.name ?? `#${entry.number}`;
}

/** What is said of results of an older state of the model. */
export const OLD = "before the model changed";

export const RESULT = "result";
export const BASE = "base";

export const ofPast = (entry: Pick<PastEntry, "number">) => `past:${entry.number}`;

/** `since`: revision from which on results are of the model as it is now. */
export function sidesOf(experiment: Plain, past: readonly PastEntry[], since = 0): Side[] {
  const sides: Side[] = [];
  const taken = new Set<string>();
  const own = new Set(["base", "ungrouped", "grouped", "intervened"]);
  experiment.slots.forEach((_, i) => {
    own.add(`slot ${i}`);
  });
  const add = (side: Omit<Side, "note" | "isShared"> & Partial<Side>) => {
    taken.add(side.title);
    sides.push({ note: "", isShared: true, ...side });
  };
  const plain = (base: string): Plain => ({ base, sources: [], slots: [], mode: "parallel" });

  add({ key: BASE, title: "base", experiment: plain(experiment.base) });
  /** A title of its own: with `word` in front where another side is called so. */
  const free = (word: string, name: string, others: string[]): string => {
    let title = name;
    while (own.has(title) || taken.has(title) || (title !== name && others.includes(title)))
      title = `${word} ${title}`;
    return title;
  };
  const names = namesOf(experiment.sources);
  for (const [name, prompt] of experiment.sources) {
    const title = free("source", name, names);
    add({ key: `source:${name}`, title, experiment: plain(prompt) });
  }
  experiment.slots.forEach((_, i) => {
    add({ key: `slot:${i}`, title: `slot ${i}`, note: "alone", experiment: alone(experiment, i) });
  });
  if (experiment.slots.some((slot) => !slot.skip)) {
    const isShared = !hasGroups(experiment);
    if (!isShared) {
      add({ key: "ungrouped", title: "ungrouped", experiment: ungroup(experiment), isShared });
    }
    add({ key: RESULT, title: isShared ? "intervened" : "grouped", experiment, isShared });
  }
  for (const entry of past) {
    const title = free("history", titleOf(entry), past.map(titleOf));
    const earlier = toPlain(entry.experiment);
    const old = entry.revision < since ? ` (${OLD})` : "";
    const note = `${entry.label} ${(100 * entry.probability).toFixed(1)} %${old}`;
    add({ key: ofPast(entry), title, note, experiment: earlier, isShared: !hasGroups(earlier) });
  }
  return sides;
}

export function toWire({ title, experiment, isShared }: Side): WireSide {
  return { title, experiment, share_sources: isShared };
}

/** The same slots, all skipped but one, so that each keeps its index. */
function alone(experiment: Plain, index: number): Plain {
  const slots = experiment.slots.map((slot, i) => ({ ...slot, skip: i !== index }));
  return { ...experiment, slots };
}

function hasGroups(experiment: Plain): boolean {
  return experiment.slots.some((slot) => slot.group !== null);
}
