// The map's legend: plain runs in the metric's unit, and the scale of the whole map in a lecture.
import { afterEach, expect, it } from "vitest";
import { METRICS, makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { plainReading } from "../src/domain/metrics";
import { drawn, mount, press } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen.close();
  document.body.innerHTML = "";
});
const legend = () => screen.el.querySelector(".vene-legend")?.textContent ?? "";
const root = () => screen.el.querySelector(".vene-root") as HTMLElement;

async function showMetric(name: string): Promise<void> {
  const menu = screen.el.querySelector<HTMLSelectElement>('[aria-label="Metric"]');
  if (!menu) throw new Error("no menu");
  menu.value = name;
  menu.dispatchEvent(new Event("change", { bubbles: true }));
  await drawn();
}

it("gives base and source in the metric’s own unit, and leaves out what is not known", async () => {
  screen = mount();
  const rome = spainAndItaly().map.targets.findIndex(({ label }) => label === "␣Rome");
  const { base, source } = spainAndItaly().map.targets[rome] ?? { base: 0, source: 0 };
  expect(legend()).toMatch(/base 0\.0\d+, source 94/); // percent, as on the tiles
  await showMetric("delta");
  expect(legend()).toContain("base 0, source +94");
  await showMetric("log_ratio");
  expect(legend()).toContain(`base 0, source +${Math.log(source / base).toPrecision(2)}`);
  await showMetric("logit_difference");
  expect(legend()).toMatch(/base −\d[\d.]*, source \+\d[\d.]*/);
  for (const name of ["rank", "kl"]) {
    await showMetric(name);
    expect(legend()).not.toContain("base");
  }
});

it("knows no rank in a plain run", () => {
  screen = mount();
  const { targets } = spainAndItaly().map;
  const rank = METRICS.find(({ name }) => name === "rank");
  if (!rank) throw new Error("no metric");
  expect(plainReading(rank, "base", { target: 0, other: 1 }, targets)).toBeNull();
});

it("keeps the whole map’s scale while a lecture covers the map, and names the token", async () => {
  const { experiment } = spainAndItaly().scene;
  // A tile where the target's probability is small.
  const slots = [{ layer: 4, position: 3, source: "italy", source_position: 3 }];
  const scene = sceneOf({ ...experiment, slots }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene) });
  expect(legend()).not.toContain("P(␣Rome)");
  press(root(), "f");
  await drawn();
  press(root(), " ");
  await drawn();
  const shown = [...screen.el.querySelectorAll("[role=gridcell] [data-text]")];
  expect(shown).toHaveLength(1);
  expect(legend()).toContain("P(␣Rome)0100\u00a0%");
});
