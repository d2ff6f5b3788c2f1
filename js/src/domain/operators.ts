// What a slot does and to which coordinates: each control of its row as a pure function.

import type { InterventionInfo, ModelInfo } from "../kernel/wire";
import { changeSlot, type Partition, type Plain, type Slot } from "./experiments";
import { namesOf, promptOf } from "./sources";

/** What the kernel says of a slot's operator. */
export function kindOf(kinds: InterventionInfo[], name: string): InterventionInfo | undefined {
  return kinds.find((kind) => kind.name === name);
}

/** Name of the source on whose run a slot acts (serial mode); null for the base. */
export function targetOf(experiment: Plain, slot: Slot, kinds: InterventionInfo[]): string | null {
  const reads = kindOf(kinds, slot.intervention)?.needs_source ?? true;
  if (experiment.mode !== "serial" || !reads || slot.source === null) return null;
  const names = namesOf(experiment.sources);
  return names[names.indexOf(slot.source) + 1] ?? null;
}

/** A rank's coordinates in two named halves, so that there is something to choose from at once. */
export function halves(rank: number): Partition {
  const middle = Math.ceil(rank / 2);
  return middle === rank ? { a: [0, rank] } : { a: [0, middle], b: [middle, rank] };
}

/**
 * Another component; a head is kept where the new one has as many, and dropped where it has none.
 * Weights are not shared with sites of another width: a link is left then.
 */
export function setComponent(
  experiment: Plain,
  index: number,
  component: string,
  { heads, widths }: Pick<ModelInfo, "heads" | "widths">,
): Plain {
  const slot = experiment.slots[index];
  if (!slot) return experiment;
  const count = heads[component];
  const head = count === undefined ? null : Math.min(slot.head ?? 0, count - 1);
  const isAsWide = widths[component] === widths[slot.component];
  return changeSlot(isAsWide ? experiment : unlink(experiment, index), index, { component, head });
}

/**
 * Another operator, with what it needs to be valid at once. It leaves its link, whose slots are of
 * one kind, and its subspace where that named coordinates of another basis.
 */
export function setIntervention(
  experiment: Plain,
  index: number,
  name: string,
  kinds: InterventionInfo[],
): Plain {
  const slot = experiment.slots[index];
  const kind = kindOf(kinds, name);
  if (!slot || !kind || slot.intervention === name) return experiment;
  const before = kindOf(kinds, slot.intervention);
  const isOtherBasis = (before?.rotated ?? false) || kind.rotated;
  const rank = kind.takes_rank ? (slot.rank ?? (kind.needs_rank ? 2 : null)) : null;
  let { partition } = slot;
  if (partition && isOtherBasis && isHalved(partition)) partition = null;
  if (kind.needs_rank && rank !== null) partition ??= halves(rank);
  const [first = null] = namesOf(experiment.sources);
  const isOwn = kind.needs_source && (slot.vector !== null || slot.prompts.length > 0);
  const keeps = isOwn && before?.needs_source;
  const source = slot.source ?? (kind.needs_source && !keeps ? first : null);
  const prompt = promptOf(experiment.sources, slot.source) ?? experiment.base;
  return changeSlot(unlink(experiment, index), index, {
    intervention: name,
    rank,
    scale: name === "noise" ? slot.scale : 1,
    partition,
    subspace: isOtherBasis ? null : slot.subspace,
    source,
    prompts: name === "mean" ? [prompt] : keeps ? slot.prompts : [],
    minus: keeps ? slot.minus : [],
    vector: keeps ? slot.vector : null,
    source_layer: kind.needs_source ? slot.source_layer : null,
  });
}

/** Whether these are the halves of some basis, made by a press of a button. */
function isHalved(partition: Partition): boolean {
  const size = (partition.b ?? partition.a)?.[1];
  return size !== undefined && isOurs(partition, size);
}

function isOurs(partition: Partition, rank: number | null): boolean {
  return rank !== null && JSON.stringify(partition) === JSON.stringify(halves(rank));
}

/** Another rank, for every slot that shares the weights. Halves stay halves. */
export function setRank(experiment: Plain, index: number, rank: number | null): Plain {
  return sharing(experiment, index).reduce((done, i) => {
    const slot = done.slots[i] as Slot;
    const isHalved = slot.partition !== null && isOurs(slot.partition, slot.rank);
    const partition = isHalved ? (rank === null ? null : halves(rank)) : slot.partition;
    const isLost =
      typeof slot.subspace === "string" &&
      slot.subspace in (slot.partition ?? {}) &&
      !(slot.subspace in (partition ?? {}));
    return changeSlot(done, i, {
      rank,
      partition,
      subspace: isLost ? null : slot.subspace,
    });
  }, experiment);
}

/** Another seed, for every slot that shares the weights which begin from it. */
export function setSeed(experiment: Plain, index: number, seed: Slot["seed"]): Plain {
  return sharing(experiment, index).reduce((done, i) => changeSlot(done, i, { seed }), experiment);
}

