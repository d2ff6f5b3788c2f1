// Experiment -> experiment: what each gesture and each control means, as pure functions.

import type { OrderedExperiment as Experiment, Scene, SlotInfo, WireSlot } from "../kernel/wire";
import { namesOf, type Sources, withPrompt } from "./sources";

/** Names for half-open ranges of coordinates. */
export type Partition = { [name: string]: [number, number] };

/** One slot with every field filled in and integer positions. */
export interface Slot
  extends Required<Omit<WireSlot, "position" | "source_position" | "partition">> {
  position: number | number[];
  source_position: number | number[] | null;
  partition: Partition | null;
}

/** One experiment with every field filled in. */
export interface Plain extends Experiment {
  sources: Sources;
  slots: Slot[];
  mode: "parallel" | "serial";
}

/** What a slot's fields hold when nothing is said of them. */
const UNSAID = {
  component: "block_output",
  head: null,
  source: null,
  source_position: null,
  intervention: "vanilla",
  strength: 1,
  subspace: null,
  partition: null,
  rank: null,
  scale: 1,
  seed: 0,
  prompts: [],
  minus: [],
  vector: null,
  source_layer: null,
  link: null,
  group: null,
  skip: false,
  hold: false,
} satisfies Partial<Slot>;

/** The component whose positions are queries, and whose source positions are keys. */
export const WEIGHT = "attention_weight";

export const isEdge = (slot: Pick<Slot, "component">) => slot.component === WEIGHT;

/** What a tile of the map stands for. */
export interface Place {
  layer: number;
  position: number;
  component: string;
  head: number | null;
  /** Null if the operator reads none. */
  source: string | null;
  source_position: number;
  /** The map's operator; copying if it is not said. */
  intervention?: string;
  prompts?: string[];
}

/** How a click was made: alone, with shift, with alt. */
export type Gesture = "replace" | "add" | "new group";

/** The scene's experiment with the kernel's integers in place of texts and negative numbers. */
export function fromScene({ experiment, slots }: Scene): Plain {
  return toPlain(experiment, slots);
}

/**
 * An experiment with every field filled in: of integers, as the kernel's history keeps it, or with
 * the integers that the kernel has found.
 */
export function toPlain({ base, sources, slots, mode }: Experiment, found: SlotInfo[] = []): Plain {
  return {
    base,
    sources: [...(sources ?? [])],
    slots: (slots ?? []).map((slot, index) => fill(slot, found[index])),
    mode: mode ?? "parallel",
  };
}

function fill(slot: WireSlot, info: SlotInfo | undefined): Slot {
  const filled = { ...UNSAID, ...slot } as Slot;
  if (!info) return filled;
  return {
    ...filled,
    layer: info.layer,
    head: info.head,
    position: one(info.base_positions),
    // An intervention that reads no source keeps the names of one, so that going back loses nothing.
    source: info.source ?? filled.source,
    source_position:
      info.source === null && !isEdge(filled) ? filled.source_position : one(info.source_positions),
  };
}

function one(positions: number[]): number | number[] {
  return positions.length === 1 ? (positions[0] as number) : positions;
}

export function slotAt(place: Place, group: string | null = null): Slot {
  // Without a source to copy from a slot zeroes, if nothing else is said. It has no run to share in
  // a group, and positions in other prompts only if it takes a mean over them.
  if (place.source === null) {
    const source_position = place.prompts?.length ? place.source_position : null;
    return { ...UNSAID, intervention: "zero", ...place, source_position, group: null };
  }
  return { ...UNSAID, ...place, group };
}

export function positionsOf(slot: Slot): number[] {
  return Array.isArray(slot.position) ? slot.position : [slot.position];
}

export function sourcePositionsOf(slot: Slot): number[] {
  const positions = slot.source_position ?? slot.position;
  return Array.isArray(positions) ? positions : [positions];
}

