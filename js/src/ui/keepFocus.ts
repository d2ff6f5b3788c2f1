// The focus when the element that had it is removed or disabled: keys would go to the page then.

/** What Tab stops at, unless it is out of the order. */
const STOPS = ":is(button, select, input, textarea, a[href], [tabindex]):not(:disabled)";

/** What opens by itself, or over the screen, and goes again. */
const PASSING = "[data-passing]";

/**
 * Keeps the focus within `root`. Where the element that has it goes, the focus goes
 *
 * - back to where it came from, if that element was in one marked `data-passing`,
 * - else to a control of the same name around it, the next one, or the one in front,
 * - else to `root`.
 *
 * Gives what ends it.
 */
export function keepFocus(root: HTMLElement): () => void {
  let last: Element | null = null;
  /** The elements around it, each with the index of the child that it was in. */
  let around: [Element, number][] = [];
  /** What had the focus before something that passes. */
  let origin: Element | null = null;
  const focused = () => (root.getRootNode() as Document | ShadowRoot).activeElement;

  const remember = (event: FocusEvent) => {
    const target = event.target as Element;
    const passing = target.closest(PASSING);
    if (passing && !passing.contains(last)) origin = last;
    last = target;
    around = [];
    for (let at = target; at !== root && at.parentElement; at = at.parentElement)
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
    for (const stop of [...targets(lost), root]) {
      stop.focus({ preventScroll: true });
      if (focused() === stop) return; // else it is not there, or not visible
    }
  });

  function targets(lost: Element): HTMLElement[] {
    if (lost.closest(PASSING)) return origin ? [origin as HTMLElement] : [];
    const name = lost.getAttribute("aria-label");
    return around.flatMap(([element, index]) => {
      if (!root.contains(element)) return [];
      const stops = [...element.children].map(stopsIn);
      const order = [...stops.slice(index).flat(), ...stops.slice(0, index).flat().reverse()];
      return [
        ...order.filter((stop) => name && stop.getAttribute("aria-label") === name),
        ...order,
      ];
    });
  }

  observer.observe(root, { childList: true, subtree: true, attributeFilter: ["disabled"] });
  root.addEventListener("focusin", remember);
  window.addEventListener("pointerdown", forget, true);
  return () => {
    observer.disconnect();
    window.removeEventListener("pointerdown", forget, true);
  };
}

function stopsIn(element: Element): HTMLElement[] {
  const all = [element, ...element.querySelectorAll(STOPS)] as HTMLElement[];
  return all.filter((one) => one.matches(STOPS) && one.tabIndex >= 0);
}
