import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import type { OrderedExperiment as Experiment } from "../src/kernel/wire";
import { accept, answer, click, drawn, mount, press, tile, toggleDetails } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const LOW = "low_rank_rotated_space";
const named = (name: string) =>
  screen.el.querySelector(`[aria-label="${name}"]`) as HTMLInputElement;
const outcome = (index: number) =>
  screen.el.querySelector(`[data-slot="${index}"] .vene-slot-outcome`) as HTMLElement;
const row = (index: number) => screen.el.querySelector(`[data-slot="${index}"]`) as HTMLElement;
const slotsSent = () => {
  const request = screen.model.sent.at(-1);
  if (request?.kind !== "experiment") throw new Error(`last request: ${request?.kind}`);
  return request.experiment.slots ?? [];
};

function open(slots: NonNullable<Experiment["slots"]>, more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots, ...more }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene) });
}

async function choose(name: string, value: string) {
  const field = named(name);
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  await drawn();
  answer(screen.model, accept(screen.model, 3 + screen.model.sent.length));
  await drawn();
}

const pair = [0, 1].map((layer) => ({ layer, position: 3, source: "italy" }));

describe("a slot's row", () => {
  it("of a plain interchange shows its operator and nothing more until it is opened", async () => {
    open(pair);
    expect(row(0).textContent).toMatch(/L0␣Spain ⟵ ␣Italy *patch/);
    expect(row(0).querySelector("select, input")).toBeNull();
    expect(screen.el.querySelector("[data-details]")).toBeNull();
    expect(named("More of slot 0").getAttribute("aria-expanded")).toBe("false");
    click(named("More of slot 0"));
    await drawn();
    expect(named("More of slot 0").getAttribute("aria-expanded")).toBe("true");
    expect(named("Intervention of slot 0").title).toContain("new = s");
    expect(named("Strength of slot 1")).toBeNull();
    await choose("Strength of slot 0", "0.5");
    expect(slotsSent()[0]?.strength).toBe(0.5);
    expect(named("Strength of slot 0 as a number").value).toBe("0.5");
    expect(named("Strength of slot 0").title).toContain("new = b + strength");
    await toggleDetails(screen.el, 0);
    expect(named("Strength of slot 0")).toBeNull();
    expect(row(0).textContent).toContain("× 0.5"); // what is set is on the line
    expect(row(1).textContent).not.toContain("×");
  });

  it("of low rank has a rank, subspaces that are pressed, and a link", async () => {
    open(pair);
    await toggleDetails(screen.el, 0);
    await choose("Intervention of slot 0", LOW);
    expect(named("Link slot 0").disabled).toBe(true);
    expect(named("Rank of slot 0").value).toBe("2");
    await toggleDetails(screen.el, 1);
    await choose("Intervention of slot 1", LOW);
    click(named("Subspace b of slot 1"));
    await drawn();
    expect(slotsSent().map((slot) => slot.subspace)).toEqual([null, "b"]);
    expect(named("Subspace b of slot 1").getAttribute("aria-pressed")).toBe("true");
    expect(named("Subspace a of slot 1").getAttribute("aria-pressed")).toBe("false");
    click(named("Link slot 1"));
    await drawn();
    expect(slotsSent().map((slot) => slot.link)).toEqual(["L1", "L1"]);
    expect(screen.el.querySelector(".vene-link-chip")?.textContent).toContain("L1 with 0");
    expect(row(0).style.getPropertyValue("--vene-link")).not.toBe("");
    expect(row(0).style.getPropertyValue("--vene-link")).toBe(
      row(1).style.getPropertyValue("--vene-link"),
    );
    await choose("Rank of slot 1", "4");
    expect(slotsSent().map((slot) => slot.rank)).toEqual([4, 4]);
    click(named("Unlink slot 1"));
    expect(slotsSent().map((slot) => slot.link)).toEqual([null, null]);
  });

  it("that needs no source hides its choice and keeps its name", async () => {
    open(pair, {
      sources: [
        ["italy", "The capital of Italy is"],
        ["peru", "The capital of Peru is"],
      ],
    });
    await toggleDetails(screen.el, 0);
    expect(named("Source of slot 0")).not.toBeNull();
    expect(row(0).textContent).toContain("from italy");
    await choose("Intervention of slot 0", "zero");
    expect(named("Source of slot 0")).toBeNull();
    expect(named("Source position of slot 0")).toBeNull();
    expect(row(0).textContent).not.toMatch(/⟵|italy/);
    expect(slotsSent()[0]?.source).toBe("italy");
    await choose("Intervention of slot 0", "vanilla");
    expect(named("Source of slot 0").value).toBe("italy");
  });

  it("of noise has scale and seed, of a mean its prompts", async () => {
    open(pair);
    await toggleDetails(screen.el, 0);
    await choose("Intervention of slot 0", "noise");
    await choose("Scale of slot 0", "0.25");
    await choose("Seed of slot 0", "7");
    expect(slotsSent()[0]).toMatchObject({ scale: 0.25, seed: 7 });
    // The next number up that a double holds is another one.
    await choose("Seed of slot 0", "9007199254740993");
    expect(slotsSent()[0]?.seed).toBe("9007199254740993");
    expect(named("Seed of slot 0").value).toBe("9007199254740993");
    await choose("Intervention of slot 0", "mean");
    expect(named("Prompts of slot 0").value).toBe("The capital of Italy is");
    await choose("Prompts of slot 0", "one\ntwo");
    expect(slotsSent()[0]?.prompts).toEqual(["one", "two"]);
  });

  it("takes dims as text", async () => {
    open(pair);
    await toggleDetails(screen.el, 0);
    expect(named("Dims of slot 0").placeholder).toBe("all 128");
    await choose("Dims of slot 0", "0,3, 5");
    expect(slotsSent()[0]?.subspace).toEqual([0, 3, 5]);
    expect(named("Dims of slot 0").value).toBe("0, 3, 5");
    await choose("Dims of slot 0", "");
    expect(slotsSent()[0]?.subspace).toBeNull();
  });

  it("warns in words and with a named picture that the slot did nothing", async () => {
    open(pair);
    expect(outcome(0).dataset.outcome).toBe("fired");
    screen.close();
    const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots: pair }, 6, 2, null);
    const idle = makeAnswer(scene);
    idle.receipts = idle.receipts.map((receipt) => ({
      ...receipt,
      idle: receipt.index === 1,
      words: `words ${receipt.index}`,
    }));
    screen = mount({ scene, answer: idle });
    expect(outcome(0).dataset.outcome).toBe("fired");
    expect(outcome(1).dataset.outcome).toBe("warning");
    expect(outcome(1).getAttribute("role")).toBe("img");
    expect(outcome(1).getAttribute("aria-label")).toBe("Slot 1: Warning: words 1");
    await toggleDetails(screen.el, 1);
    const line = screen.el.querySelector<HTMLElement>("[data-details] .vene-receipt-line");
    expect(line?.dataset.outcome).toBe("warning");
    expect(line?.textContent).toBe("words 1");
    expect(line?.querySelector("[role=img]")?.getAttribute("aria-label")).toBe("Warning:");
  });

  it("says in serial mode on whose run it acts", async () => {
    const sources: [string, string][] = [
      ["italy", "The capital of Italy is"],
      ["peru", "The capital of Peru is"],
    ];
    open([pair[0] as never, { ...pair[1], source: "peru" } as never], { sources, mode: "serial" });
    expect(row(0).textContent).toContain("in peru");
    expect(row(1).textContent).not.toContain(" in ");
    const about = () => screen.el.querySelector("[data-details]")?.textContent;
    await toggleDetails(screen.el, 0);
    expect(about()).toContain("acts on the run of source peru");
    await toggleDetails(screen.el, 1);
    expect(about()).toContain("acts on the run of the base");
    expect(named("How the sources run").value).toBe("serial");
    // The first acts on no tile of the base.
    expect(tile(screen.el, 0, 3).getAttribute("aria-selected")).toBe("false");
  });
});

