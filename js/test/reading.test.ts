// What a slot reads: chosen in its details, kept where it makes sense, refused beside its field.
import { afterEach, describe, expect, it } from "vitest";
import { changeSlot, type Slot, toPlain } from "../src/domain/experiments";
import { setIntervention } from "../src/domain/operators";
import { readingOf, setReading } from "../src/domain/reading";
import { drawn, mount, refuse, toggleDetails, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, $$, text, named, experiments } = within(() => screen);
const SPAIN = "The capital of Spain is";
const ITALY = "The capital of Italy is";
const at = { layer: 1, position: 3, source: "italy", source_position: 3 };
const own = { layer: 1, position: 3, intervention: "addition", prompts: [ITALY], minus: [SPAIN] };

async function open(slot: object) {
  screen = mount(traitsOf([slot as never]));
  await toggleDetails(screen.el, 0);
}

function choose(name: string, value: string): void {
  const field = named(name);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

describe("another reading", () => {
  const plain = toPlain(traitsOf([at]).scene.experiment);

  it("is valid at once, and steering adds", () => {
    const [slot] = setReading(plain, 0, "difference").slots;
    expect(slot).toMatchObject({
      ...{ intervention: "addition", source: null, source_position: null, group: null },
      ...{ prompts: [ITALY], minus: [SPAIN] },
    });
    expect(setReading(plain, 0, "mean").slots[0]).toMatchObject({
      ...{ intervention: "vanilla", source: null, prompts: [ITALY], minus: [] },
    });
  });

  it("reads the last token where base and source are not aligned", () => {
    const other = changeSlot(plain, 0, { source_position: 1 });
    expect(setReading(other, 0, "mean").slots[0]?.source_position).toBe(-1);
  });

  it("goes back to a source’s run, and keeps prompts between its two kinds", () => {
    const steering = setReading(plain, 0, "difference");
    const mean = setReading(steering, 0, "mean");
    expect(mean.slots[0]).toMatchObject({ prompts: [ITALY], minus: [] });
    const back = setReading(mean, 0, "run").slots[0] as Slot;
    expect(back).toMatchObject({ source: "italy", prompts: [], minus: [], vector: null });
    expect(readingOf(back)).toBe("run");
  });

  it("stays with another operator that reads, and not with one that does not", () => {
    const kinds = traitsOf([]).scene.model.interventions;
    const steering = setReading(plain, 0, "difference");
    expect(setIntervention(steering, 0, "subtraction", kinds).slots[0]).toMatchObject({
      ...{ source: null, prompts: [ITALY], minus: [SPAIN] },
    });
    expect(setIntervention(steering, 0, "zero", kinds).slots[0]).toMatchObject({
      ...{ prompts: [], minus: [] },
    });
  });
});

describe("the details", () => {
  it("choose what is read, and at which layer", async () => {
    await open(at);
    choose("What slot 0 reads", "difference");
    await drawn();
    expect(experiments().at(-1)?.slots?.[0]).toMatchObject({
      ...{ intervention: "addition", prompts: [ITALY], minus: [SPAIN] },
    });
    choose("Layer that slot 0 reads", "5");
    await drawn();
    expect(experiments().at(-1)?.slots?.[0]).toMatchObject({ source_layer: 5, minus: [SPAIN] });
    expect(text(".vene-slot-operator-words")).toBe("addition · mean of 1 − mean of 1, read at L5");
  });

  it("show a refusal beside the prompts, keep what is typed, and the slot", async () => {
    await open(own);
    choose("Prompts of slot 0", "Hi\nThere");
    await drawn();
    expect(experiments().at(-1)?.slots?.[0]).toMatchObject({ prompts: ["Hi", "There"] });
    await refuse(screen.model, "prompts[0] has no position 3.");
    await drawn();
    expect(text(".vene-prompt-list [role=alert]")).toBe("prompts[0] has no position 3.");
    expect($$(".vene-alert")).toHaveLength(0);
    expect(named("Prompts of slot 0").value).toBe("Hi\nThere");
    expect(text(".vene-slot-operator-words")).toContain("mean of 1 − mean of 1");
    expect(named("Prompts to subtract of slot 0").value).toBe(SPAIN);
  });

  it("have a slider from −8 to 8 where a vector is added, and any number in its field", async () => {
    await open(own);
    const { min, max, step } = named("Strength of slot 0");
    expect([min, max, step]).toEqual(["-8", "8", "0.25"]);
    choose("Strength of slot 0 as a number", "-20");
    await drawn();
    expect(experiments().at(-1)?.slots?.[0]).toMatchObject({ strength: -20, minus: [SPAIN] });
  });

  it("name a vector by its length, and keep it when something else changes", async () => {
    const vector = [0.5, -1, 2];
    await open({ ...at, source: null, source_position: null, intervention: "addition", vector });
    expect(named("What slot 0 reads").selectedOptions[0]?.textContent).toBe(
      "a vector of 3 numbers",
    );
    expect($('[aria-label="Layer that slot 0 reads"]')).toBeNull();
    expect(text(".vene-slot-operator-words")).toBe("addition · a vector of 3 numbers");
    choose("Strength of slot 0", "4");
    await drawn();
    expect(experiments().at(-1)?.slots?.[0]).toMatchObject({ strength: 4, vector });
  });
});
