// The answer beside its changes, and the verdict.
import { afterEach, describe, expect, it } from "vitest";
import { ANSWERS, makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import { VISIBLE } from "../src/features/answer/rows";
import type { Answer, OrderedExperiment as Experiment } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, tile } from "./helpers";

describe("the panel", () => {
  let screen: ReturnType<typeof mount>;
  afterEach(() => {
    screen?.close();
    document.body.innerHTML = "";
  });
  const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);
  const $$ = (selector: string) => [...screen.el.querySelectorAll<HTMLElement>(selector)];
  const heads = () => $$("[data-panel=answer] thead th.vene-run").map((head) => head.textContent);
  const labels = () => $$("[data-panel=answer] tbody th").map((head) => head.textContent);
  const column = (role: string) =>
    $$(`[data-panel=answer] tbody td[data-role=${role}]`).map((cell) => cell.title);
  const changes = () => $$("[data-panel=difference] tbody tr");
  const changeHead = () => $("[data-panel=difference] .vene-bar-head")?.textContent;

  function open(experiment: Experiment, change: (answer: Answer) => void = () => {}) {
    const scene = sceneOf(experiment, 6, 2, null);
    const exact = makeAnswer(scene);
    change(exact);
    screen = mount({ scene, answer: exact, map: makeMap(scene) });
  }
  const grouped = ANSWERS.grouped.experiment;
  const p = (answer: Answer, label: string, n: number) =>
    answer.tokens.find((token) => token.label === label)?.probabilities[n];

  it("has six rows, the same tokens in the same order as the changes, and sums up the rest", () => {
    open(grouped);
    expect(VISIBLE).toBe(6);
    expect(labels()).toHaveLength(VISIBLE);
    expect(labels().slice(0, 3)).toEqual(["␣Madrid", "␣Rome", "␣Tallinn"]);
    expect(changes().map((row) => row.querySelector(".vene-visually-hidden")?.textContent)).toEqual(
      labels(),
    );
    const { tokens, differences } = ANSWERS.grouped.answer;
    const all = new Map([
      ...tokens.map(({ label, probabilities: ps }) => [label, [ps[0], ps.at(-1)]] as const),
      ...differences.map(({ label, before, after }) => [label, [before, after]] as const),
    ]);
    for (const label of labels()) all.delete(label ?? "");
    const rest = $("[data-panel=answer] .vene-rest")?.textContent ?? "";
    expect(rest).toContain(`${all.size} others`);
    const most = 100 * Math.max(...[...all.values()].flat().map((value) => value ?? 0));
    expect(Number.parseFloat(rest.split("≤")[1] ?? "")).toBeCloseTo(most, 1);
  });

  it("shows base and result, unrounded in the titles", () => {
    open(grouped);
    expect(heads()).toEqual(["base", "now"]);
    const exact = ANSWERS.grouped.answer;
    const last = exact.runs.length - 1;
    expect([column("base")[0], column("now")[0]]).toEqual([
      ...[String(p(exact, "␣Madrid", 0)), String(p(exact, "␣Madrid", last))],
    ]);
    const [first] = exact.differences;
    const title = changes()[0]?.querySelector("td")?.title;
    expect(title).toContain(String((first?.after ?? 0) - (first?.before ?? 0)));
    expect(title).toContain(`rank ${first?.rank_before} → ${first?.rank_after}`);
    const signs = changes().map((row) => row.dataset.sign);
    expect(signs.slice(0, 2)).toEqual(["less", "more"]);
    expect($("[data-panel=difference] .vene-rest")?.textContent).toMatch(/^KL [\d.]+ nats$/);
  });

  it("has a column of the ungrouped run where it differs", () => {
    open(grouped, ({ tokens }) => {
      const rome = tokens.find(({ label }) => label === "␣Rome");
      if (rome) rome.probabilities[2] = 0.5;
    });
    expect(heads()).toEqual(["base", "ungrouped", "grouped"]);
    expect(column("ungrouped")[labels().indexOf("␣Rome")]).toBe("0.5");
    expect($$("[data-panel=answer] .vene-dot[data-role=ungrouped]").length).toBeGreaterThan(0);
  });

  it("sets base and source side by side when no slot acts, and has no changes then", () => {
    open({ ...grouped, slots: [] });
    expect(heads()).toEqual(["base", "italy"]);
    expect(labels().slice(0, 2)).toEqual(["␣Madrid", "␣Rome"]);
    expect(changes()).toEqual([]);
    expect(changeHead()).toBeUndefined(); // nor an axis for them
    expect($("[data-panel=difference]")?.textContent).toContain("once a slot is live");
    expect($("[data-panel=difference] .vene-rest")?.textContent?.trim()).toBe("");
    expect($$("[data-panel=answer] .vene-way")).toEqual([]);
    expect($$("[data-panel=answer] .vene-tick")).toHaveLength(VISIBLE);
  });

  it("says by how much the changes are enlarged when all of them are small", async () => {
    open(grouped, (exact) => {
      exact.differences = [];
      exact.tokens = [
        { token_id: 1, label: "a", probabilities: [0.5, 0.5, 0.596, 0.596] },
        { token_id: 2, label: "b", probabilities: [0.3, 0.3, 0.28, 0.28] },
      ];
    });
    expect(changeHead()).toBe("−10×10+10");
    expect($("[data-panel=difference]")?.textContent).not.toContain("once a slot is live");
    const bar = $("[data-panel=difference] .vene-bar") as HTMLElement;
    expect(Number.parseFloat(bar.style.inlineSize)).toBeCloseTo(48, 6); // 9.6 of 10, of a half
  });

  it("names the ends of a very small axis by numbers, not by a bound", () => {
    open(grouped, (exact) => {
      exact.differences = [];
      exact.tokens = [{ token_id: 1, label: "a", probabilities: [5e-6, 0, 0, 3e-6] }];
    });
    const [low, , high] = [...($("[data-panel=difference] .vene-bar-head > span")?.children ?? [])];
    expect([low?.textContent, high?.textContent]).toEqual(["−0.0002", "+0.0002"]);
    expect($("[data-panel=answer] .vene-axis-head")?.textContent).toBe("00.0005");
  });

  it("leaves open what a preview does not know, and the exact answer fills it in", async () => {
    const { map } = spainAndItaly();
    const cells = map.cells.map((cell) => ({ ...cell, top: cell.top.slice(0, 2) }));
    screen = mount({ map: { ...map, cells, targets: map.targets.slice(0, 1) } });
    click(tile(screen.el, 1, 3));
    await drawn();
    const open = () => $$("[data-panel=answer] td.vene-run").filter((td) => td.textContent === "…");
    expect(open().length).toBeGreaterThan(0);
    for (const cell of open()) expect(cell.title).toContain("preview");
    expect($$("[data-panel=difference] .vene-bar-value").at(-1)?.textContent).toBe("…");
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect(open()).toEqual([]);
  });

  it("is dimmed while it is of the experiment before", async () => {
    open(grouped);
    const dimmed = () => $$(".vene-view .vene-rows.vene-old").length;
    expect(dimmed()).toBe(0);
    click(tile(screen.el, 4, 4), { shiftKey: true });
    await drawn();
    expect(dimmed()).toBe(2);
    expect($(".vene-verdict")?.className).toContain("vene-old");
  });
});

