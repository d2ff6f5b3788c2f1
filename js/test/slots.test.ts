import { afterEach, describe, expect, it, vi } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly, tokens } from "../dev/fixtures";
import type { OrderedExperiment as Experiment, ReceiptInfo } from "../src/kernel/wire";
import {
  accept,
  answer,
  click,
  drawn,
  mount,
  openTab,
  press,
  tile,
  toggleDetails,
} from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const named = (name: string) =>
  screen.el.querySelector(`[aria-label="${name}"]`) as HTMLInputElement;
const row = (index: number) => screen.el.querySelector(`[data-slot="${index}"]`) as HTMLElement;
const experimentSent = () => {
  const request = screen.model.sent.filter((sent) => sent.kind === "experiment").at(-1);
  if (request?.kind !== "experiment") throw new Error("no experiment was asked for");
  return request.experiment;
};
const slotsSent = () => experimentSent().slots ?? [];
const spoken = () => screen.el.querySelector("[data-panel=slots] > [aria-live]")?.textContent;
const details = () => screen.el.querySelector<HTMLElement>("[data-details]");
const outcome = (index: number) =>
  row(index).querySelector<HTMLElement>(".vene-slot-outcome") as HTMLElement;

function open(slots: NonNullable<Experiment["slots"]>, more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots, ...more }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene), map: makeMap(scene) });
}
async function settle() {
  await drawn();
  answer(screen.model, accept(screen.model, 3 + screen.model.sent.length));
  await drawn();
}
async function press_(name: string) {
  click(named(name));
  await settle();
}
async function choose(name: string, value: string) {
  const field = named(name);
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  await settle();
}
const three = [0, 1, 2].map((layer) => ({ layer, position: 3, source: "italy" }));
const peru: { sources: [string, string][] } = {
  sources: [
    ["italy", "The capital of Italy is"],
    ["peru", "The capital of Peru is"],
  ],
};

