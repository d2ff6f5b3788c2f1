// What a new source is called, and where a slot says which it reads.
import { afterEach, expect, it } from "vitest";
import { sceneOf, spainAndItaly } from "../dev/fixtures";
import { freshSource, type Plain } from "../src/domain/experiments";
import { mount } from "./helpers";

const plain = (sources: [string, string][], base = "The capital of Spain is"): Plain => ({
  ...{ base, sources, slots: [] },
  mode: "parallel",
});
const ITALY: [string, string] = ["italy", "The capital of Italy is"];

it.each([
  [[], "The capital of Italy is", "source"],
  [[ITALY], "The capital of Poland is", "poland"],
  [[ITALY], "The capital of Italy is", "italy 2"],
  [[ITALY], "The capital of Spain is", "source"],
  [[ITALY, ["source", "x"]], "The capital of Spain is", "source 2"],
  [[ITALY], "The capital of Côte d'Ivoire is", "côte"],
  [[ITALY], " ?!", "source"],
  [[ITALY], "x".repeat(200), "x".repeat(40)],
] as [[string, string][], string, string][])("beside %j, %s is %s", (sources, prompt, name) => {
  expect(freshSource(plain(sources), prompt)).toBe(name);
});

it("a slot’s line names its source, and leaves out what that implies", () => {
  const { scene } = spainAndItaly();
  const slots = [
    { layer: 1, position: 3, source: "poland", source_position: 3 },
    { layer: 1, position: 4, source: "italy", source_position: 4, intervention: "addition" },
  ];
  const two = (sources: [string, string][]) =>
    sceneOf({ ...scene.experiment, sources, slots } as Plain, 6, 2, null);
  const screen = mount({ scene: two([ITALY, ["poland", "The capital of Poland is"]]) });
  const words = [...screen.el.querySelectorAll(".vene-slot-operator-words")];
  expect(words.map((one) => one.textContent)).toEqual(["from poland", "addition · from italy"]);
  screen.close();
});
afterEach(() => {
  document.body.innerHTML = "";
});