/** Whether a slot acts at this tile: layer, position, tensor and, if both have one, source. */
export function isAt(slot: Slot, place: Omit<Place, "source_position">): boolean {
  return (
    slot.layer === place.layer &&
    slot.component === place.component &&
    slot.head === place.head &&
    (slot.source === null || place.source === null || slot.source === place.source) &&
    positionsOf(slot).includes(place.position)
  );
}

/** The experiment after a tile was clicked; held slots stay as they are, in front of the others. */
export function applyTile(experiment: Plain, place: Place, gesture: Gesture): Plain {
  if (gesture === "replace") return { ...experiment, slots: [...held(experiment), slotAt(place)] };
  if (gesture === "new group") return addSlot(experiment, place, freshGroup(experiment));
  const there = experiment.slots.findIndex((slot) => !slot.hold && isAt(slot, place));
  if (there >= 0) return removeSlot(experiment, there);
  if (place.source === null) return addSlot(experiment, place);
  const last = experiment.slots.filter((slot) => !slot.hold).at(-1);
  if (last?.group && last.source === place.source) return addSlot(experiment, place, last.group);
  // A first group takes the loose slots with it, so that click and shift-click make one group.
  const group = freshGroup(experiment);
  const slots = experiment.slots.map((slot) =>
    !slot.hold && slot.group === null && slot.source === place.source ? { ...slot, group } : slot,
  );
  return addSlot({ ...experiment, slots }, place, group);
}

/** The slots that a click on the map leaves where they are. */
export function held(experiment: Plain): Slot[] {
  return experiment.slots.filter((slot) => slot.hold);
}

/** The first letter that names no group yet; after Z come A2, B2, ... */
export function freshGroup(experiment: Plain): string {
  const taken = new Set(experiment.slots.map((slot) => slot.group));
  for (let n = 0; ; n++) {
    const round = Math.floor(n / 26);
    const name = String.fromCharCode(65 + (n % 26)) + (round ? String(round + 1) : "");
    if (!taken.has(name)) return name;
  }
}

/** Names of the groups in the order in which they appear. */
export function groupsOf(experiment: Plain): string[] {
  const names = experiment.slots.map((slot) => slot.group).filter((name) => name !== null);
  return [...new Set(names)];
}

/** All slots in one group per source: slots of a group share one source run. */
export function group(experiment: Plain): Plain {
  const names = new Map<string | null, string>();
  for (const { source, group: name } of experiment.slots) {
    if (name !== null && !names.has(source)) names.set(source, name);
  }
  let grouped = experiment;
  experiment.slots.forEach((slot, index) => {
    let name = names.get(slot.source);
    if (name === undefined) {
      name = freshGroup(grouped);
      names.set(slot.source, name);
    }
    grouped = changeSlot(grouped, index, { group: name });
  });
  return grouped;
}

export function ungroup(experiment: Plain): Plain {
  return { ...experiment, slots: experiment.slots.map((slot) => ({ ...slot, group: null })) };
}

export function changeSlot(experiment: Plain, index: number, change: Partial<Slot>): Plain {
  return {
    ...experiment,
    slots: experiment.slots.map((slot, i) => (i === index ? { ...slot, ...change } : slot)),
  };
}

/** Index of the slot that a weight of a head belongs to; -1 without one. */
export function edgeAt({ slots }: Plain, layer: number, head: number, query: number, key: number) {
  return slots.findIndex(
    (slot) =>
      isEdge(slot) &&
      slot.layer === layer &&
      (slot.head ?? head) === head &&
      positionsOf(slot).includes(query) &&
      sourcePositionsOf(slot).includes(key),
  );
}

/** One more slot on a weight: zero, or from a source. */
export function addEdge(
  experiment: Plain,
  where: Pick<Slot, "layer" | "head" | "position" | "source_position" | "source">,
): Plain {
  const intervention = where.source === null ? "zero" : "vanilla";
  const slot = { ...UNSAID, ...where, component: WEIGHT, intervention };
  return { ...experiment, slots: [...experiment.slots, slot] };
}