describe("a row", () => {
  it("moves with Alt and the arrows, keeps the focus and what is open in it, and is announced", async () => {
    open(three);
    await toggleDetails(screen.el, 2);
    named("Move slot 2").focus();
    press(named("Move slot 2"), "ArrowUp", { altKey: true });
    await settle();
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 2, 1]);
    expect(named("More of slot 1").getAttribute("aria-expanded")).toBe("true");
    expect(named("More of slot 2").getAttribute("aria-expanded")).toBe("false");
    expect(details()?.dataset.details).toBe("1");
    expect(named("Layer of slot 1").value).toBe("2");
    expect(document.activeElement).toBe(named("Move slot 1"));
    expect(spoken()).toBe("Slot 2 is now slot 1, number 2 of 3.");
    press(named("Move slot 0"), "ArrowUp", { altKey: true });
    await drawn();
    expect(spoken()).toBe("Slot 0 is the first.");
    const sent = screen.model.sent.length;
    press(named("Move slot 0"), "ArrowDown");
    expect(screen.model.sent).toHaveLength(sent);
    await press_("Undo");
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 1, 2]);
    expect(named("More of slot 2").getAttribute("aria-expanded")).toBe("true");
  });

  it("moves under the pointer, shows where it would go, and Escape leaves it", async () => {
    open(three);
    screen.el.querySelectorAll("[data-slot]").forEach((element, i) => {
      element.getBoundingClientRect = () => ({ top: 100 * i, height: 100 }) as DOMRect;
    });
    const at = (type: string, clientY: number) =>
      named("Move slot 0").dispatchEvent(
        new PointerEvent(type, { clientY, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 50);
    at("pointermove", 160);
    await drawn();
    expect([0, 1, 2].map((i) => row(i).dataset.drop)).toEqual(["dragged", "after", undefined]);
    press(named("Move slot 0"), "Escape");
    at("pointerup", 160);
    await drawn();
    expect(row(1).dataset.drop).toBeUndefined();
    expect(screen.model.sent).toHaveLength(0);
    at("pointerdown", 50);
    at("pointermove", 290);
    at("pointerup", 290);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([1, 2, 0]);
  });

  it("is duplicated and removed without what is open jumping to another", async () => {
    open(three);
    await toggleDetails(screen.el, 1);
    await press_("Duplicate slot 1");
    expect(slotsSent().map((slot) => slot.layer)).toEqual([0, 1, 1, 2]);
    const opened = () =>
      [0, 1, 2, 3].map((i) => named(`More of slot ${i}`)?.getAttribute("aria-expanded"));
    expect(opened()).toEqual(["false", "true", "false", "false"]);
    expect(screen.el.querySelectorAll("[data-details]")).toHaveLength(1);
    expect(document.activeElement).toBe(named("Move slot 2"));
    await press_("Remove slot 0");
    expect(opened().slice(0, 3)).toEqual(["true", "false", "false"]);
    expect(spoken()).toBe("Slot 0 is removed; 3 left.");
  });

  it("leaves the focus on the screen when the last is removed: the keys undo it", async () => {
    open(three.slice(0, 1));
    named("Remove slot 0").focus();
    await press_("Remove slot 0");
    expect(document.activeElement?.textContent?.trim()).toBe("Add slot");
    expect(spoken()).toBe("Slot 0 is removed; 0 left.");
    press(document.activeElement as Element, "z", { ctrlKey: true });
    expect(slotsSent()).toHaveLength(1);
  });

  it("has several pairs: one more, one less, counted on the line", async () => {
    open([{ ...(three[0] as object), layer: 0, position: 3 } as never]);
    await toggleDetails(screen.el, 0);
    await press_("Add a position to slot 0");
    await press_("Add a position to slot 0");
    expect(slotsSent()[0]).toMatchObject({ position: [3, 0, 1], source_position: [3, 0, 1] });
    await choose("Source position of slot 0, pair 3", "4");
    expect(slotsSent()[0]?.source_position).toEqual([3, 0, 4]);
    // A position is spoken for once.
    const options = [...named("Base position of slot 0").querySelectorAll("option")];
    expect(options.map((option) => option.value)).toEqual(["2", "3", "4"]);
    expect(row(0).querySelector(".vene-slot-tokens")?.textContent).toBe("␣Spain ⟵ ␣Italy +2");
    await press_("Take position 0 out of slot 0");
    expect(slotsSent()[0]).toMatchObject({ position: [3, 1], source_position: [3, 4] });
    expect(row(0).querySelector(".vene-slot-tokens")?.textContent).toBe("␣Spain ⟵ ␣Italy +1");
  });

  it("tells the strength in a slider and a number, with its formula", async () => {
    open(three);
    await toggleDetails(screen.el, 0);
    const slider = named("Strength of slot 0");
    slider.value = "0.3";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
    expect(named("Strength of slot 0 as a number").value).toBe("0.3");
    expect(screen.model.sent).toHaveLength(0); // asked for when it is let go
    expect(slider.value).toBe("0.3");
    slider.dispatchEvent(new Event("change", { bubbles: true }));
    await settle();
    expect(slotsSent()[0]?.strength).toBe(0.3);
    await choose("Strength of slot 0 as a number", "0.25");
    expect(slotsSent()[0]?.strength).toBe(0.25);
    expect(named("Strength of slot 0").title).toContain("b + strength · (intervention − b)");
    // The slider has no undo of its own.
    press(named("Strength of slot 0"), "z", { ctrlKey: true });
    await settle();
    expect(slotsSent()[0]?.strength).toBe(0.3);
    const sent = screen.model.sent.length;
    press(named("Dims of slot 0"), "z", { ctrlKey: true });
    press(named("Strength of slot 0"), "g");
    expect(screen.model.sent).toHaveLength(sent);
  });

  it("is split in two halves, of which one may be chosen", async () => {
    open(three);
    expect(named("Split dims of slot 0")).toBeNull();
    await toggleDetails(screen.el, 0);
    await press_("Split dims of slot 0");
    expect(slotsSent()[0]?.partition).toEqual({ a: [0, 64], b: [64, 128] });
    expect(named("Split dims of slot 0")).toBeNull();
    await press_("Subspace b of slot 0");
    expect(slotsSent()[0]?.subspace).toBe("b");
  });

  it("scrolls its list while it is held near the edge", async () => {
    open(three);
    const list = screen.el.querySelector(".vene-slots") as HTMLElement;
    list.getBoundingClientRect = () => ({ top: 0, bottom: 150, height: 150 }) as DOMRect;
    screen.el.querySelectorAll("[data-slot]").forEach((element, i) => {
      element.getBoundingClientRect = () => ({ top: 100 * i, height: 100 }) as DOMRect;
    });
    const at = (type: string, clientY: number) =>
      named("Move slot 0").dispatchEvent(
        new PointerEvent(type, { clientY, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 50);
    for (let i = 0; i < 12; i++) at("pointermove", 140);
    expect(list.scrollTop).toBe(144);
    await drawn();
    // 140 in the window is 284 in the list: behind the last middle.
    expect(row(2).dataset.drop).toBe("after");
    at("pointerup", 140);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([1, 2, 0]);
  });

  it("of a mean says where in the prompts", async () => {
    open(three);
    await toggleDetails(screen.el, 0);
    await choose("Intervention of slot 0", "mean");
    await choose("Positions in the prompts of slot 0", "-1");
    expect(slotsSent()[0]?.source_position).toBe(-1);
    expect(named("Positions in the prompts of slot 0").value).toBe("-1");
  });

  it("has rank and scale just for what uses them", async () => {
    open(three);
    await toggleDetails(screen.el, 0);
    for (const [name, has] of [
      ["vanilla", []],
      ["zero", []],
      ["noise", ["Scale"]],
      ["low_rank_rotated_space", ["Rank"]],
    ] as const) {
      if (name !== "vanilla") await choose("Intervention of slot 0", name);
      expect(["Rank", "Scale"].filter((field) => named(`${field} of slot 0`))).toEqual(has);
    }
  });
});

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

  it("says for every reason what became of the slot, with a named mark", async () => {
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

describe("groups and sources", () => {
  it("are renamed in place; a name that is taken says so at the field", async () => {
    open(
      three.map((slot, i) => ({
        ...slot,
        group: "AAB"[i] as string,
        source: i < 2 ? "italy" : "peru",
      })),
      peru,
    );
    await toggleDetails(screen.el, 1);
    expect(named("Rename group A")).toBeNull(); // renamed once, at its first slot
    await toggleDetails(screen.el, 0);
    click(named("Rename group A"));
    await drawn();
    const field = named("New name of group A");
    field.value = "B";
    press(field, "Enter");
    await drawn();
    expect(details()?.querySelector("[role=alert]")?.textContent).toContain("another source");
    field.value = "subject";
    press(field, "Enter");
    expect(slotsSent().map((slot) => slot.group)).toEqual(["subject", "subject", "B"]);
    await settle();
    click(named("Rename source peru"));
    await drawn();
    const name = named("New name of source peru");
    name.value = "Lima";
    press(name, "Enter");
    expect(experimentSent().sources?.map(([name]) => name)).toEqual(["italy", "Lima"]);
    expect(slotsSent().map((slot) => slot.source)).toEqual(["italy", "italy", "Lima"]);
  });

  it("are changed for a shorter one without a position that it has not got", async () => {
    const short: typeof peru = { sources: [...peru.sources, ["short", "In Peru is"]] };
    open([{ layer: 0, position: [2, 4], source_position: [1, 4], source: "italy" }], short);
    await toggleDetails(screen.el, 0);
    await choose("Source of slot 0", "short");
    expect(slotsSent()[0]).toMatchObject({ source: "short", position: [2, 4] });
    expect(slotsSent()[0]?.source_position).toEqual([1, 2]);
    await choose("Source of slot 0", "peru");
    expect(slotsSent()[0]?.source_position).toEqual([1, 2]);
  });

  it("run in parallel or as a chain, explained in the menu’s title, where there is more than one", async () => {
    open(three);
    expect(named("How the sources run")).toBeNull();
    screen.close();
    open(three, peru);
    expect(named("How the sources run").title).toContain("runs as it is");
    await choose("How the sources run", "serial");
    expect(experimentSent().mode).toBe("serial");
    expect(named("How the sources run").value).toBe("serial");
    expect(named("How the sources run").title).toMatch(
      /read “italy” act on the run of “peru”, .*read “peru” act on the base/,
    );
  });

  it("are removed with the slots that read them, which the button says first", async () => {
    open([...three.slice(0, 2), { layer: 2, position: 3, source: "peru" }], peru);
    const remove = named("Remove source italy with 2 slots that read it");
    expect(remove.title).toContain("with 2 slots");
    expect(named("Remove source peru with 1 slot that reads it")).not.toBeNull();
    click(remove);
    expect(experimentSent().sources).toEqual([["peru", "The capital of Peru is"]]);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([2]);
  });
});

describe("a prompt that is typed", () => {
  const type = (field: HTMLInputElement, text: string) => {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  /** The kernel splits every text that it is asked for. */
  const split = () => {
    screen.model.answer = (request) => {
      if (request.kind !== "tokens") return;
      const found = tokens(request.text);
      const error = found.length ? null : "prompt '' has no tokens";
      void screen.model.reply({ id: request.id, ok: !error, error, tokens: error ? null : found });
    };
  };

  it("shows its tokens, and its slots follow them when it is run", async () => {
    open(three);
    split();
    click(named("Edit base"));
    await drawn();
    type(named("Edit base"), "The old capital of Spain is");
    const chips = () => screen.el.querySelector(".vene-prompt-edit .vene-chips");
    await vi.waitFor(() => expect(chips()?.textContent).toContain("␣old"));
    expect(chips()?.textContent).toContain("6 tokens");
    press(named("Edit base"), "Enter");
    await drawn();
    expect(experimentSent().base).toBe("The old capital of Spain is");
    expect(slotsSent().map((slot) => [slot.position, slot.source_position])).toEqual(
      three.map(() => [4, 3]),
    );
  });

  it("waits on Enter for its tokens, so that fast typing changes nothing", async () => {
    open(three);
    split();
    click(named("Edit base"));
    await drawn();
    type(named("Edit base"), "The old capital of Spain is");
    press(named("Edit base"), "Enter");
    await drawn();
    expect(slotsSent().map((slot) => slot.position)).toEqual([4, 4, 4]);
  });

  it("without tokens says so at the field and is not run", async () => {
    open(three);
    split();
    click(named("Edit base"));
    await drawn();
    type(named("Edit base"), "");
    press(named("Edit base"), "Enter");
    await drawn();
    const row = screen.el.querySelector('[data-prompt="base"]');
    expect(row?.querySelector("[role=alert]")?.textContent).toBe("prompt '' has no tokens");
    expect(row?.querySelector(".vene-old")?.textContent).toContain("␣Spain");
    expect(screen.model.sent.filter((request) => request.kind === "experiment")).toHaveLength(0);
  });

  it("is one more source, or nothing when it is left", async () => {
    open(three);
    const add = () => screen.el.querySelector(".vene-add-source") as HTMLElement;
    click(add());
    await drawn();
    press(named("New source"), "Enter");
    await drawn();
    expect(screen.model.sent).toHaveLength(0);
    expect(named("New source")).toBeNull();
    split();
    click(add());
    await drawn();
    type(named("New source"), "The capital of Peru is");
    press(named("New source"), "Enter");
    await drawn();
    expect(experimentSent().sources).toEqual([
      ["italy", "The capital of Italy is"],
      ["source", "The capital of Peru is"],
    ]);
  });
});

describe("tokens of unequal prompts", () => {
  const long = { sources: [["italy", "The capital of old Italy is"]] as [string, string][] };
  const captions = (prompt: string) =>
    [...screen.el.querySelectorAll(`[data-prompt="${prompt}"] .vene-chip-caption`)].map(
      (caption) => caption.textContent,
    );

  it("say where they go; those of equal ones do not", () => {
    open(three);
    expect(captions("base")).toEqual([]);
    screen.close();
    open([], long);
    expect(captions("base")).toEqual(["0", "1", "2", "3", "4"]);
    expect(captions("italy")).toHaveLength(6);
    expect(captions("italy")).toContain("–");
  });

  it("are paired with the keyboard: Enter, arrows, Enter; the focus comes back", async () => {
    open(three, long);
    const chip = named("4 ␣Italy: pick up to pair") ?? screen.el.querySelector('[data-token="4"]');
    chip.focus();
    click(chip); // what Enter does on a button
    await drawn();
    expect(screen.el.querySelector(".vene-carry")?.textContent).toContain("␣Italy is picked up");
    const focused = () => document.activeElement as HTMLElement;
    const from = Number(focused().dataset.base);
    press(focused(), from > 3 ? "ArrowLeft" : "ArrowRight");
    await drawn();
    while (Number(focused().dataset.base) !== 3) {
      press(focused(), Number(focused().dataset.base) > 3 ? "ArrowLeft" : "ArrowRight");
      await drawn();
    }
    click(focused());
    await settle();
    expect(slotsSent().map((slot) => slot.source_position)).toEqual([4, 4, 4]);
    expect(screen.model.sent.find((request) => request.kind === "sweep")).toMatchObject({
      source_positions: expect.arrayContaining([4]),
    });
    expect(spoken()).toBe(
      "4 ␣Italy now goes into 3 ␣Spain: in slots 0, 1, 2 and in the map’s column 3.",
    );
    expect(focused().dataset.token).toBe("4");
    expect(captions("italy")[4]).toContain("3");
    expect(screen.el.querySelector('[data-prompt="italy"]')?.textContent).toContain(
      "Paired by hand",
    );
    click(named("Pair italy as suggested"));
    await drawn();
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "sweep", source_positions: null });
  });

  it("are put back with Escape, and nothing is asked for", async () => {
    open(three, long);
    click(screen.el.querySelector('[data-token="4"]') as HTMLElement);
    await drawn();
    press(document.activeElement as HTMLElement, "Escape");
    await drawn();
    expect(screen.el.querySelector(".vene-carry")).toBeNull();
    expect(screen.model.sent).toHaveLength(0);
  });

  it("are dropped by the pointer on the base token under it; a column without a slot remembers", async () => {
    open([], long);
    const chip = screen.el.querySelector('[data-token="4"]') as HTMLElement;
    const target = () => screen.el.querySelector('[data-base="3"]') as HTMLElement;
    document.elementsFromPoint = () => [target()];
    const at = (type: string, clientX: number) =>
      chip.dispatchEvent(
        new PointerEvent(type, { clientX, clientY: 0, button: 0, bubbles: true, pointerId: 1 }),
      );
    at("pointerdown", 0);
    at("pointermove", 2);
    await drawn();
    expect(screen.el.querySelector(".vene-carry")).toBeNull(); // a hand is never quite still
    at("pointermove", 40);
    await drawn();
    expect(target().dataset.over).toBe("true");
    at("pointerup", 40);
    click(chip);
    await drawn();
    expect(screen.model.sent).toMatchObject([{ kind: "sweep" }]);
    expect(spoken()).toContain("no slot is there yet, the next click on it will use that");
    click(tile(screen.el, 1, 3));
    expect(slotsSent()[0]).toMatchObject({ position: 3, source_position: 4 });
  });
});
