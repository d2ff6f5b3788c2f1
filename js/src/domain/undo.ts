// Undo and redo: two lists of earlier and later states around the present one.

export interface UndoList<T> {
  readonly past: readonly T[];
  readonly future: readonly T[];
}

const KEPT = 200;

export function empty<T>(): UndoList<T> {
  return { past: [], future: [] };
}

/** A new step away from `present`; what had been undone is gone. */
export function step<T>(list: UndoList<T>, present: T): UndoList<T> {
  return { past: [...list.past, present].slice(-KEPT), future: [] };
}

export function undo<T>(list: UndoList<T>, present: T): [UndoList<T>, T] | null {
  const before = list.past.at(-1);
  if (before === undefined) return null;
  return [{ past: list.past.slice(0, -1), future: [present, ...list.future] }, before];
}

export function redo<T>(list: UndoList<T>, present: T): [UndoList<T>, T] | null {
  const after = list.future[0];
  if (after === undefined) return null;
  return [{ past: [...list.past, present], future: list.future.slice(1) }, after];
}
