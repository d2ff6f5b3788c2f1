// What a slot reads instead of a source's run: a vector, or means over prompts.
import { changeSlot, type Plain, type Slot } from "./experiments";
import { promptOf } from "./sources";

export type Reading = "run" | "mean" | "difference" | "vector";

export function readingOf({ vector, prompts, minus }: Slot): Reading {
  if (vector !== null) return "vector";
  return minus.length > 0 ? "difference" : prompts.length > 0 ? "mean" : "run";
}

/** Another reading, with prompts that make it valid at once; steering adds, where a slot copied. */
export function setReading(experiment: Plain, index: number, reading: Reading): Plain {
  const slot = experiment.slots[index];
  if (!slot || reading === "vector" || reading === readingOf(slot)) return experiment;
  const none = { prompts: [], minus: [], vector: null };
  const [first] = experiment.sources;
  if (reading === "run") {
    const source = first?.[0] ?? null;
    return changeSlot(experiment, index, { ...none, source, source_position: null });
  }
  const isNew = slot.prompts.length === 0;
  const prompt = promptOf(experiment.sources, slot.source) ?? first?.[1] ?? experiment.base;
  const isDifference = reading === "difference";
  const { position, source_position } = slot;
  const isAligned = `${source_position ?? position}` === `${position}`;
  return changeSlot(experiment, index, {
    ...none,
    source: null,
    group: null,
    // Every prompt has a last token; it may not have the positions of the base.
    ...(isNew && { source_position: isAligned ? null : -1 }),
    prompts: isNew ? [prompt] : slot.prompts,
    ...(isDifference && {
      minus: [experiment.base],
      intervention: slot.intervention === "vanilla" ? "addition" : slot.intervention,
    }),
  });
}
