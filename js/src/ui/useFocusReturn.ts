// Focus after something that opened by itself, or was opened, has gone.
import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/**
 * A ref for an element that comes and goes. If it has the focus when it goes, the focus returns to
 * where it was when the element came, or to the screen as a whole if that is gone too.
 */
export function useFocusReturn<E extends HTMLElement>(): RefObject<E | null> {
  const element = useRef<E | null>(null);
  useLayoutEffect(() => {
    const here = element.current;
    if (!here) return undefined;
    const root = here.closest<HTMLElement>(".vene-root");
    const focused = () => (here.getRootNode() as Document | ShadowRoot).activeElement;
    const before = focused();
    return () => {
      if (!here.contains(focused())) return;
      const isThere = before instanceof HTMLElement && root?.contains(before);
      (isThere ? before : root)?.focus({ preventScroll: true });
    };
  }, []);
  return element;
}