describe("the details of a slot", () => {
  const words = (slot: number) =>
    screen.el.querySelector(`[data-slot="${slot}"] .vene-slot-words`) as HTMLElement;
  const details = () => [...screen.el.querySelectorAll<HTMLElement>("[data-details]")];
  const shown = () => details().map((one) => one.dataset.details);

  it("open from its words or its button, one slot at a time, and close again", async () => {
    open(pair);
    click(words(0));
    await drawn();
    expect(shown()).toEqual(["0"]);
    expect(details()[0]?.getAttribute("aria-label")).toBe("Slot 0 in detail");
    expect(words(0).getAttribute("aria-expanded")).toBe("true");
    // What is read aloud says what it does, and all that is seen.
    expect(words(0).textContent).toContain("Details of slot 0: L0␣Spain");
    await toggleDetails(screen.el, 1);
    expect(shown()).toEqual(["1"]);
    expect(words(0).getAttribute("aria-expanded")).toBe("false");
    click(words(1));
    await drawn();
    expect(shown()).toEqual([]);
    expect(screen.model.sent).toEqual([]);
  });

  it("close by Escape or their cross, and the focus goes back to the slot", async () => {
    open(pair);
    const ways = [
      () => press(named("Layer of slot 1"), "Escape"),
      () => click(named("Close the details of slot 1")),
    ];
    for (const close of ways) {
      await toggleDetails(screen.el, 1);
      named("Layer of slot 1").focus();
      close();
      await drawn();
      expect(shown()).toEqual([]);
      expect(document.activeElement).toBe(words(1));
    }
  });

  it("go with their slot when it is removed, and stay when another is", async () => {
    open(pair);
    await toggleDetails(screen.el, 1);
    click(named("Remove slot 0"));
    await drawn();
    expect(shown()).toEqual(["0"]);
    expect(named("Layer of slot 0").value).toBe("1");
    click(named("Remove slot 0"));
    await drawn();
    expect(shown()).toEqual([]);
  });

  it("offer components in words and in groups, by their own names", async () => {
    open(pair);
    await toggleDetails(screen.el, 0);
    const groups = [...named("Component of slot 0").querySelectorAll("optgroup")];
    expect(groups.map((group) => group.label)).toEqual([
      ...["Residual stream", "Attention heads", "Attention", "MLP"],
    ]);
    const { components } = spainAndItaly().scene.model;
    const options = groups.flatMap((group) => [...group.querySelectorAll("option")]);
    expect(options.map((option) => option.value).sort()).toEqual([...components].sort());
    for (const option of options) {
      expect(option.textContent).not.toMatch(/_/);
      expect(option.title).toBe(option.value);
    }
    expect(new Set(options.map((option) => option.textContent)).size).toBe(options.length);
  });
});

