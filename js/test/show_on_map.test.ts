// The result's answer, offered for the map where the map shows another token.
import { afterEach, expect, it } from "vitest";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { click, drawn, mount } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen.close();
  document.body.innerHTML = "";
});
const offer = () => screen.el.querySelector<HTMLElement>(".vene-offer button");
const menu = () =>
  screen.el.querySelector<HTMLSelectElement>('[aria-label="Target token"]') as HTMLSelectElement;
const shown = () => menu().selectedOptions[0]?.textContent;

function open(...layers: number[]): void {
  const { experiment } = spainAndItaly().scene;
  const slots = layers.map((layer) => ({
    ...{ layer, position: 3, source: "italy", source_position: 3 },
  }));
  const scene = sceneOf({ ...experiment, slots }, 6, 2, null);
  screen = mount({ scene, answer: makeAnswer(scene) });
}

async function aimAt(label: string): Promise<void> {
  menu().value = [...menu().options].find(({ text }) => text === label)?.value ?? "";
  menu().dispatchEvent(new Event("change", { bubbles: true }));
  await drawn();
}

it("is offered when the answer has changed to it, and then shown", async () => {
  open(1);
  expect(shown()).toBe("␣Rome");
  expect(offer()).toBeNull();
  await aimAt("␣Madrid");
  expect(offer()?.textContent).toBe("show ␣Rome on the map");
  offer()?.focus();
  click(offer() as HTMLElement);
  await drawn();
  expect(shown()).toBe("␣Rome");
  expect(offer()).toBeNull();
  // The button has gone; keys go to the screen.
  expect(document.activeElement).toBe(screen.el.querySelector(".vene-root"));
});

it("is not offered while the base’s answer stands", async () => {
  open();
  await aimAt("␣Madrid");
  expect(offer()).toBeNull();
  screen.close();
  open(4); // too late to change the answer
  expect(shown()).toBe("␣Rome");
  expect(offer()).toBeNull();
});
