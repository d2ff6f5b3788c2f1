// Full screen, where the browser and the page around it allow it.
import type { App } from "../../app/app";
import { createLecture } from "./state";

/** Lecture mode, on the whole screen at once. */
export function enter(app: App, element: Element): void {
  app.use(createLecture).toggle();
  if (!document.fullscreenElement) toggleFullScreen(element);
}

/** Ends the full screen of an explorer's host; the page's own, or another explorer's, stays. */
export function leaveFullScreen(host: Element | null): void {
  const root = host?.getRootNode() as Document | ShadowRoot | undefined;
  if (host && root?.fullscreenElement === host) document.exitFullscreen().catch(() => {});
}

export function toggleFullScreen(element: Element): void {
  if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  // The host, because the layout follows the host's width. A refusal leaves the lecture in its cell.
  else
    element
      .closest(".vene-host")
      ?.requestFullscreen?.()
      ?.catch(() => {});
}
