// Light or dark, as what is around the screen.
import { afterEach, describe, expect, it, vi } from "vitest";
import { themeAround, watchTheme } from "../src/ui/theme";

const [LIGHT, DARK] = ["rgb(250, 250, 250)", "rgb(17, 20, 24)"];

/** The innermost of nested elements, one for each style, the outermost first. */
function nested(...styles: string[]): HTMLElement {
  let at: HTMLElement = document.body;
  for (const style of styles) {
    const inner = document.createElement("div");
    inner.setAttribute("style", style);
    at.append(inner);
    at = inner;
  }
  return at;
}

const back = (colour: string) => `background-color: ${colour}`;

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  document.body.innerHTML = "";
  document.body.removeAttribute("style");
});

describe("the theme around an element", () => {
  it.each([
    ["light", [back(LIGHT)]],
    ["dark", [back(DARK)]],
    ["light", [back(DARK), back(LIGHT), ""]],
    ["dark", [back(LIGHT), back(DARK), back("rgba(0, 0, 0, 0)"), ""]],
    ["dark", [back(DARK), back("rgba(255, 255, 255, 0.1)")]],
  ])("is %s by the nearest opaque background: %j", (theme, styles) => {
    expect(themeAround(nested(...styles))).toBe(theme);
  });

  it.each([
    ["dark", "color(srgb 0.094 0.11 0.102)"],
    ["light", "color(srgb 1 1 1)"],
    ["dark", "color(display-p3 0.1 0.1 0.1 / 0.9)"],
    ["dark", "oklch(0.21 0.03 264)"],
    ["light", "oklch(0.98 0 0)"],
    ["dark", "lab(12 0 0)"],
    ["light", "lab(96 0 0)"],
    ["dark", "rgb(0 40 80)"],
  ])("is %s on %s", (theme, colour) => {
    // As browsers compute it; this document knows no such colours.
    const computed = { backgroundColor: colour } as CSSStyleDeclaration;
    vi.spyOn(window, "getComputedStyle").mockReturnValue(computed);
    expect(themeAround(document.body)).toBe(theme);
  });

  it("goes by the text where no background is opaque", () => {
    const see = back("rgba(0, 0, 0, 0)");
    expect(themeAround(nested(`color: rgb(204, 204, 204); ${see}`))).toBe("dark");
    expect(themeAround(nested(`color: rgb(60, 60, 60); ${see}`))).toBe("light");
  });

  it("is found from inside a shadow tree", () => {
    const host = nested(back(DARK));
    const root = host.attachShadow({ mode: "open" });
    root.append(document.createElement("div"));
    expect(themeAround(root.firstElementChild as Element)).toBe("dark");
  });

  it("is found once the element is put into its page", () => {
    let notify = () => {};
    const observe = vi.fn();
    const disconnect = vi.fn();
    class Observer {
      constructor(callback: () => void) {
        notify = callback;
      }
      observe = observe;
      disconnect = disconnect;
    }
    vi.stubGlobal("ResizeObserver", Observer);
    const element = document.createElement("div");
    const { theme, stop } = watchTheme(element);
    expect(theme.value).toBe("light");
    expect(observe).toHaveBeenCalledWith(element);
    nested(back(DARK)).append(element);
    notify();
    expect(theme.value).toBe("dark");
    stop();
    expect(disconnect).toHaveBeenCalledOnce();
  });

  it("is followed until it is stopped", async () => {
    const { theme, stop } = watchTheme(nested(""));
    expect(theme.value).toBe("light");
    document.body.setAttribute("style", back(DARK));
    await new Promise((done) => setTimeout(done, 20));
    expect(theme.value).toBe("dark");
    stop();
    document.body.setAttribute("style", back(LIGHT));
    await new Promise((done) => setTimeout(done, 20));
    expect(theme.value).toBe("dark");
  });
});
