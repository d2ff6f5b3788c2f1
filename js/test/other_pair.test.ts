// A slot that reads another token than the map does at its tile.
import { afterEach, expect, it } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { drawn, mount, tile, unfold } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen.close();
  document.body.innerHTML = "";
});

function open(from: number, more: object = {}): void {
  const { experiment } = spainAndItaly().scene;
  const slots = [{ layer: 1, position: 2, source: "italy", source_position: from, ...more }];
  const scene = sceneOf({ ...experiment, slots }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene) });
}

it("says so at the tile, whose number or hatching is the map’s", async () => {
  open(3);
  if (screen.el.querySelector(".vene-map-fold")) await unfold(screen.el);
  const here = tile(screen.el, 1, 2);
  const words = "Slot 0 reads 3 ␣Italy here, the map 2 ␣of.";
  expect(here.classList.contains("vene-tile-idle")).toBe(true);
  expect(here.title).toBe(words);
  expect(here.getAttribute("aria-label")).toContain(words);
  here.dispatchEvent(new Event("pointerover", { bubbles: true }));
  await drawn();
  expect(screen.el.querySelector(".vene-readout-sentence")?.textContent).toBe(words);
  // Other tiles of the row are not meant.
  expect(tile(screen.el, 1, 4).title).toBe("");
});

it.each([
  ["of the same token", 2, {}],
  ["that reads no source, and keeps the name of one", 3, { intervention: "zero" }],
])("says nothing for a slot %s", async (_, from, more) => {
  open(from, more);
  if (screen.el.querySelector(".vene-map-fold")) await unfold(screen.el);
  expect(tile(screen.el, 1, 2).getAttribute("aria-label")).not.toContain("the map");
});
