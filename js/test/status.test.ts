// What the status says of the numbers on the screen: how they were computed, and where.
import { afterEach, describe, expect, it } from "vitest";
import { ANSWERS, sceneOf, spainAndItaly } from "../dev/fixtures";
import { drawn, mount } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.controller.abort();
  document.body.innerHTML = "";
});

const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);

describe("the status", () => {
  it("names a dtype whose numbers are coarse, and says how coarse", async () => {
    for (const [dtype, step] of [
      ["bfloat16", "0.8 %"],
      ["float16", "0.1 %"],
      ["float32", null],
    ] as const) {
      const traits = spainAndItaly();
      const model = { ...traits.scene.model, dtype };
      screen = mount({ scene: { ...traits.scene, model } });
      await drawn();
      const status = $(".vene-status");
      expect(status?.textContent?.includes(dtype)).toBe(step !== null);
      expect(status?.title).toContain(dtype);
      if (step) expect(status?.title).toContain(`differ by up to ${step}`);
      else expect(status?.title).not.toContain("differ by");
      screen.controller.abort();
      screen.el.remove();
    }
  });

  it("gives the time of the patched run, and of a plain run none", () => {
    const open = ({ experiment, answer }: (typeof ANSWERS)["single"]) => {
      screen = mount({ scene: sceneOf(experiment, 6, answer.revision, null), answer });
      const { textContent, dataset } = $(".vene-status") as HTMLElement;
      screen.controller.abort();
      screen.el.remove();
      return [textContent, dataset.label];
    };
    expect(open(ANSWERS.single)).toEqual(["exact · 10 ms · cpu", "exact"]);
    expect(open(ANSWERS.skipped)).toEqual(["exact · plain run · cpu", "exact"]);
    screen = mount();
    expect($(".vene-status")?.textContent).toBe("exact · plain run · cpu");
  });
});
