// A row's number, by which it is moved: dragged, or with Alt and the arrows.
import { useRef } from "preact/hooks";
import { actionOf, consume } from "../../app/keys";
import { dropIndex } from "../../domain/order";
import { PlainButton } from "../../ui/controls";
import { GripIcon } from "../../ui/icons";

interface Props {
  index: number;
  count: number;
  /** Whether another slot acts at the same site, so that the order changes the result. */
  isOrdered: boolean;
  /** On a saved page, where another order would have to run. */
  isFixed: boolean;
  /** Where the row would go now; null when nothing is dragged any more. */
  onDrag(to: number | null): void;
  onMove(to: number): void;
}

export function Handle({ index, count, isOrdered, isFixed, onDrag, onMove }: Props) {
  const drag = useRef<{ list: Element; from: number; middles: number[]; to: number } | null>(null);
  const stop = () => {
    drag.current = null;
    onDrag(null);
  };
  const why = isOrdered
    ? "another slot acts here, the later on what the earlier left"
    : "no other slot acts here, so the order is free";
  return (
    <PlainButton
      class="vene-bare vene-slot-handle"
      aria-label={`Move slot ${index}`}
      aria-keyshortcuts="Alt+ArrowUp Alt+ArrowDown"
      disabled={isFixed}
      title={isFixed ? `Slot ${index}` : `Slot ${index}. Drag, or Alt-Up and Alt-Down; ${why}.`}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        const list = event.currentTarget.closest("ol");
        if (!list) return;
        const middles = [...list.children].map((row) => {
          const { top, height } = row.getBoundingClientRect();
          return top + height / 2;
        });
        drag.current = { list, from: list.scrollTop, middles, to: index };
        event.currentTarget.setPointerCapture?.(event.pointerId);
      }}
      onPointerMove={(event) => {
        if (!drag.current) return;
        const { list, from, middles } = drag.current;
        list.scrollTop += nudge(event.clientY, list.getBoundingClientRect());
        const to = dropIndex(event.clientY + list.scrollTop - from, index, middles);
        if (to === drag.current.to) return;
        drag.current.to = to;
        onDrag(to);
      }}
      onPointerUp={() => {
        const to = drag.current?.to ?? index;
        stop();
        if (to !== index) onMove(to);
      }}
      onPointerCancel={stop}
      onKeyDown={(event) => {
        const action = actionOf("slots", event);
        if (action === "put" && drag.current) stop();
        else if (action === "up") onMove(Math.max(0, index - 1));
        else if (action === "down") onMove(Math.min(count - 1, index + 1));
        else return;
        consume(event);
      }}
    >
      <GripIcon />
      <span class="vene-slot-index">{index}</span>
    </PlainButton>
  );
}

/** Pixels by which a list scrolls while a row is held near its upper or lower edge. */
function nudge(y: number, { top, bottom, height }: DOMRect): number {
  if (height < 4 * EDGE) return 0;
  return y < top + EDGE ? -STEP : y > bottom - EDGE ? STEP : 0;
}

const EDGE = 24;
const STEP = 12;
