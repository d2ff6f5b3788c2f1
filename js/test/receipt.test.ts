// What a slot did, in words and measured.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import type { OrderedExperiment as Experiment, ReceiptInfo } from "../src/kernel/wire";
import { click, drawn, mount, openTab, tile, toggleDetails } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const named = (name: string) =>
  screen.el.querySelector(`[aria-label="${name}"]`) as HTMLInputElement;
const row = (index: number) => screen.el.querySelector(`[data-slot="${index}"]`) as HTMLElement;
const details = () => screen.el.querySelector<HTMLElement>("[data-details]");
const outcome = (index: number) =>
  row(index).querySelector<HTMLElement>(".vene-slot-outcome") as HTMLElement;

function open(slots: NonNullable<Experiment["slots"]>, more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots, ...more }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene), map: makeMap(scene) });
}
const three = [0, 1, 2].map((layer) => ({ layer, position: 3, source: "italy" }));

describe("a receipt", () => {
  const receipts = (...reasons: ReceiptInfo["reason"][]) => {
    const slots = reasons.map((reason, layer) => ({
      layer,
      position: 3,
      skip: reason === "skipped",
    }));
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots }, 12, 2, null);
    const full = makeAnswer(scene);
    full.receipts = full.receipts.map((receipt, i) => ({
      ...receipt,
      reason: reasons[i] as ReceiptInfo["reason"],
      words: `Words for ${reasons[i]}.`,
    }));
    screen = mount({ scene, answer: full });
  };

  it("states the outcome of a slot for every reason, with a named mark", async () => {
    const quiet = ["changed", "collected", "skipped"] as const;
    const warned = ["unreached", "weak", "prefix", "same", "replaced", "unread"] as const;
    receipts(...quiet, ...warned);
    for (const [i, reason] of [...quiet, ...warned].entries()) {
      const kind = i > 2 ? "warning" : reason === "skipped" ? "skipped" : "fired";
      const name = { warning: "Warning:", skipped: "Skipped.", fired: "Fired:" }[kind];
      const words = `Words for ${reason}.`;
      expect(outcome(i).dataset.outcome).toBe(kind);
      expect(outcome(i).getAttribute("aria-label")).toBe(`Slot ${i}: ${name} ${words}`);
      expect(outcome(i).querySelector("svg")).not.toBeNull();
      await toggleDetails(screen.el, i);
      const line = details()?.querySelector<HTMLElement>(".vene-receipt-line");
      expect([line?.textContent, line?.dataset.outcome]).toEqual([words, kind]);
      expect(line?.querySelector("[role=img]")?.getAttribute("aria-label")).toBe(name);
    }
  });

  it("is measured: a size on the line, the rest in the details and in the drawer", async () => {
    receipts("changed");
    expect(outcome(0).textContent).toContain("‖Δ‖ 31.6");
    await toggleDetails(screen.el, 0);
    await openTab(screen.el, "receipts");
    for (const place of ["[data-details]", "[data-panel=receipts]"]) {
      const said = screen.el.querySelector(place);
      for (const part of ["1 vector", "‖Δ‖ 31.6", "1 × 5 × 128", "all 128", "rest bit-equal"])
        expect(said?.textContent).toContain(part);
      expect(said?.querySelector('[title*="31.5605"]')).not.toBeNull();
    }
  });

  it("of a skipped slot has no size", async () => {
    receipts("changed", "skipped");
    expect(outcome(1).textContent).toBe(" skipped");
    await openTab(screen.el, "receipts");
    const rows = [...screen.el.querySelectorAll("[data-panel=receipts] tbody tr")];
    expect(rows.map((tr) => tr.textContent?.includes("‖Δ‖"))).toEqual([true, false]);
    expect(rows.map((tr) => tr.querySelector("th")?.textContent)).toEqual(["0", "1"]);
  });

  it("is not told of an experiment that has not been run: whose numbers are shown is", async () => {
    open(three);
    click(named("Skip slot 0"));
    await drawn();
    expect(outcome(1).dataset.outcome).toBe("unknown");
    expect(outcome(1).title).toContain("the numbers are of the experiment before");
    expect(outcome(1).textContent).toBe("");
    expect(outcome(0).title).toContain("keeps its number");
    expect(screen.el.querySelector(".vene-count")?.textContent).toBe("3 (1 skipped)");
    click(tile(screen.el, 2, 3));
    await drawn();
    expect(screen.el.querySelector<HTMLElement>(".vene-status")?.dataset.label).toBe("preview");
    expect(outcome(0).dataset.outcome).toBe("unknown");
    expect(outcome(0).title).toContain("From the map");
  });
});
