// The base's tokens in a row: places to drop a source token on while one is carried.
import { useLayoutEffect, useRef } from "preact/hooks";
import { actionOf, consume } from "../../app/keys";
import type { TokenInfo } from "../../kernel/wire";
import { PlainButton } from "../../ui/controls";
import { Cell, chipClass, titleOf } from "./Chips";
import type { Carry } from "./carry";

export function BaseChips({
  tokens,
  carry,
  hasCaptions,
}: {
  tokens: TokenInfo[];
  carry: Carry;
  hasCaptions: boolean;
}) {
  const row = useRef<HTMLSpanElement>(null);
  const held = carry.held.value;
  const over = carry.over.value;
  const byKeys = useRef(false);
  useLayoutEffect(() => {
    if (!held || over === null || !byKeys.current) return;
    row.current?.querySelector<HTMLElement>(`[data-base="${over}"]`)?.focus();
  });
  // A token that is picked up with the keyboard takes the focus along; one that is dragged does not.
  byKeys.current = held !== null && carry.isByKeys();
  return (
    <span class="vene-chips" ref={row}>
      {tokens.map((token) => (
        <Cell key={token.index} caption={hasCaptions ? String(token.index) : null}>
          {held ? (
            <PlainButton
              class={`${chipClass(false)} vene-chip-target`}
              data-base={token.index}
              data-over={token.index === over || undefined}
              tabIndex={token.index === over ? 0 : -1}
              aria-label={`Drop ${held.label} on ${token.index} ${token.label}`}
              onClick={() => carry.drop(token.index)}
              onKeyDown={(event) => {
                const action = actionOf("tokens", event);
                if (!action) return;
                if (action === "put") carry.put();
                else carry.step({ left: -1, right: 1, first: -1e9, last: 1e9 }[action]);
                consume(event);
              }}
            >
              {token.label}
            </PlainButton>
          ) : (
            <span class={chipClass(false)} data-base={token.index} title={titleOf(token)}>
              {token.label}
            </span>
          )}
        </Cell>
      ))}
    </span>
  );
}
