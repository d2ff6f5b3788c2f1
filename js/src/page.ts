// The script of a saved page: shows every state that stands in the page and is not shown yet.
import type { RenderProps } from "@anywidget/types";
import widget from "./index";
import { OfflineModel, type SavedTraits } from "./kernel/offline";

for (const data of document.querySelectorAll<HTMLElement>("script[data-vene-state]")) {
  if (data.dataset.veneState === "shown") continue;
  data.dataset.veneState = "shown";
  const place = data.previousElementSibling;
  if (!(place instanceof HTMLElement)) continue;
  const traits = JSON.parse(data.textContent ?? "{}") as SavedTraits;
  const model = new OfflineModel({
    ...traits,
    picture: pictureOf(traits, place.querySelector("img")),
  });
  place.textContent = "";
  const props = { model, el: place, signal: new AbortController().signal };
  widget.render(props as unknown as RenderProps);
}

// A page that embeds this one in a frame can make the frame as tall as the content.
if (window.parent !== window) {
  const margin = Number.parseFloat(getComputedStyle(document.body).marginTop);
  const report = () => {
    const veneHeight = document.body.getBoundingClientRect().height + 2 * margin;
    window.parent.postMessage({ veneHeight }, "*");
  };
  report(); // observers rest while the frame is out of view
  new ResizeObserver(report).observe(document.body);
}

/** The picture with its bytes, which stand in the page as an image for readers without scripts. */
function pictureOf(traits: SavedTraits, image: HTMLImageElement | null): object {
  const [, text] = image?.src.split(";base64,") ?? [];
  if (!text) return {};
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return { ...(traits.picture as object), png: new DataView(bytes.buffer) };
}