describe("keys on a tile", () => {
  it("link the slots of its group and choose the n-th subspace", async () => {
    open(pair.map((slot) => ({ ...slot, group: "A" })));
    press(tile(screen.el, 0, 3), "l");
    expect(screen.model.sent).toHaveLength(0); // an interchange has no weights
    for (const n of [0, 1]) {
      await toggleDetails(screen.el, n);
      await choose(`Intervention of slot ${n}`, LOW);
    }
    press(tile(screen.el, 1, 3), "l");
    expect(slotsSent().map((slot) => slot.link)).toEqual(["L1", "L1"]);
    await drawn();
    press(tile(screen.el, 1, 3), "2");
    expect(slotsSent().map((slot) => slot.subspace)).toEqual([null, "b"]);
    await drawn();
    const sent = screen.model.sent.length;
    press(tile(screen.el, 1, 3), "3");
    press(tile(screen.el, 5, 4), "1");
    expect(screen.model.sent).toHaveLength(sent);
    press(tile(screen.el, 1, 3), "l");
    expect(slotsSent().map((slot) => slot.link)).toEqual([null, null]);
  });

  it("in fields stay in the fields", async () => {
    open([{ ...pair[0], intervention: LOW, rank: 2 } as never]);
    await toggleDetails(screen.el, 0);
    const heard: string[] = [];
    document.body.addEventListener("keydown", (event) => heard.push(event.key));
    for (const key of ["ArrowLeft", "l", "1"]) press(named("Rank of slot 0"), key);
    press(named("Rank of slot 0"), "s", { ctrlKey: true });
    expect(heard).toEqual(["s"]);
    expect(screen.model.sent).toHaveLength(0);
  });
});
