// The controls of a map: a key shows them in its place, and what they explain is muted.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import type { Placebo, Reading } from "../src/kernel/wire";
import { drawn, hover, mount, press, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, text, at, choose, named } = within(() => screen);
const { map } = spainAndItaly();

/** Every cell of one draw raises each token by so much. */
function draw(control: string, raise: (n: number) => number): Placebo["draws"][number] {
  const base = map.targets.map(() => 0.01);
  const reading = (more: number): Reading => ({
    probabilities: base.map((p) => p + more),
    ranks: base.map((_, n) => n + 1),
    kl: more,
    kl_source: 1 - more,
  });
  return { control, base: reading(0), cells: map.cells.map((_, n) => reading(raise(n))) };
}

const FOUND: Placebo = {
  request: "r1",
  revision: map.revision,
  component: map.component,
  head: map.head,
  layer: map.layer,
  position: map.position,
  source: map.source,
  intervention: map.intervention,
  targets: map.targets.map((target) => target.token_id),
  controls: ["random_source", "shuffled_weights"],
  base: {
    probabilities: map.targets.map((target) => target.base),
    ranks: map.targets.map((_, n) => n + 1),
    kl: 0,
    kl_source: 1,
  },
  draws: [draw("random_source", () => 0.02), draw("random_source", () => 0.05)],
  share: 0.5,
  note: null,
};
const WHOLE = { ...FOUND, share: null, draws: [...FOUND.draws, draw("shuffled_weights", () => 0)] };

const label = (row: number, column: number) =>
  (at(row, column).getAttribute("aria-label") ?? "").replaceAll("\u00a0", " ");
const pressed = async (key: string) => {
  press(screen.el.querySelector(".vene-root") as Element, key);
  await drawn();
};

describe("the controls of a map", () => {
  it("are asked for by S, shown one after the other, and explain tiles then", async () => {
    screen = mount();
    await pressed("s");
    expect(screen.model.sent.map(({ kind }) => kind)).toEqual(["placebo"]);
    screen.model.write({ placebo: FOUND });
    screen.model.reply({ id: screen.model.sent[0]?.id ?? "", ok: true, error: null });
    await drawn();
    expect($('progress[aria-label="Controls run"]')?.getAttribute("value")).toBe("0.5");
    const status = spainAndItaly().status;
    screen.model.write({ status: { ...status, progress: 0.5 } });
    await drawn();
    expect(text(".vene-status")).toContain("controls 50 %");
    screen.model.write({ status });
    await drawn();
    expect(label(1, 3)).toContain("random source: P(␣Rome) 6 %");
    expect(text(".vene-legend-control")).toBe("Random source: largest change of 2 draws");
    expect(text(".vene-readout")).toBe("Any other words in place of the source’s.");
    screen.model.write({ placebo: WHOLE });
    await pressed("s");
    expect(label(1, 3)).toContain("shuffled weights: P(␣Rome) 1 %");
    expect(text(".vene-legend-control")).toBe("Shuffled weights: largest change of 1 draw");
    await pressed("s");
    expect(label(1, 3)).toContain(", P(␣Rome) 94 %");
    expect(label(1, 3)).not.toContain("within the range");
    expect(label(3, 3)).toContain("P(␣Rome) 0.1 %, within the range of the controls");
    expect(at(3, 3).classList).toContain("vene-data-explained");
    expect(text(".vene-legend")).toContain("a control explains it");
    expect(screen.model.sent).toHaveLength(1);
    await hover(at(3, 3));
    expect(text(".vene-readout-sentence")).toContain(
      "random source +2\u00a0points to +5\u00a0points in 2 draws",
    );
  });

  it("give no covered tile away in a lecture", async () => {
    screen = mount();
    screen.model.write({ placebo: WHOLE });
    await drawn();
    await pressed("f");
    expect(label(3, 3)).toContain("covered");
    expect(label(3, 3)).not.toContain("within the range");
    expect(at(3, 3).classList).not.toContain("vene-data-explained");
    await pressed("m"); // the whole map, on demand
    expect(label(3, 3)).toContain("within the range");
  });

  it("are in a menu too, and go with the map", async () => {
    screen = mount();
    screen.model.write({ placebo: WHOLE });
    await choose("Map or control", "2");
    expect(screen.model.sent).toEqual([]);
    expect(label(1, 3)).toContain("shuffled weights: ");
    screen.model.write({ map: { ...map, component: "mlp_output" } });
    await drawn();
    expect(label(1, 3)).not.toContain("shuffled weights");
    expect((named("Map or control") as HTMLSelectElement).value).toBe("0");
    screen.model.write({ map });
    await drawn();
    expect(label(1, 3)).not.toContain("shuffled weights");
    screen.model.write({ placebo: { ...WHOLE, revision: map.revision + 1 } });
    await drawn();
    expect(label(3, 3)).not.toContain("within the range");
  });

  it("are run again for a token that they have not read, and after they were stopped", async () => {
    screen = mount();
    screen.model.write({ placebo: { ...WHOLE, targets: WHOLE.targets.map((id) => -1 - id) } });
    await pressed("s");
    expect(screen.model.sent).toHaveLength(1);
    screen.model.reply({ id: screen.model.sent[0]?.id ?? "", ok: true, error: null });
    await drawn();
    expect(text(".vene-legend-control")).toContain("have not run with this token");
    await choose("Map or control", "0");
    screen.model.write({ placebo: { ...WHOLE, note: "The controls were stopped." } });
    await drawn();
    expect(label(3, 3)).not.toContain("within the range");
    expect(text(".vene-legend-control")).toBe("The controls were stopped.");
    await pressed("s");
    expect(screen.model.sent).toHaveLength(2);
  });

  it("say why there are none", async () => {
    screen = mount();
    await pressed("s");
    const id = screen.model.sent[0]?.id ?? "";
    await screen.model.reply({ id, ok: false, error: "wait until it is filled." });
    await drawn();
    expect(screen.el.textContent).toContain("wait until it is filled.");
    expect((named("Map or control") as HTMLSelectElement).value).toBe("0");
  });
});
