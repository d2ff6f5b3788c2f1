// The tab Paths: what each head and MLP does, to what; and the heads that are marked.
import { afterEach, describe, expect, it } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import { endWords, pathSentence, shareText } from "../src/domain/paths";
import widget from "../src/index";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import type { CircuitGrid, PathGrid } from "../src/kernel/wire";
import { click, drawn, mount, openTab, pathsOf, press, refuse, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text, button, choose } = within(() => screen);

const { experiment } = traitsOf([]).scene;
const IDS = pathsOf(experiment).targets.map(({ token_id }) => token_id) as [number, number];

async function open(paths: PathGrid | object = pathsOf(experiment), more: object = {}) {
  screen = mount({ ...traitsOf([]), paths, ...more });
  await openTab(screen.el, "paths");
}

const asked = (kind = "paths") => screen.model.sent.filter((one) => one.kind === kind);
const tile = (layer: number, position: number) =>
  $(`.vene-paths [data-layer="${layer}"][data-position="${position}"]`) as HTMLElement;
const label = (layer: number, position: number) => tile(layer, position).getAttribute("aria-label");
const said = () => text("[data-panel=paths] [role=status]");
const rows = (table: number) =>
  [...($$(".vene-paths table")[table] as HTMLElement).querySelectorAll("tbody tr")].map((row) =>
    [...row.children].map((one) => one.textContent),
  );
const write = async (traits: object) => {
  screen.model.write({ ...traits });
  await drawn();
};
/** The senders before a block, as the kernel sends them for a receiver. */
const upTo = (layer: number, receiver: PathGrid["receiver"]) =>
  pathsOf(experiment, {
    receiver,
    senders: pathsOf(experiment).senders.filter((one) => one.layer < layer),
  });

