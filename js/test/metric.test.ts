// The map’s metric and the tokens that it speaks of.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import type { Map as Sweep } from "../src/kernel/wire";
import { accept, answer, click, drawn, hover, mount, openTab, press, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, named, text, at, choose } = within(() => screen);
const idOf = (label: string) =>
  spainAndItaly().map.targets.find((target) => target.label === label)?.token_id as number;

describe("the metric", () => {
  it("is described by the kernel alone, and changes without asking it", async () => {
    screen = mount();
    const options = [...(named("Metric") as HTMLSelectElement).options];
    const labels = options.filter((o) => !o.value.startsWith("lens")).map((o) => o.text);
    expect(labels).toEqual(spainAndItaly().scene.model.metrics.map((metric) => metric.label));
    for (const { name, title } of spainAndItaly().scene.model.metrics) {
      await choose("Metric", name);
      const words = title.replace(/\bt\b/, "␣Rome").replace(/\bu\b/, "␣Madrid");
      expect(at(1, 3).getAttribute("aria-label")).toContain(`, ${words} `);
    }
    expect(screen.model.sent).toEqual([]);
  });

  it("shows its formula, unit and limits, with the tokens in them", async () => {
    screen = mount();
    await choose("Metric", "logit_difference");
    const scale = $(".vene-legend-item:has(.vene-legend-scale)");
    expect(scale?.title).toContain("ln (P(␣Rome) / P(␣Madrid)) after patching");
    expect(text(".vene-legend-scale")).toMatch(/^−([\d.]+)\+\1 logits$/);
    await choose("Metric", "rank");
    expect(text(".vene-legend-scale")).toMatch(/^\d+1 = most likely$/);
    expect(at(1, 3).querySelector<HTMLElement>("[data-text]")?.dataset.text).toBe("1");
  });

  it("sets the target against a second token of one's choice", async () => {
    screen = mount();
    expect(named("Second token")).toBeNull();
    await choose("Metric", "logit_difference");
    await choose("Second token", String(idOf("␣Warsaw")));
    await hover(at(1, 3));
    const cell = spainAndItaly().map.cells.find((c) => c.layer === 1 && c.position === 3);
    const p = (label: string) =>
      cell?.probabilities[
        spainAndItaly().map.targets.findIndex((t) => t.label === label)
      ] as number;
    const value = screen.el.querySelector<HTMLElement>(".vene-readout .vene-number");
    expect(value?.textContent).toBe("logit(␣Rome) − logit(␣Warsaw) = +5.65\u00a0logits");
    expect(value?.title).toBe(String(Math.log(p("␣Rome")) - Math.log(p("␣Warsaw"))));
  });
});

describe("the target token", () => {
  it("is any token of the answer’s rows or of the data, at a click", async () => {
    screen = mount();
    click(at(1, 3));
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    const button = (panel: string, label: string) =>
      $$(`[data-panel=${panel}] .vene-token-button`).find(
        (b) => b.textContent === label,
      ) as HTMLElement;
    click(button("answer", "␣Madrid"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
    expect(button("answer", "␣Madrid").getAttribute("aria-pressed")).toBe("true");
    expect(button("answer", "␣Rome").getAttribute("aria-pressed")).toBe("false");
    await openTab(screen.el, "data");
    click(button("data", "␣Warsaw"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    expect(button("data", "␣Warsaw").getAttribute("aria-pressed")).toBe("true");
    click(button("answer", "␣Madrid"));
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
    expect(screen.model.sent).toHaveLength(1);
  });

  it("brings back a metric of tokens when the map shows one of whole distributions", async () => {
    screen = mount();
    await choose("Metric", "kl");
    expect(named("Target token")).toBeNull();
    click($("[data-panel=answer] .vene-token-button") as HTMLElement);
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Madrid)");
  });

  const type = async (value: string) => {
    await choose("Target token", "type");
    const field = named("Target token, typed") as HTMLInputElement;
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    press(field, "Enter");
    await drawn();
    return field;
  };

  it("can be typed as shown or by its id; what the map holds is not asked for", async () => {
    screen = mount();
    await type(" Dublin");
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Dublin)");
    await type(String(idOf("␣Warsaw")));
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Warsaw)");
    expect(screen.model.sent).toEqual([]);
  });

  it("makes its space visible while it is typed", async () => {
    screen = mount();
    await choose("Target token", "type");
    const field = named("Target token, typed") as HTMLInputElement;
    expect(document.activeElement).toBe(field);
    field.value = " Ro";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    expect(field.value).toBe("␣Ro");
    press(field, "Escape");
    await drawn();
    expect((named("Target token") as HTMLSelectElement).value).toBe(String(idOf("␣Rome")));
  });

  it("is asked for once when the map lacks it, and shown when it comes", async () => {
    screen = mount();
    await type(" Oslo");
    const request = screen.model.sent.at(-1);
    expect(request).toMatchObject({ kind: "follow", token: " Oslo" });
    expect(screen.model.sent).toHaveLength(1);
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Rome)");
    await screen.model.reply({ id: request?.id ?? "", ok: true, error: null, tokens: null });
    const map = spainAndItaly().map;
    const grown: Sweep = {
      ...map,
      targets: [
        ...map.targets,
        {
          token_id: 4242,
          label: "␣Oslo",
          base: 0.1,
          source: 0.2,
          plain: 0.1,
          request: request?.id ?? "",
        },
      ],
      cells: map.cells.map((cell) => ({
        ...cell,
        probabilities: [...cell.probabilities, 0.25],
        ranks: [...cell.ranks, 7],
      })),
    };
    screen.model.write({ map: grown });
    await drawn();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Oslo) 25\u00a0%");
  });

  it("that is no single token is refused at its field", async () => {
    screen = mount();
    await type(" Lyon");
    const id = screen.model.sent.at(-1)?.id ?? "";
    await screen.model.reply({ id, ok: false, error: "is 2 tokens, [' L', 'yon']", tokens: null });
    await drawn();
    expect(text(".vene-map-tools [role=alert]")).toContain("[' L', 'yon']");
    const field = named("Target token, typed") as HTMLInputElement;
    expect([field.value, field.getAttribute("aria-invalid")]).toEqual(["␣Lyon", "true"]);
    expect($$("[role=alert]")).toHaveLength(1);
    press(field, "Escape");
    await drawn();
    expect($("[role=alert]")).toBeNull();
    expect(at(1, 3).getAttribute("aria-label")).toContain("P(␣Rome)");
  });
});