describe("the verdict", () => {
  let screen: ReturnType<typeof mount>;
  afterEach(() => {
    screen?.close();
    document.body.innerHTML = "";
  });
  const line = () => screen.el.querySelector<HTMLElement>(".vene-verdicts");
  const open = (experiment: Experiment, change: (answer: Answer) => void = () => {}) => {
    const scene = sceneOf(experiment, 6, 2, null);
    const exact = makeAnswer(scene);
    change(exact);
    screen = mount({ scene, answer: exact });
  };

  it.each([
    ["bit-equal", "="],
    ["allclose", "≈"],
    ["different", "≠"],
  ] as const)("%s is a sign and the kernel’s words, its numbers in the title", (kind, sign) => {
    open(ANSWERS.grouped.experiment, ({ verdicts: [verdict] }) =>
      Object.assign(verdict ?? {}, {
        ...{ verdict: kind, words: "In the kernel’s words.", max_abs: 0.125 },
        first_divergence: kind === "bit-equal" ? null : 2,
      }),
    );
    const verdict = line()?.querySelector<HTMLElement>(".vene-verdict");
    expect(verdict?.dataset.verdict).toBe(kind);
    expect(verdict?.querySelector("[aria-hidden]")?.textContent).toBe(sign);
    expect(verdict?.textContent).toContain("grouped vs ungrouped In the kernel’s words.");
    expect(verdict?.title).toContain("0.125");
    expect(verdict?.title).toContain(kind === "bit-equal" ? "identical" : "layer 2");
    expect(screen.el.querySelectorAll(".vene-view .vene-verdict")).toHaveLength(1);
  });

  it("keeps its place: a hint where slots could be grouped, nothing for one slot", () => {
    const [first, second] = ANSWERS.several.experiment.slots ?? [];
    open(ANSWERS.several.experiment);
    expect(line()?.textContent).toContain("Group the slots");
    screen.close();
    for (const slots of [[], [first], [first, { ...second, skip: true }]]) {
      open({ ...ANSWERS.several.experiment, slots: slots as never });
      expect(line()?.childElementCount).toBe(0);
      screen.close();
    }
  });
});
