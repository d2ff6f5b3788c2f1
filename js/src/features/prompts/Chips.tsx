// A prompt's tokens as chips: how one looks, and which of them differ.
import type { ComponentChildren } from "preact";
import { sharedEnds } from "../../domain/geometry";
import { idsOf } from "../../domain/prompts";
import type { TokenInfo } from "../../kernel/wire";

/**
 * Whether a token differs from the one that it goes with: at its own place in prompts of one length,
 * else where the two share neither beginning nor end.
 */
export function differing(tokens: TokenInfo[] | null, against: TokenInfo[] | null) {
  if (!tokens || !against) return () => false;
  const [ids, others] = [idsOf(tokens), idsOf(against)];
  if (ids.length === others.length) return (index: number) => ids[index] !== others[index];
  const { start, end } = sharedEnds(ids, others);
  return (index: number) => index >= start && index < ids.length - end;
}

export function Chip({ token, differs }: { token: TokenInfo; differs: boolean }) {
  return (
    <span class={chipClass(differs)} title={titleOf(token)}>
      {token.label}
    </span>
  );
}

export const chipClass = (differs: boolean) => `vene-chip${differs ? " vene-chip-differs" : ""}`;
export const titleOf = (token: TokenInfo) => `position ${token.index} · id ${token.id}`;

/** A chip with what stands beneath it: where its token goes, or is. */
export function Cell({
  caption,
  children,
}: {
  caption: string | null | undefined;
  children: ComponentChildren;
}) {
  return (
    <span class="vene-chip-cell">
      {children}
      {caption != null && (
        <span class="vene-chip-caption" aria-hidden="true">
          {caption}
        </span>
      )}
    </span>
  );
}
