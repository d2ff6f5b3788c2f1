// How a slot's details are opened and closed.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { drawn, mount, press, toggleDetails } from "./helpers";

let screen: ReturnType<typeof mount>;
const scroll = vi.fn();
const details = () => screen.el.querySelector<HTMLElement>(".vene-slot-details");
const at = (selector: string) => screen.el.querySelector<HTMLElement>(selector) as HTMLElement;
const effects = () => new Promise((done) => setTimeout(done, 60)); // they run after the painting

beforeEach(async () => {
  const { experiment } = spainAndItaly().scene;
  const slots = [0, 1].map((layer) => ({
    ...{ layer, position: 3, source: "italy", source_position: 3 },
  }));
  const scene = sceneOf({ ...experiment, slots }, 6, 2, null);
  Element.prototype.scrollIntoView = scroll;
  screen = mount({ scene, answer: makeAnswer(scene) });
  await toggleDetails(screen.el, 1);
  await effects();
});
afterEach(() => {
  screen.close();
  scroll.mockClear();
  document.body.innerHTML = "";
});

it("opening them leaves the page where it is", () => {
  expect(details()).not.toBeNull();
  expect(scroll).not.toHaveBeenCalled();
});

it("Escape closes them from the button that opened them", async () => {
  const button = at('[aria-label="More of slot 1"]');
  button.focus();
  press(button, "Escape");
  await drawn();
  expect(details()).toBeNull();
  expect(document.activeElement).toBe(button);
});

it("a press outside closes them, one inside or on the slots does not", async () => {
  const down = async (element: Element) => {
    element.dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    await drawn();
  };
  await down(at(".vene-slot-details select"));
  await down(at('[data-slot="0"]'));
  expect(details()).not.toBeNull();
  await down(at(".vene-sentence"));
  expect(details()).toBeNull();
  await toggleDetails(screen.el, 1);
  await effects();
  await down(document.body);
  expect(details()).toBeNull();
});