describe("the paths", () => {
  it("are asked for when the tab is open, once, and not before", async () => {
    screen = mount(traitsOf([]));
    await drawn();
    expect(asked()).toEqual([]);
    await openTab(screen.el, "paths");
    expect(asked()).toMatchObject([{ source: "italy", targets: IDS, receiver: null }]);
    expect(text("[data-panel=paths]")).toContain("measuring the paths…");
    await write({ paths: pathsOf(experiment) });
    expect(asked()).toHaveLength(1);
    expect(text("[data-panel=paths]")).not.toContain("measuring");
  });

  it("to the logits stand in a map, a list and a sentence", async () => {
    await open();
    expect(asked()).toEqual([]); // what is there is of these prompts
    expect($$(".vene-paths .vene-tile")).toHaveLength(6 * 5 + 1);
    expect([label(5, 0), label(0, 3), label(4, 4), label(-1, 0)]).toEqual([
      "head 5.0, +0.5",
      "head 0.3, −0.3",
      "MLP 4, +4",
      "embedding, 0",
    ]);
    expect(rows(0).slice(0, 6)).toEqual([
      ["MLP 5", "+5.00", "25\u00a0%"],
      ["MLP 4", "+4.00", "20\u00a0%"],
      ["MLP 3", "+3.00", "15\u00a0%"],
      ["MLP 2", "+2.00", "10\u00a0%"],
      ["MLP 1", "+1.00", "5\u00a0%"],
      ["head 5.0", "+0.50", "2.5\u00a0%"],
    ]);
    expect(said()).toBe(
      "MLP 5 adds +5 to the logit difference “Rome” − “Madrid” directly: 25\u00a0% of what the source changes.",
    );
    tile(0, 3).dispatchEvent(new Event("pointerover", { bubbles: true }));
    await drawn();
    expect(said()).toMatch(/^Head 0\.3 takes 0\.3 from .* directly: −1\.5\u00a0% of what/);
  });

  it("have norms held at a switch, and nobody is asked", async () => {
    await open();
    await choose("Norms on the way", "held");
    expect(label(4, 4)).toBe("MLP 4, +2");
    expect(said()).toContain("adds +2.5 to the logit difference “Rome” − “Madrid” directly, with");
    expect(asked()).toEqual([]);
    await write({ paths: pathsOf(experiment, { frozen_note: "its norm is of no known kind" }) });
    expect(label(4, 4)).toBe("MLP 4, +4");
    expect($('[aria-label="Norms on the way"]')?.title).toBe("its norm is of no known kind");
  });

  it("lead to the head that is clicked, by its query, key or value, and back", async () => {
    await open();
    click(tile(2, 3));
    await drawn();
    const query = { layer: 2, head: 3, part: "q" } as const;
    expect(asked()).toMatchObject([{ targets: IDS, receiver: query }]);
    expect($(".vene-paths .vene-map")?.classList.contains("vene-old")).toBe(true);
    await write({ paths: upTo(2, query) });
    expect($(".vene-paths .vene-map")?.classList.contains("vene-old")).toBe(false);
    expect([label(2, 3), label(5, 0), label(1, 4)]).toEqual([
      "head 2.3, receives",
      "head 5.0, no path",
      "MLP 1, +1",
    ]);
    expect(tile(2, 3).getAttribute("aria-selected")).toBe("true");
    expect(text(".vene-panel-paths .vene-panel-head")).toContain("to the query of head 2.3");
    expect(said()).toContain("through the query of head 2.3: 5\u00a0% of");
    tile(5, 0).dispatchEvent(new Event("pointerover", { bubbles: true }));
    await drawn();
    expect(said()).toBe("Head 5.0 is not before the query of head 2.3: no path leads there.");
    expect(($('[aria-label="Norms on the way"]') as HTMLSelectElement).disabled).toBe(false);
    await choose("What of the head receives", "v");
    expect(asked().at(-1)).toMatchObject({ receiver: { layer: 2, head: 3, part: "v" } });
    click(button("← the logits"));
    await drawn();
    expect(asked().at(-1)).toMatchObject({ receiver: null });
  });

  it("lead to an MLP, but not to the embedding", async () => {
    await open();
    click(tile(-1, 0));
    await drawn();
    expect(asked()).toEqual([]);
    click(tile(3, 4));
    await drawn();
    expect(asked()).toMatchObject([{ receiver: { layer: 3, head: null, part: "mlp" } }]);
    expect($('[aria-label="What of the head receives"]')).toBeNull();
  });

  it("to a key are those to the head that shares it", async () => {
    const traits = traitsOf([]);
    traits.scene.model.heads.head_key_output = 2;
    await open(pathsOf(experiment), traits);
    click(tile(2, 3));
    await drawn();
    expect(asked().at(-1)).toMatchObject({ receiver: { head: 3, part: "q" } });
    await choose("What of the head receives", "k");
    const shared = { layer: 2, head: 1, part: "k" } as const;
    expect(asked().at(-1)).toMatchObject({ receiver: shared });
    await write({ paths: upTo(2, shared) });
    expect([1, 2, 3].map((head) => tile(2, head).getAttribute("aria-selected"))).toEqual([
      ...["false", "true", "true"],
    ]);
    expect(text(".vene-panel-paths .vene-panel-head")).toContain("the key of key-value head 2.1");
  });

  it("are walked with the keys", async () => {
    await open();
    const stops = () => $$('.vene-paths .vene-tile[tabindex="0"]');
    expect(stops()).toEqual([tile(5, 0)]);
    tile(5, 0).focus();
    for (const [key, layer, position] of [
      ["ArrowRight", 5, 1],
      ["ArrowDown", 4, 1],
      ["PageDown", -1, 0],
      ["ArrowUp", 0, 0],
      ["End", 0, 4],
    ] as const) {
      press(document.activeElement as Element, key);
      await drawn();
      expect(document.activeElement).toBe(tile(layer, position));
      expect(stops()).toEqual([tile(layer, position)]);
    }
    press(tile(0, 4), "ArrowLeft");
    press(tile(0, 3), "Enter");
    await drawn();
    expect(asked()).toMatchObject([{ receiver: { layer: 0, head: 3, part: "q" } }]);
    press(tile(0, 3), "Escape");
    await drawn();
    expect(asked()).toHaveLength(1); // those to the logits are there
    expect(text(".vene-panel-paths .vene-panel-head")).toContain("to the logits");
  });

  it("are those of the prompts: other slots change nothing, another source does", async () => {
    await open();
    const settle = async (slots: object[], sources = experiment.sources ?? []) => {
      const traits = traitsOf(slots as never, { sources });
      const scene = { ...traits.scene, revision: 5 };
      await write({ scene, map: traits.map, answer: { ...traits.answer, revision: 5 } });
    };
    await settle([{ layer: 0, position: 3, source: "italy" }]);
    expect(asked()).toEqual([]);
    await settle([], [["france", "The capital of France is"]]);
    expect(asked()).toMatchObject([{ source: "france" }]);
    expect($(".vene-paths")).toBeNull();
  });

  it("are not asked for, nor a circuit, once another tab is open", async () => {
    await open();
    click(tile(3, 2), { shiftKey: true });
    await drawn();
    expect(asked("circuit")).toHaveLength(1);
    await openTab(screen.el, "data");
    const traits = traitsOf([], { sources: [["france", "The capital of France is"]] });
    const scene = { ...traits.scene, revision: 5 };
    const map = { ...traits.map, revision: 5 };
    await write({ scene, map, answer: { ...traits.answer, revision: 5 } });
    expect(screen.model.sent).toHaveLength(1);
    await openTab(screen.el, "paths");
    expect(asked()).toMatchObject([{ source: "france" }]);
    expect(asked("circuit")).toMatchObject([{}, { source: "france", heads: [[3, 2]] }]);
  });

  it("come from the source of the first slot that has one", async () => {
    const sources: [string, string][] = [
      ["italy", "The capital of Italy is"],
      ["france", "The capital of France is"],
    ];
    const slots = [
      { layer: 0, position: 3, source: null, intervention: "zero" },
      { layer: 0, position: 3, source: "france" },
    ];
    screen = mount(traitsOf(slots, { sources }));
    await openTab(screen.el, "paths");
    expect(asked()).toMatchObject([{ source: "france" }]);
  });

  it("say why, where they cannot be measured", async () => {
    await open({});
    await refuse(screen.model, "base has 5 tokens and source 6: paths need equally many.");
    await drawn();
    expect(text("[data-panel=paths]")).toContain("base has 5 tokens and source 6");
    expect($(".vene-paths")).toBeNull();
    expect(asked()).toHaveLength(1);
  });
});

