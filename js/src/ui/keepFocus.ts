// The focus when the element that had it is removed or disabled: keys would go to the page then.

/** What Tab stops at, unless it is disabled or out of the order. */
const STOPS = "button, select, input, textarea, a[href], [tabindex]";

/**
 * Keeps the focus within `root`: a neighbour of the element that lost it gets it, the next one before
 * the one in front, else `root`. Gives what ends it.
 */
export function keepFocus(root: HTMLElement): () => void {
  let last: Element | null = null;
  /** The elements around it, each with the index of the child that it was in. */
  let around: [Element, number][] = [];
  const focused = () => (root.getRootNode() as Document | ShadowRoot).activeElement;

  const remember = ({ target }: FocusEvent) => {
    last = target as Element;
    around = [];
    for (let at = last; at !== root && at.parentElement; at = at.parentElement)
      around.push([at.parentElement, [...at.parentElement.children].indexOf(at)]);
  };
  // A click elsewhere takes the focus away for good, also where nothing there can have it.
  const forget = (event: Event) => {
    if (!event.composedPath().includes(root)) last = null;
  };
  const observer = new MutationObserver(() => {
    if (!last || (root.contains(last) && !last.matches(":disabled"))) return;
    const lost = last;
    last = null;
    if (focused() !== lost && document.activeElement !== document.body) return;
    for (const [element, index] of around) {
      if (!root.contains(element)) continue;
      const stops = [...element.children].map(stopsIn);
      for (const stop of [
        ...stops.slice(index).flat(),
        ...stops.slice(0, index).flat().reverse(),
      ]) {
        stop.focus({ preventScroll: true });
        if (focused() === stop) return; // else it is not visible
      }
    }
    root.focus({ preventScroll: true });
  });
  observer.observe(root, { childList: true, subtree: true, attributeFilter: ["disabled"] });
  root.addEventListener("focusin", remember);
  window.addEventListener("pointerdown", forget, true);
  return () => {
    observer.disconnect();
    window.removeEventListener("pointerdown", forget, true);
  };
}

function stopsIn(element: Element): HTMLElement[] {
  return [element, ...element.querySelectorAll(STOPS)].filter(
    (one): one is HTMLElement =>
      one.matches(STOPS) && !one.matches(":disabled") && (one as HTMLElement).tabIndex >= 0,
  );
}
