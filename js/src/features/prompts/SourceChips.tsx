// A source's tokens in a row: buttons, each of which can be carried to a base token.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { actionOf, consume } from "../../app/keys";
import { ranges } from "../../domain/format";
import type { TokenInfo } from "../../kernel/wire";
import { PlainButton } from "../../ui/controls";
import { Cell, chipClass, differing, titleOf } from "./Chips";
import type { Carry } from "./carry";

interface SourceProps {
  name: string;
  tokens: TokenInfo[];
  against: TokenInfo[] | null;
  carry: Carry;
  /** For each base position the source position that goes there; null where that goes unsaid. */
  pairs: readonly number[] | null;
  /** Why none can be carried, on a saved page. */
  refusal: string | null;
}

export function SourceChips({ name, tokens, against, carry, pairs, refusal }: SourceProps) {
  const marks = differing(tokens, against);
  const stop = useSignal(0);
  const row = useRef<HTMLSpanElement>(null);
  const drag = useRef<{ x: number; y: number } | null>(null);
  const wasDragged = useRef(false);
  const held = carry.held.value?.source === name ? carry.held.value.index : null;
  const before = useRef<number | null>(null);
  useLayoutEffect(() => {
    // Put back or dropped: the focus goes back to where it came from.
    if (before.current !== null && held === null && carry.isByKeys()) focus(before.current);
    before.current = held;
  });
  const reach = Math.min(stop.value, tokens.length - 1);
  const focus = (index: number) => {
    stop.value = index;
    row.current?.querySelector<HTMLElement>(`[data-token="${index}"]`)?.focus();
  };
  const end = ({ currentTarget }: { currentTarget: HTMLElement }) => {
    drag.current = null;
    currentTarget.style.transform = "";
  };
  return (
    <span class="vene-chips" role="toolbar" aria-label={`Tokens of ${name}`} ref={row}>
      {tokens.map((token) => {
        const { index } = token;
        const to = pairs && ranges(pairs.flatMap((from, base) => (from === index ? [base] : [])));
        return (
          <Cell key={index} caption={to === null ? null : to ? `→ ${to}` : "–"}>
            <PlainButton
              class={chipClass(marks(index))}
              disabled={refusal !== null}
              data-token={index}
              title={`${titleOf(token)}${to ? ` · goes into base ${to}` : ""}\n${refusal ?? "Drag it onto a base token, or press Enter, to pair the two"}`}
              aria-label={`${index} ${token.label}${to ? `, goes into base ${to}` : ""}: pick up to pair`}
              aria-pressed={held === index}
              tabIndex={index === reach ? 0 : -1}
              onFocus={() => {
                stop.value = index;
              }}
              onPointerDown={(event) => {
                if (event.button !== 0) return;
                drag.current = { x: event.clientX, y: event.clientY };
                wasDragged.current = false;
                event.currentTarget.setPointerCapture?.(event.pointerId);
              }}
              onPointerMove={(event) => {
                const from = drag.current;
                if (!from) return;
                const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
                if (!wasDragged.current && Math.hypot(dx, dy) < 4) return;
                if (!wasDragged.current) carry.pick(name, index, token.label, false);
                wasDragged.current = true;
                event.currentTarget.style.transform = `translate(${dx}px, ${dy}px)`;
                carry.over.value = baseUnder(event);
              }}
              onPointerUp={(event) => {
                end(event);
                if (!wasDragged.current) return;
                const to = baseUnder(event);
                if (to === null) carry.put();
                else carry.drop(to);
              }}
              onPointerCancel={(event) => {
                end(event);
                carry.put();
              }}
              onClick={() => {
                // The click that ends a drag is none.
                if (wasDragged.current) wasDragged.current = false;
                else if (held === index) carry.put();
                else carry.pick(name, index, token.label, true);
              }}
              onKeyDown={(event) => {
                wasDragged.current = false; // a drag that ended elsewhere takes no key's click
                const action = actionOf("tokens", event);
                const last = tokens.length - 1;
                if (!action || (action === "put" && held === null)) return;
                if (action === "put") carry.put();
                else {
                  const next = { left: index - 1, right: index + 1, first: 0, last }[action];
                  focus(Math.max(0, Math.min(last, next)));
                }
                consume(event);
              }}
            >
              {token.label}
            </PlainButton>
          </Cell>
        );
      })}
    </span>
  );
}

/** The base token under the pointer; the dragged chip itself does not count. */
function baseUnder(event: PointerEvent & { currentTarget: HTMLElement }): number | null {
  const root = event.currentTarget.getRootNode() as Document;
  for (const element of root.elementsFromPoint?.(event.clientX, event.clientY) ?? []) {
    const chip = element.closest<HTMLElement>("[data-base]");
    if (chip) return Number(chip.dataset.base);
  }
  return null;
}
