// The history strip keeps the experiment on the screen in sight.
import { afterEach, expect, it, vi } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { addPast } from "../dev/past";
import type { Past } from "../src/kernel/wire";
import { drawn, mount, press } from "./helpers";

const sizes: { element: Element; run(): void }[] = [];
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  Reflect.deleteProperty(HTMLElement.prototype, "clientWidth");
  document.body.innerHTML = "";
  sizes.length = 0;
});

it("after a resize, and after a lecture", async () => {
  vi.stubGlobal(
    "ResizeObserver",
    class {
      run: () => void;
      constructor(run: (entries: unknown[]) => void) {
        this.run = () => run([{ contentRect: { width: 300 } }]);
      }
      observe(element: Element): void {
        sizes.push({ element, run: this.run });
      }
      disconnect(): void {}
    },
  );
  // Chips of 100 pixels in a strip of 150.
  vi.spyOn(HTMLElement.prototype, "offsetWidth", "get").mockReturnValue(100);
  vi.spyOn(HTMLElement.prototype, "offsetLeft", "get").mockImplementation(function (
    this: HTMLElement,
  ) {
    return 100 * [...(this.parentElement?.children ?? [])].indexOf(this);
  });
  Object.defineProperty(HTMLElement.prototype, "clientWidth", { configurable: true, value: 150 });

  const { experiment } = spainAndItaly().scene;
  const scenes = [0, 1, 2, 3].map((layer) =>
    sceneOf(
      { ...experiment, slots: [{ layer, position: 3, source: "italy", source_position: 3 }] },
      ...([6, layer + 1, null] as const),
    ),
  );
  let past: Past | null = null;
  for (const scene of scenes) past = addPast(past, scene, makeAnswer(scene));
  const scene = scenes[3];
  if (!scene) throw new Error("no scene");
  const screen = mount({ scene, answer: makeAnswer(scene), past });
  const strip = () => screen.el.querySelector(".vene-history-chips") as HTMLElement;
  const end = 400 + 24 - 150; // of the fourth chip, before the strip fades out
  await vi.waitFor(() => expect(strip().scrollLeft).toBe(end));

  strip().scrollLeft = 0;
  for (const { element, run } of sizes) if (element === strip()) run();
  expect(strip().scrollLeft).toBe(end);

  press(screen.el.querySelector(".vene-root") as HTMLElement, "f");
  await drawn();
  expect(strip()).toBeNull();
  press(screen.el.querySelector(".vene-root") as HTMLElement, "Escape");
  await drawn();
  await vi.waitFor(() => expect(strip().scrollLeft).toBe(end));
  screen.close();
});