const KEPT = ["all heads", "only these", "all but these", "no heads"];

function circuitOf(heads: [number, number][]): CircuitGrid {
  const runs = [-8, -6, 1, 2].map((value, n) => ({
    ...{ heads_kept: KEPT[n] as string, value, faithfulness: value / -8 },
    faithfulness_normalised: (value - 2) / -10,
  }));
  return { ...{ revision: 2, note: null, experiment, source: "italy", targets: IDS }, heads, runs };
}

describe("a map of small effects", () => {
  it("has a third decimal", async () => {
    const senders = pathsOf(experiment).senders.map((one) => ({
      ...one,
      effect: (one.head === null ? one.layer : -1) / 100,
    }));
    senders[1] = { layer: 0, head: 0, effect: 0.0004, frozen: null };
    await open(pathsOf(experiment, { senders }));
    expect([label(5, 4), label(3, 1), label(0, 0), label(0, 4)]).toEqual([
      "MLP 5, +.050",
      "head 3.1, −.010",
      "head 0.0, ≈0",
      "MLP 0, 0",
    ]);
    // By size, whatever the sign.
    expect(rows(0)[4]).toEqual(["embedding", "−0.0100", "−0.05\u00a0%"]);
    expect(text(".vene-paths .vene-legend")).toContain("base −7, source +13");
  });
});

