// Undo and redo: two lists of earlier and later states around the present one.

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
