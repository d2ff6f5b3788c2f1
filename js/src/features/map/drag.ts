// Painting on the map: listeners of the whole window while a button is held, and what its keys mean.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { consume } from "../../app/keys";
import type { Tile } from "../../domain/geometry";
import { createGestures } from "./gestures";
import { createMap } from "./state";

/** Listeners of the whole window while a button is held on the map; they go with the view. */
export function useDrag(app: App) {
  const { brush, strokeTiles } = app.use(createMap);
  const held = useRef<AbortController | null>(null);
  useLayoutEffect(
    () => () => {
      held.current?.abort();
      brush.drop();
    },
    [brush],
  );
  const finish = () => {
    held.current?.abort();
    const tiles = strokeTiles.peek();
    const done = brush.finish();
    if (done) app.use(createGestures).paint(tiles, done.gesture);
  };
  const drop = () => {
    held.current?.abort();
    brush.drop();
  };
  const begin = (at: Tile, event: PointerEvent) => {
    held.current?.abort();
    held.current = new AbortController();
    const { signal } = held.current;
    // A finger would go on pointing at the tile where it came down.
    const element = event.target as Element;
    if (element.hasPointerCapture?.(event.pointerId)) {
      element.releasePointerCapture(event.pointerId);
    }
    brush.press(at, gestureOf(event));
    window.addEventListener("pointerup", finish, { signal });
    window.addEventListener("pointercancel", drop, { signal });
    const onKey = (key: KeyboardEvent) => {
      if (key.key !== "Escape" || !brush.stroke.peek()) return;
      consume(key);
      drop();
    };
    window.addEventListener("keydown", onKey, { capture: true, signal });
  };
  return { begin, finish };
}

export function gestureOf(event: MouseEvent) {
  return event.altKey ? "new group" : event.shiftKey ? "add" : "replace";
}