describe("marked heads", () => {
  it("are run alone, and without them", async () => {
    await open();
    expect(text(".vene-circuit")).toContain("Mark heads");
    click(tile(3, 2), { shiftKey: true });
    await drawn();
    expect(asked("circuit")).toMatchObject([{ source: "italy", targets: IDS, heads: [[3, 2]] }]);
    press(tile(0, 1), " ");
    await drawn();
    expect(asked("circuit").at(-1)).toMatchObject({
      heads: [
        [0, 1],
        [3, 2],
      ],
    });
    expect([label(3, 2), label(0, 1)]).toEqual([
      "head 3.2, +0.1, marked",
      "head 0.1, −0.1, marked",
    ]);
    expect(text(".vene-circuit")).toContain("running…");
    await write({
      circuit: circuitOf([
        [0, 1],
        [3, 2],
      ]),
    });
    expect(rows(1)).toEqual([
      ["all heads", "−8.00", "1"],
      ["only these", "−6.00", "0.8"],
      ["all but these", "+1.00", "0.1"],
      ["no heads", "+2.00", "0"],
    ]);
    expect(text(".vene-circuit")).toContain(
      "Faithfulness 0.8 from no heads to all, 0.75 × the metric with all.",
    );
    expect(text(".vene-circuit")).toContain("that of italy, at every token.");
    expect(asked()).toEqual([]); // the paths are the same
  });

  it("are heads: no MLP, and not the embedding", async () => {
    await open();
    for (const one of [tile(3, 4), tile(-1, 0)]) click(one, { shiftKey: true });
    press(tile(3, 4), " ");
    await drawn();
    expect(screen.model.sent).toEqual([]);
  });

  it("are marked and unmarked by their boxes, and all at once", async () => {
    await open();
    const box = () => $('[aria-label="Mark head 5.0"]') as HTMLInputElement;
    click(box());
    await drawn();
    expect(box().checked).toBe(true);
    expect(asked("circuit")).toMatchObject([{ heads: [[5, 0]] }]);
    click(tile(4, 0), { shiftKey: true });
    click(box());
    await drawn();
    expect(asked("circuit").at(-1)).toMatchObject({ heads: [[4, 0]] });
    expect(box().checked).toBe(false);
    click(button("Unmark"));
    await drawn();
    expect(text(".vene-circuit")).toContain("Mark heads");
    expect(label(4, 0)).not.toContain("marked");
  });

  it("of an earlier choice are dimmed until the next numbers are there", async () => {
    await open();
    click(tile(3, 2), { shiftKey: true });
    await write({ circuit: circuitOf([[3, 2]]) });
    const isOld = () => $(".vene-circuit > div")?.classList.contains("vene-old");
    expect(isOld()).toBe(false);
    click(tile(3, 1), { shiftKey: true });
    await drawn();
    expect(isOld()).toBe(true);
    await refuse(screen.model, "the circuit could not be run");
    await drawn();
    expect(text(".vene-circuit")).toContain("the circuit could not be run");
  });
});

describe("a saved page", () => {
  let close: () => void;
  afterEach(() => close?.());
  const shown = async (traits: object) => {
    const model = new OfflineModel({
      ...spainAndItaly(),
      ...traitsOf([]),
      ...traits,
    } as unknown as SavedTraits);
    const el = document.createElement("div");
    document.body.append(el);
    close = widget.render({ model, el, signal: new AbortController().signal } as never) as never;
    await drawn();
    return el;
  };

  it("without paths has no tab for them", async () => {
    expect((await shown({})).querySelector("[data-opens=paths]")).toBeNull();
  });

  it("keeps the newest ones, and says why it has no others", async () => {
    const receiver = { layer: 2, head: 3, part: "k" } as const;
    const el = await shown({
      ...{ paths: upTo(2, receiver), circuit: circuitOf([[3, 2]]) },
    });
    await openTab(el, "paths");
    const panel = el.querySelector("[data-panel=paths]") as HTMLElement;
    expect(panel.textContent).toContain("to the key of head 2.3");
    expect(panel.textContent).toContain("Not available on a saved page: needs a kernel");
    expect(panel.textContent).toContain("Faithfulness 0.8");
    const marked = panel.querySelector('[data-layer="3"][data-position="2"]') as HTMLElement;
    expect(marked.getAttribute("aria-label")).toBe("head 3.2, no path, marked");
    for (const more of [{}, { shiftKey: true }]) click(marked, more);
    await drawn();
    expect(panel.textContent).toContain("to the key of head 2.3");
    expect(marked.getAttribute("aria-label")).toBe("head 3.2, no path, marked");
    const back = [...panel.querySelectorAll("button")].find((one) =>
      /logits/.test(one.textContent),
    );
    expect(back?.disabled).toBe(true);
    expect(panel.querySelector(".vene-old")).toBeNull();
  });
});

describe("in words", () => {
  const grid = pathsOf(experiment);
  it("a path says what it does, and by which way", () => {
    expect(pathSentence(grid, { layer: -1, head: null }, 0, false, false)).toMatch(
      /^The embedding adds 0 to the logit difference “Rome” − “Madrid” directly: 0\u00a0% of/,
    );
    const receiver = { layer: 4, head: null, part: "mlp" } as const;
    expect(pathSentence({ ...grid, receiver }, { layer: 3, head: 2 }, -1, false, false)).toMatch(
      /^Head 3\.2 takes 1 from .* through MLP 4: −5\u00a0% of/,
    );
    expect(endWords({ layer: 4, head: 1, part: "q" }, true)).toBe("the query of head 4.1");
  });

  it("there is no share where the source changes nothing", () => {
    expect(shareText(1, { ...grid, source_metric: -7 })).toBe("–");
  });
});