/** The slot and all that are linked to it. */
function sharing(experiment: Plain, index: number): number[] {
  const name = experiment.slots[index]?.link ?? null;
  if (name === null) return experiment.slots[index] ? [index] : [];
  return experiment.slots.flatMap((slot, i) => (slot.link === name ? [i] : []));
}

/** The named subspace alone may change; named again, all coordinates may. */
export function toggleSubspace(experiment: Plain, index: number, name: string): Plain {
  const now = experiment.slots[index]?.subspace;
  return changeSlot(experiment, index, { subspace: now === name ? null : name });
}

/** `0:2` and names stay text, `0, 3, 5` are dims, nothing is all; the kernel judges the rest. */
export function readSubspace(text: string): string | number[] | null {
  const wanted = text.trim();
  if (wanted === "") return null;
  const dims = wanted.split(/[\s,]+/).filter((part) => part !== "");
  return dims.every((part) => /^\d+$/.test(part)) ? dims.map(Number) : wanted;
}

/** What `readSubspace` reads back. */
export function writeSubspace(subspace: string | number[] | null): string {
  return Array.isArray(subspace) ? subspace.join(", ") : (subspace ?? "");
}

/** Positions as a person writes them: `3`, `3, -1`, a token’s text; nothing is those of the base. */
export function readPlaces(text: string): Slot["source_position"] {
  if (text.trim() === "") return null;
  const parts = text.trim().split(/[\s,]+/);
  if (!parts.every((part) => /^-?\d+$/.test(part))) return text as never; // the kernel knows texts
  return parts.length === 1 ? Number(parts[0]) : parts.map(Number);
}

/** What `readPlaces` reads back. */
export function writePlaces(places: Slot["source_position"]): string {
  return Array.isArray(places) ? places.join(", ") : String(places ?? "");
}

/** Prompts as written, one a line. */
export function readPrompts(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}

/** Names of the links in the order in which they appear. */
export function linksOf(experiment: Plain): string[] {
  return [...new Set(experiment.slots.flatMap((slot) => (slot.link === null ? [] : [slot.link])))];
}

function freshLink(experiment: Plain): string {
  const taken = linksOf(experiment);
  for (let n = 1; ; n++) if (!taken.includes(`L${n}`)) return `L${n}`;
}

/** Length of a site's vector, by component. */
export type Widths = ModelInfo["widths"];

/** Slots may share weights of one operator, rank and seed, at sites of one width. */
function isTwin(a: Slot, b: Slot, widths: Widths): boolean {
  const same = ["intervention", "rank", "seed", "scale"] as const;
  return (
    same.every((field) => a[field] === b[field]) && widths[a.component] === widths[b.component]
  );
}

/** Indices of the other slots whose weights this one could share, the one before it first. */
export function twinsOf(experiment: Plain, index: number, widths: Widths): number[] {
  const slot = experiment.slots[index];
  if (!slot) return [];
  return experiment.slots
    .flatMap((other, i) => (i !== index && isTwin(slot, other, widths) ? [i] : []))
    .sort(
      (a, b) => Number(a > index) - Number(b > index) || Math.abs(a - index) - Math.abs(b - index),
    );
}

/** Share weights with a slot of the same kind: the link that one has, else a new one with it. */
export function link(experiment: Plain, index: number, widths: Widths): Plain {
  const twins = twinsOf(experiment, index, widths);
  const [nearest] = twins;
  if (nearest === undefined) return experiment;
  const linked = twins.find((i) => experiment.slots[i]?.link != null);
  const name = experiment.slots[linked ?? -1]?.link ?? freshLink(experiment);
  const both = linked === undefined ? [index, nearest] : [index];
  return both.reduce((done, i) => changeSlot(done, i, { link: name }), experiment);
}

/** Weights of its own again. A link that would hold one slot only is gone. */
export function unlink(experiment: Plain, index: number): Plain {
  const members = sharing(experiment, index);
  const leaving = members.length > 2 ? [index] : members;
  return leaving.reduce((done, i) => changeSlot(done, i, { link: null }), experiment);
}

/** Link the slots that stand in one group with a slot and are of its kind, or part them all. */
export function linkGroup(experiment: Plain, index: number, widths: Widths): Plain {
  const slot = experiment.slots[index];
  if (!slot) return experiment;
  const members = experiment.slots.flatMap((other, i) =>
    other.group === slot.group && isTwin(slot, other, widths) ? [i] : [],
  );
  if (members.length < 2) return experiment;
  const names = members.map((i) => experiment.slots[i]?.link ?? null);
  const isOne = slot.link !== null && names.every((name) => name === slot.link);
  const name = isOne ? null : (names.find((found) => found !== null) ?? freshLink(experiment));
  return members.reduce((done, i) => changeSlot(done, i, { link: name }), experiment);
}
