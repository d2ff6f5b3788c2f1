// Undo and redo: two lists of earlier and later states around the present one. And the strip of all.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { keyOf, type Plain, toPlain } from "../../domain/experiments";
import type { Kernel } from "../../kernel/kernel";
import type { PastEntry } from "../../kernel/wire";

export interface History<T> {
  readonly past: readonly T[];
  readonly future: readonly T[];
}

const KEPT = 200;

export function empty<T>(): History<T> {
  return { past: [], future: [] };
}

/** A new step away from `present`; what had been undone is gone. */
export function step<T>(history: History<T>, present: T): History<T> {
  return { past: [...history.past, present].slice(-KEPT), future: [] };
}

export function undo<T>(history: History<T>, present: T): [History<T>, T] | null {
  const before = history.past.at(-1);
  if (before === undefined) return null;
  return [{ past: history.past.slice(0, -1), future: [present, ...history.future] }, before];
}

export function redo<T>(history: History<T>, present: T): [History<T>, T] | null {
  const after = history.future[0];
  if (after === undefined) return null;
  return [{ past: [...history.past, present], future: history.future.slice(1) }, after];
}

/** What a comparison and Python call an entry of the strip: its name, else its number. */
export function titleOf(entry: Pick<PastEntry, "name" | "number">): string {
  return entry.name ?? `#${entry.number}`;
}

export type Past = ReturnType<typeof createPast>;

/** The strip: the kernel keeps it, this view only knows which entry is on the screen. */
export function createPast(kernel: Kernel, experiment: ReadonlySignal<Plain | null>) {
  const refused = signal<string | null>(null);
  const entries = computed<readonly PastEntry[]>(() => kernel.past.value?.entries ?? []);
  const keys = computed(() => entries.value.map((entry) => keyOf(toPlain(entry.experiment))));
  const current = computed<PastEntry | null>(() => {
    const now = experiment.value;
    return (now && entries.value[keys.value.indexOf(keyOf(now))]) ?? null;
  });
  const prefix = `past-${Math.random().toString(36).slice(2, 10)}`;
  let count = 0;
  kernel.onReply((reply) => {
    if (reply.id === `${prefix}-${count}`) refused.value = reply.ok ? null : (reply.error ?? "");
  });
  return {
    entries,
    current,
    refused,
    /** Gives an entry a name; an empty one takes it away. */
    name(entry: PastEntry, text: string): void {
      const name = text.trim() || null;
      refused.value = null;
      if (name === entry.name) return;
      kernel.send({ id: `${prefix}-${++count}`, kind: "name", number: entry.number, name });
    },
  };
}
