// Made-up stories for the harness and the tests: no model was run for them.
import type { Scene, Story } from "../src/kernel/wire";
import { ITALY, makeAnswer, makeMap, SPAIN, sceneOf } from "./fixtures";

const FRANCE = "The capital of France is";

type Slots = NonNullable<Scene["experiment"]["slots"]>;

const at = (layer: number, position: number, group: string | null = null): Slots[number] => ({
  layer,
  position,
  source: "italy",
  source_position: position,
  group,
});

/** Four steps: the base alone, a question, other prompts, a group. */
export function aStory(layers = 6): Story {
  const step = (
    title: string,
    slots: Slots,
    more: Partial<Story["steps"][number]>,
    base = SPAIN,
  ) => {
    const scene = sceneOf({ base, sources: { italy: ITALY }, slots }, layers, 0, null);
    return {
      ...{ title, text: "", question: null, choices: [], answer: null },
      ...{ base: scene.base, sources: scene.sources, slots: scene.slots },
      experiment: scene.experiment,
      result: { ...makeAnswer(scene), revision: 0 },
      map: base === SPAIN ? 0 : 1,
      ...more,
    };
  };
  const mapOf = (base: string) =>
    makeMap(sceneOf({ base, sources: { italy: ITALY }, slots: [] }, layers, 0, null));
  return {
    steps: [
      step("What the model knows", [], {
        text: "Nothing is copied yet: the model reads the base.",
      }),
      step("An early swap", [at(1, 3)], {
        text: "We copy what the model has made of “Italy” by layer 1 into the place of “Spain”.",
        question: "What will the model say?",
        choices: ["Madrid", "Rome", "Something else"],
        answer: 1,
      }),
      step("Another country", [at(4, 4)], { question: "And late, at the last token?" }, FRANCE),
      step("Two places at once", [at(0, 3, "A"), at(2, 4, "A")], {}),
    ],
    maps: [mapOf(SPAIN), mapOf(FRANCE)],
  };
}
