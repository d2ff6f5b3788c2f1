import type { TargetedMouseEvent } from "preact";

/** Focus leaves what was clicked, so that Space goes on revealing; a key's press leaves it there. */
export function backToScreen(event: TargetedMouseEvent<HTMLElement>): void {
  const { currentTarget: button, detail } = event;
  const isGoing = button.matches(".vene-reveal");
  if (detail > 0 || isGoing)
    button.closest<HTMLElement>(".vene-root")?.focus({ preventScroll: true });
}
