// The map beside its estimates: what is asked, and both numbers in each tile.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import type { Estimate, Estimates } from "../src/kernel/wire";
import { drawn, hover, mount, press, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { text, at, choose, named } = within(() => screen);
const { map } = spainAndItaly();
const idOf = (label: string) => map.targets.find((one) => one.label === label)?.token_id as number;
const place = map.cells.findIndex((cell) => cell.layer === 1 && cell.position === 3);

function estimates(more: Partial<Estimate> = {}): Estimates {
  const found: Estimate = {
    metric: "probability",
    target: idOf("␣Rome"),
    other: null,
    values: map.cells.map((cell) => (cell.layer === 3 ? 0.001 : 0.2)),
    missed: [place],
    correlation: 0.688,
    note: null,
    ...more,
  };
  const { revision, component, head, layer, position, source, intervention } = map;
  return { revision, component, head, layer, position, source, intervention, found: [found] };
}

const label = (row: number, column: number) =>
  (at(row, column).getAttribute("aria-label") ?? "").replaceAll("\u00a0", " ");
const asked = () => screen.model.sent.map(({ id: _, ...rest }) => rest);

describe("the map beside its estimates", () => {
  it("asks for them once, and has both numbers, their correlation and what they miss", async () => {
    screen = mount();
    await choose("Map or control", "estimate");
    const first = { kind: "estimate", metric: "probability", target: idOf("␣Rome"), other: null };
    expect(asked()).toEqual([first]);
    expect(text(".vene-legend-control")).toBe("Estimating by gradients…");
    screen.model.write({ estimates: estimates() });
    await drawn();
    expect(text(".vene-legend-control")).toBe("r = 0.688");
    expect(text(".vene-legend-missed")).toContain("1 false negative");
    expect(screen.el.querySelector(".vene-legend .vene-tile-missed")).not.toBeNull(); // their frame
    expect(text(".vene-readout")).toContain("Left half: the exact value.");
    // The base's 0.08 % and the change.
    expect(label(1, 3)).toContain("P(␣Rome) 94 %, estimated 20 %, missed by the estimate");
    expect(label(2, 3)).toContain("P(␣Rome) 93 %, estimated 20 %");
    expect(label(2, 3)).not.toContain("missed");
    expect(label(3, 3)).toContain("P(␣Rome) 0.1 %, estimated 0.18 %");
    expect(at(1, 3).classList).toContain("vene-tile-missed");
    expect(at(2, 3).querySelector<HTMLElement>(".vene-tile-estimate")?.dataset.text).toBe("20");
    expect(at(5, 3).querySelector(".vene-tile-estimate")).toBeNull(); // idle
    await hover(at(2, 3));
    expect(text(".vene-readout-sentence")).toContain("Estimated by gradients: 20\u00a0%.");
    expect(asked()).toHaveLength(1);
  });

  it("says below the map, in full, why there is none", async () => {
    screen = mount();
    await choose("Map or control", "estimate");
    const note = "No estimate: the map holds 1 slot: release it.";
    screen.model.write({
      estimates: estimates({ values: [], missed: [], correlation: null, note }),
    });
    await drawn();
    expect(text(".vene-legend-control")).toBe(note);
    expect(text(".vene-readout")).toBe(note);
  });

  it("is in the metric’s units: a change as it is, recovery as a share", async () => {
    screen = mount();
    await choose("Map or control", "estimate");
    screen.model.write({ estimates: estimates() });
    await choose("Metric", "delta");
    expect(label(2, 3)).toContain("estimated +20 points");
    await choose("Metric", "recovery");
    expect(asked().at(-1)).toEqual({
      ...{ kind: "estimate", metric: "logit_difference" },
      ...{ target: idOf("␣Rome"), other: idOf("␣Madrid") },
    });
    const [rome, madrid] = ["␣Rome", "␣Madrid"].map((name) =>
      map.targets.find((one) => one.label === name),
    );
    const odds = (run: "base" | "source") =>
      Math.log(rome?.[run] as number) - Math.log(madrid?.[run] as number);
    const half = (odds("source") - odds("base")) / 2;
    const pair = { metric: "logit_difference", other: idOf("␣Madrid") } as const;
    screen.model.write({ estimates: estimates({ ...pair, values: map.cells.map(() => half) }) });
    await drawn();
    expect(label(2, 3)).toContain("estimated 0.5");
  });

  it("says where there is no gradient, and what the kernel refuses", async () => {
    screen = mount();
    await choose("Metric", "kl");
    await choose("Map or control", "estimate");
    expect(asked()).toEqual([]);
    expect(text(".vene-legend-control")).toContain("gradients are of probabilities");
    await choose("Metric", "probability");
    const id = screen.model.sent[0]?.id ?? "";
    await screen.model.reply({ id, ok: false, error: "an estimate needs a full map." });
    await drawn();
    expect(text(".vene-legend-control")).toBe("No estimate: an estimate needs a full map.");
    // Another map is another question.
    screen.model.write({ map: { ...map, component: "mlp_output" } });
    await drawn();
    expect(asked()).toHaveLength(2);
    screen.model.write({ estimates: estimates() }); // of the map before
    await drawn();
    expect(label(2, 3)).not.toContain("estimated");
  });

  it("gives no covered tile away in a lecture", async () => {
    screen = mount();
    await choose("Map or control", "estimate");
    screen.model.write({ estimates: estimates() });
    await drawn();
    press(screen.el.querySelector(".vene-root") as Element, "f");
    await drawn();
    expect(label(1, 3)).toContain("covered");
    expect(label(1, 3)).not.toContain("estimate");
    expect(at(1, 3).classList).not.toContain("vene-tile-missed");
    expect(at(1, 3).querySelector(".vene-tile-estimate")).toBeNull();
  });

  it("gives way to the controls", async () => {
    screen = mount();
    await choose("Map or control", "estimate");
    screen.model.write({ estimates: estimates() });
    press(screen.el.querySelector(".vene-root") as Element, "s");
    await drawn();
    expect(label(2, 3)).not.toContain("estimated");
    expect((named("Map or control") as HTMLSelectElement).value).toBe("1");
  });
});