/** A skipped slot does nothing and keeps its place in the list. */
export function setSkip(experiment: Plain, indices: number[], skip: boolean): Plain {
  return indices.reduce((done, index) => changeSlot(done, index, { skip }), experiment);
}

export function removeSlot(experiment: Plain, index: number): Plain {
  return { ...experiment, slots: experiment.slots.filter((_, i) => i !== index) };
}

/** One more slot at a place. */
export function addSlot(experiment: Plain, place: Place, group: string | null = null): Plain {
  return { ...experiment, slots: [...experiment.slots, slotAt(place, group)] };
}

/** Another source. A group has one source, so a slot that changes its own leaves its group. */
export function setSource(experiment: Plain, index: number, source: string): Plain {
  const slot = experiment.slots[index];
  const alone = experiment.slots.every(
    (other, i) => i === index || other.group === null || other.group !== slot?.group,
  );
  return changeSlot(experiment, index, alone ? { source } : { source, group: null });
}

export function setBase(experiment: Plain, base: string): Plain {
  return { ...experiment, base };
}

export function setPrompt(experiment: Plain, source: string, prompt: string): Plain {
  return { ...experiment, sources: withPrompt(experiment.sources, source, prompt) };
}

/**
 * A name for one more source that no other has: `source` for the first, then the first word that
 * the base has not, in lower case: `poland`, `poland 2`, ...
 */
export function freshSource({ base, sources }: Plain, prompt: string): string {
  const taken = namesOf(sources);
  const known = wordsOf(base);
  const word = taken.length > 0 && wordsOf(prompt).find((one) => !known.includes(one));
  const stem = word ? word.slice(0, 40) : "source";
  for (let n = 1; ; n++) {
    const name = n === 1 ? stem : `${stem} ${n}`;
    if (!taken.includes(name)) return name;
  }
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

export function isSame(a: Plain, b: Plain): boolean {
  return keyOf(a) === keyOf(b);
}

/** A text that equal experiments share and no others. */
export function keyOf(experiment: Plain): string {
  return JSON.stringify(inOrder(experiment));
}

/** The same of experiments that run alike: whether a slot is held changes no run. */
export function keyOfRun(experiment: Plain): string {
  return keyOf({
    ...experiment,
    slots: experiment.slots.map((slot) => ({ ...slot, hold: false })),
  });
}

/** Whether two experiments have the same prompts. */
export function hasSamePrompts(a: Experiment, b: Experiment): boolean {
  return a.base === b.base && JSON.stringify(a.sources ?? []) === JSON.stringify(b.sources ?? []);
}

function inOrder({ base, sources, slots, mode }: Plain): unknown[] {
  const rows = slots.map((slot) => [
    slot.layer,
    slot.position,
    ...(Object.keys(UNSAID) as (keyof typeof UNSAID)[]).map((name) =>
      // Names for ranges have no order.
      name === "partition" ? Object.entries(slot.partition ?? {}).sort() : slot[name],
    ),
  ]);
  return [base, mode, sources, rows];
}

/** Why a group may not be renamed like this; null when it may. An existing name joins the two. */
export function whyNotGroup(experiment: Plain, from: string, to: string): string | null {
  if (to.trim() === "") return "A group needs a name.";
  if (to.length > 80) return "A name has at most 80 characters.";
  const read = (name: string) => experiment.slots.find((slot) => slot.group === name)?.source;
  const [mine, other] = [read(from), read(to)];
  if (to === from || other === undefined || other === mine) return null;
  return `Group “${to}” reads another source: slots of a group share one source run.`;
}

export function renameGroup(experiment: Plain, from: string, to: string): Plain {
  if (whyNotGroup(experiment, from, to) !== null) return experiment;
  return {
    ...experiment,
    slots: experiment.slots.map((slot) => (slot.group === from ? { ...slot, group: to } : slot)),
  };
}
