// The browser's full screen, which a lecture begins and ends.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { click, drawn, mount, press } from "./helpers";

let screen: ReturnType<typeof mount>;
let full: Element | null = null;
const exit = vi.fn(async () => {
  full = null;
});
const host = () => screen.el.querySelector(".vene-host") as HTMLElement;
const $ = (selector: string) => screen.el.querySelector<HTMLElement>(selector);

beforeEach(() => {
  Object.defineProperties(document, {
    fullscreenElement: { configurable: true, get: () => full },
    fullscreenEnabled: { configurable: true, value: true },
    exitFullscreen: { configurable: true, value: exit },
  });
  screen = mount();
  host().requestFullscreen = async () => {
    full = host();
  };
});
afterEach(() => {
  screen.close();
  full = null;
  exit.mockClear();
  for (const name of ["fullscreenElement", "fullscreenEnabled", "exitFullscreen"])
    Reflect.deleteProperty(document, name);
  document.body.innerHTML = "";
});

const lecture = [...["Lecture", "Leave"]] as const;
const button = (name: (typeof lecture)[number]) =>
  [...screen.el.querySelectorAll("button")].find((one) => one.textContent === name) as HTMLElement;

it.each([
  ["a click on Leave", () => click(button("Leave"))],
  ["Escape", () => press($(".vene-root") as HTMLElement, "Escape")],
])("ends with %s", async (_, leave) => {
  click(button("Lecture"));
  await drawn();
  expect(full).toBe(host());
  leave();
  await drawn();
  expect($(".vene-lecture")).toBeNull();
  expect(full).toBeNull();
});

it("stays when it is the page’s own, or another explorer’s", async () => {
  full = document.documentElement;
  click(button("Lecture"));
  await drawn();
  expect($(".vene-lecture")).not.toBeNull();
  click(button("Leave"));
  await drawn();
  expect(exit).not.toHaveBeenCalled();
});
