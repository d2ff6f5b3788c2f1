// Full screen, where the browser and the page around it allow it.
import type { App } from "../../app/app";
import { createLecture } from "./state";

/** Lecture mode, on the whole screen at once. */
export function enter(app: App, element: Element): void {
  app.use(createLecture).toggle();
  if (!document.fullscreenElement) toggleFullScreen(element);
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
