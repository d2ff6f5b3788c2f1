// The map: tiles that cannot matter, what it shows first, maps wider than their panel.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import { drawn, hover, mapOf, mount, unfold, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, named, text, at, choose } = within(() => screen);
const idOf = (label: string) =>
  spainAndItaly().map.targets.find((target) => target.label === label)?.token_id as number;

describe("tiles that cannot matter", () => {
  it("are hatched and say why, on hover and to screen readers", async () => {
    screen = mount();
    await unfold(screen.el);
    for (const [layer, position, why] of [
      [2, 0, "identical up to"],
      [5, 3, "reads this position"],
    ] as const) {
      expect(at(layer, position).className).toContain("vene-tile-idle");
      expect(at(layer, position).title).toContain(why);
      expect(at(layer, position).getAttribute("aria-label")).toContain(why);
      await hover(at(layer, position));
      expect(text(".vene-readout-sentence")).toContain(why);
    }
    expect(at(5, 4).className).not.toContain("vene-tile-idle");
    expect(at(4, 3).className).not.toContain("vene-tile-idle");
  });

  it("are known before their cells come, by equal positions alone", async () => {
    const traits = spainAndItaly();
    const empty = { ...traits.map, cells: [], done: 0 };
    screen = mount({ map: empty });
    await unfold(screen.el);
    expect(at(2, 0).className).toContain("vene-tile-idle");
    expect(at(5, 3).className).not.toContain("vene-tile-idle");
    screen.close();
    screen = mount({ map: { ...empty, source_positions: [1, 1, 2, 3, 4] } });
    expect(at(2, 0).className).not.toContain("vene-tile-idle");
    expect(at(2, 1).className).toContain("vene-tile-idle");
  });
});

it("a tile whose logits were not finite says so, whatever the metric", async () => {
  const map = mapOf({});
  const why = "The logits are NaN or infinite here, so there is no prediction.";
  const nothing = { top: [], probabilities: [], ranks: [], kl: null, sentence: why };
  const cells = map.cells.map((cell) =>
    cell.layer === 1 && cell.position === 3 ? { ...cell, ...nothing } : cell,
  );
  screen = mount({ map: { ...map, cells } });
  for (const metric of ["probability", "kl", "rank"]) {
    await choose("Metric", metric);
    expect(at(1, 3).querySelector("[data-text]")).toHaveProperty("dataset.text", "NaN");
    expect(at(1, 3).getAttribute("aria-label")).toContain(why);
    expect(at(1, 3).title).toBe(why);
    expect(at(0, 3).querySelector("[data-text=NaN]")).toBeNull();
  }
});

it("a registered operator is named", () => {
  screen = mount({ map: mapOf({ intervention: "my_operator" }) });
  const select = named("Operator of the map") as HTMLSelectElement;
  expect(select.selectedOptions[0]?.textContent).toContain("my_operator");
});

it("a slow map says why", async () => {
  screen = mount({ map: { ...spainAndItaly().map, slow: "the model carries hooks of its own" } });
  expect(text(".vene-legend-slow")).toContain("the model carries hooks of its own");
});

describe("what the map shows first", () => {
  it("is the kernel’s token, against the base’s likeliest other one", async () => {
    screen = mount({ map: { ...mapOf({}), target: idOf("␣Warsaw") } });
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    await choose("Metric", "logit_difference");
    expect(named("Second token")).toHaveProperty("value", String(idOf("␣Madrid")));
    await choose("Target token", String(idOf("␣Madrid")));
    const { targets } = mapOf({});
    const others = targets.filter((target) => target.label !== "␣Madrid");
    const likeliest = others.reduce((a, b) => (b.base > a.base ? b : a));
    expect(named("Second token")).toHaveProperty("value", String(likeliest.token_id));
  });

  it("follows small values down, and says so", async () => {
    const map = mapOf({});
    const cells = map.cells.map((cell) => ({
      ...cell,
      probabilities: cell.probabilities.map((p) => p / 64),
    }));
    screen = mount({ map: { ...map, cells } });
    expect(text(".vene-legend-scale")).toBe("02\u00a0% ");
    expect(text(".vene-legend-note")).toBe("all below 2\u00a0%");
    screen.model.write({ map });
    await drawn();
    expect(text(".vene-legend-scale")).toBe("0100\u00a0% ");
    expect($(".vene-legend-note")).toBeNull();
  });

  it("says it where both prompts give the same prediction", async () => {
    const map = mapOf({});
    const equal = map.targets.map((target) => ({ ...target, source: target.base }));
    screen = mount({ map: { ...map, targets: equal } });
    expect(text(".vene-legend-note")).toBe("Both prompts give the same prediction here.");
    screen.model.write({ map: { ...mapOf({ intervention: "zero" }), targets: equal } });
    await drawn();
    expect($(".vene-legend-note")).toBeNull(); // zeroing says something of one prompt alone
  });
});

describe("a map that is wider than its panel", () => {
  const wide = { scrollWidth: 700, clientWidth: 400 };
  const before = Object.keys(wide).map(
    (name) => [name, Object.getOwnPropertyDescriptor(Element.prototype, name)] as const,
  );
  afterEach(() => {
    for (const [name, own] of before) if (own) Object.defineProperty(Element.prototype, name, own);
  });

  it("shows its end first, keeps its place when it is refilled, and marks what is at the left", async () => {
    for (const [name, value] of Object.entries(wide))
      Object.defineProperty(Element.prototype, name, { configurable: true, get: () => value });
    screen = mount();
    await drawn();
    const grid = () => $("[role=grid]") as HTMLElement;
    expect(grid().scrollLeft).toBeGreaterThanOrEqual(300);
    expect(grid().hasAttribute("data-more")).toBe(true);
    grid().scrollLeft = 0;
    grid().dispatchEvent(new Event("scroll"));
    expect(grid().hasAttribute("data-more")).toBe(false);
    grid().scrollLeft = 120;
    grid().dispatchEvent(new Event("scroll"));
    screen.model.write({ map: mapOf({ component: "mlp_output" }) });
    await drawn();
    expect(grid().scrollLeft).toBe(120);
    expect(grid().hasAttribute("data-more")).toBe(true);
    await unfold(screen.el);
    expect(grid().scrollLeft).toBeGreaterThanOrEqual(300);
  });
});
