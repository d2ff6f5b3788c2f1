// A prompt while it is typed: its tokens, and the slots that follow them.
import { afterEach, describe, expect, it, vi } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly, tokens } from "../dev/fixtures";
import type { OrderedExperiment as Experiment } from "../src/kernel/wire";
import { click, drawn, mount, press, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { named, experimentSent, slotsSent } = within(() => screen);

function open(slots: NonNullable<Experiment["slots"]>, more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots, ...more }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene), map: makeMap(scene) });
}
const three = [0, 1, 2].map((layer) => ({ layer, position: 3, source: "italy" }));

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

  it("is one more source, named by its own word", async () => {
    open(three);
    split();
    click(screen.el.querySelector(".vene-add-source") as HTMLElement);
    await drawn();
    type(named("New source"), "The capital of Peru is");
    press(named("New source"), "Enter");
    await drawn();
    expect(experimentSent().sources).toEqual([
      ["italy", "The capital of Italy is"],
      ["peru", "The capital of Peru is"],
    ]);
  });
});
