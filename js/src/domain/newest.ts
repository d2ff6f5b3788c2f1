// What is kept of much: the newest.

/** A copy of a map with one more entry at its end, and of the others only the newest. */
export function withNewest<Key, Value>(
  map: ReadonlyMap<Key, Value>,
  key: Key,
  value: Value,
  most: number,
): Map<Key, Value> {
  const others = [...map].filter(([one]) => one !== key);
  return new Map([...others, [key, value] as const].slice(-most));
}
