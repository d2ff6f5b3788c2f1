// What is done to the prompts, and what it means for the slots: as pure functions.

import type { InterventionInfo, TokenInfo } from "../kernel/wire";
import {
  changeSlot,
  isEdge,
  type Plain,
  positionsOf,
  type Slot,
  setBase,
  setPrompt,
  sourcePositionsOf,
} from "./experiments";
import { sharedEnds } from "./geometry";
import { kindOf, targetOf } from "./operators";
import { namesOf, promptOf } from "./sources";

/** The longest name of a source or group that the kernel takes. */
const LONGEST = 80;

/** Why a source may not have this name; null when it may. */
export function whyNotSource(experiment: Plain, from: string | null, to: string): string | null {
  if (to.trim() === "") return "A source needs a name.";
  if (to.length > LONGEST) return `A name has at most ${LONGEST} characters.`;
  if (to !== from && namesOf(experiment.sources).includes(to))
    return `Another source is named “${to}”.`;
  return null;
}

/** The same source under another name, in its place. */
export function renameSource(experiment: Plain, from: string, to: string): Plain {
  if (from === to || whyNotSource(experiment, from, to) !== null) return experiment;
  return {
    ...experiment,
    sources: experiment.sources.map(([name, text]) => [name === from ? to : name, text]),
    slots: experiment.slots.map((slot) => (slot.source === from ? { ...slot, source: to } : slot)),
  };
}

/** Indices of the slots that read a source. */
export function readersOf(experiment: Plain, source: string, kinds: InterventionInfo[]): number[] {
  return experiment.slots.flatMap((slot, i) =>
    slot.source === source && (kindOf(kinds, slot.intervention)?.needs_source ?? true) ? [i] : [],
  );
}

/** Without a source and the slots that read it. */
export function removeSource(experiment: Plain, source: string, kinds: InterventionInfo[]): Plain {
  const readers = readersOf(experiment, source, kinds);
  const sources = experiment.sources.filter(([name]) => name !== source);
  return {
    ...experiment,
    sources,
    mode: sources.length > 1 ? experiment.mode : "parallel",
    slots: experiment.slots
      .filter((_, i) => !readers.includes(i))
      .map((slot) => (slot.source === source ? { ...slot, source: null, group: null } : slot)),
  };
}

/** Sources that run as they are, or as a chain. */
export function setMode(experiment: Plain, mode: Plain["mode"]): Plain {
  return { ...experiment, mode };
}

/**
 * Slots go with their tokens when a prompt is edited: those in the unchanged beginning and end stay
 * on their tokens, those between on the place nearest to theirs.
 *
 * `prompt` is a source's name, null for the base; `before` and `after` are token ids.
 */
export function follow(
  experiment: Plain,
  prompt: string | null,
  before: number[],
  after: number[],
  kinds: InterventionInfo[],
): Plain {
  const { start, end } = sharedEnds(before, after);
  const to = (position: number) => {
    if (position < start) return position;
    if (position >= before.length - end) return position + after.length - before.length;
    return Math.max(
      0,
      Math.min(Math.max(start, after.length - end - 1), position, after.length - 1),
    );
  };
  const slots = experiment.slots.map((slot): Slot => {
    const actsHere = targetOf(experiment, slot, kinds) === prompt;
    const readsHere = prompt !== null && slot.source === prompt && slot.intervention !== "mean";
    if (!actsHere && !readsHere) return slot;
    const [bases, sources] = [positionsOf(slot), sourcePositionsOf(slot)];
    if (isEdge(slot)) {
      // Queries and keys are of one prompt.
      const moved = (list: number[]) => one([...new Set(list.map(to))]);
      return actsHere ? { ...slot, position: moved(bases), source_position: moved(sources) } : slot;
    }
    const places = actsHere ? bases.map(to) : bases;
    const kept = places.flatMap((place, i) => (places.indexOf(place) === i ? [i] : []));
    const pick = (list: number[]) => one(kept.map((i) => list[i] as number));
    const isPaired = slot.source_position !== null && sources.length === bases.length;
    return {
      ...slot,
      position: pick(places),
      source_position: isPaired
        ? pick(readsHere ? sources.map(to) : sources)
        : slot.source_position,
    };
  });
  return { ...experiment, slots };
}

function one(list: number[]): number | number[] {
  return list.length === 1 ? (list[0] as number) : list;
}

/** A slot's pairs of base and source position, in order. */
export function pairsOf(slot: Slot): [number, number][] {
  const sources = sourcePositionsOf(slot);
  return positionsOf(slot).map((base, i) => [base, sources[i] ?? base]);
}

/** Other pairs for a slot; the source's side stays unsaid where nothing is read. */
export function setPairs(experiment: Plain, index: number, pairs: [number, number][]): Plain {
  const slot = experiment.slots[index];
  const isUnsaid = slot?.source_position === null;
  return changeSlot(experiment, index, {
    position: one(pairs.map(([base]) => base)),
    source_position: isUnsaid ? null : one(pairs.map(([, source]) => source)),
  });
}

/** Slots that copy from a source into the base's token `to` now copy from the source's `from`. */
export function pairSlots(
  experiment: Plain,
  source: string,
  from: number,
  to: number,
  kinds: InterventionInfo[],
): { experiment: Plain; indices: number[] } {
  const indices = readersOf(experiment, source, kinds).filter((i) => {
    const slot = experiment.slots[i] as Slot;
    const isHere = targetOf(experiment, slot, kinds) === null && positionsOf(slot).includes(to);
    return isHere && !isEdge(slot);
  });
  return {
    indices,
    experiment: indices.reduce(
      (done, i) =>
        setPairs(
          done,
          i,
          pairsOf(done.slots[i] as Slot).map(([b, s]) => [b, b === to ? from : s]),
        ),
      experiment,
    ),
  };
}

/**
 * For each base token the source token that the kernel suggests (`planning.align`): equal lengths
 * pair one to one, else the common beginning from the left, the common end from the right, and what
 * lies between in order, its rest with the source's last differing token.
 */
export function align(base: number[], source: number[]): number[] {
  const [n, m] = [base.length, source.length];
  if (n === m) return base.map((_, i) => i);
  const { start, end } = sharedEnds(base, source);
  return base.map((_, i) => {
    if (i < start) return i;
    if (i >= n - end) return i + m - n;
    return Math.min(i, Math.max(m - end - 1, 0));
  });
}

export const idsOf = (tokens: readonly TokenInfo[]) => tokens.map((token) => token.id);

/**
 * Base and a source change places. A slot that copies from one to the other copies back, so that
 * twice is as before; others stay at their tokens' places as they do when a prompt is edited.
 *
 * `base` and `other` are the token ids of the two prompts.
 */
export function exchange(
  experiment: Plain,
  source: string,
  base: number[],
  other: number[],
  kinds: InterventionInfo[],
): Plain {
  const moved = follow(follow(experiment, null, base, other, kinds), source, other, base, kinds);
  const slots = experiment.slots.map((slot, i): Slot => {
    const places = sourcePositionsOf(slot);
    const isBack =
      !isEdge(slot) &&
      slot.source === source &&
      slot.source_position !== null &&
      targetOf(experiment, slot, kinds) === null &&
      kindOf(kinds, slot.intervention)?.needs_source === true &&
      new Set(places).size === places.length;
    return isBack
      ? {
          ...slot,
          position: slot.source_position as Slot["position"],
          source_position: slot.position,
        }
      : (moved.slots[i] as Slot);
  });
  const text = promptOf(experiment.sources, source) ?? "";
  return setPrompt(setBase({ ...experiment, slots }, text), source, experiment.base);
}
