// The size of an element, followed where the browser can.

/** Calls `run` with the first size and each later one; gives what ends it. */
export function onResize(
  element: Element | null,
  run: (entries: ResizeObserverEntry[]) => void,
): (() => void) | undefined {
  if (!element || typeof ResizeObserver === "undefined") return undefined;
  const observer = new ResizeObserver(run);
  observer.observe(element);
  return () => observer.disconnect();
}
