// Light or dark, as the page around the screen is: read from what is painted behind it.
import { type ReadonlySignal, signal } from "@preact/signals";
import { onResize } from "./onResize";

export type Theme = "light" | "dark";

/** The theme of an element's surroundings, followed until `stop` is called. */
export function watchTheme(element: Element): { theme: ReadonlySignal<Theme>; stop(): void } {
  const theme = signal(themeAround(element));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = () => {
    theme.value = themeAround(element);
    // The style sheet of a theme may arrive after the attribute that announces it.
    clearTimeout(timer);
    timer = setTimeout(() => {
      theme.value = themeAround(element);
    }, 500);
  };
  // Hosts switch by attributes and classes of the page; the system by a media query.
  const observer = typeof MutationObserver === "undefined" ? null : new MutationObserver(look);
  for (const target of [document.documentElement, document.body])
    observer?.observe(target, { attributes: true });
  const media = window.matchMedia?.("(prefers-color-scheme: dark)");
  media?.addEventListener?.("change", look);
  // JupyterLab puts the element into its page after it was rendered: it has a size from then on.
  const unwatch = onResize(element, look);
  return {
    theme,
    stop: () => {
      observer?.disconnect();
      unwatch?.();
      media?.removeEventListener?.("change", look);
      clearTimeout(timer);
    },
  };
}

/**
 * By the first opaque background from an element outwards. Where there is none, as in a notebook of
 * VS Code, by the text's own colour, which also follows `color-scheme`.
 */
export function themeAround(element: Element): Theme {
  for (let at: Element | null = element; at; at = outwards(at)) {
    const [light, alpha] = shade(getComputedStyle(at).backgroundColor);
    if (alpha > 0.5) return light < 0.5 ? "dark" : "light";
  }
  return shade(getComputedStyle(element).color)[0] > 0.5 ? "dark" : "light";
}

/** Lightness and opacity, up to 1, of a computed colour: `rgb()`, `color(srgb)`, `lab()`, `oklch()`. */
function shade(colour: string): [light: number, alpha: number] {
  const numbers = colour
    .split(/[\s,()/]+/)
    .map(Number.parseFloat)
    .filter(Number.isFinite);
  const [a = 0, b = 0, c = 0, alpha = numbers.length && 1] = numbers;
  const most = /^ok|^color/.test(colour) ? 1 : colour[0] === "l" ? 100 : 255;
  const light = /^(ok)?l/.test(colour) ? a : 0.3 * a + 0.59 * b + 0.11 * c;
  return [light / most, alpha];
}

/** The parent, out of shadow trees as well. */
function outwards(element: Element): Element | null {
  const root = element.getRootNode();
  return element.parentElement ?? (root instanceof ShadowRoot ? root.host : null);
}
