// Light or dark, as the page around the screen is: read from what is painted behind it.
import { type ReadonlySignal, signal } from "@preact/signals";

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
  return {
    theme,
    stop: () => {
      observer?.disconnect();
      media?.removeEventListener?.("change", look);
      clearTimeout(timer);
    },
  };
}

/** By the first opaque background from an element outwards; else as the page says of itself. */
export function themeAround(element: Element): Theme {
  for (let at: Element | null = element; at; at = outwards(at)) {
    const colour = /rgba?\(([^)]+)\)/.exec(getComputedStyle(at).backgroundColor)?.[1];
    const [r = 0, g = 0, b = 0, alpha = 1] = (colour ?? "0,0,0,0").split(/[\s,/]+/).map(Number);
    if (alpha > 0.5) return (299 * r + 587 * g + 114 * b) / 1000 < 128 ? "dark" : "light";
  }
  const { body, documentElement } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  const isDarkAllowed = getComputedStyle(documentElement).colorScheme?.includes("dark");
  const isDarkWanted = window.matchMedia?.("(prefers-color-scheme: dark)").matches;
  return isDarkAllowed && isDarkWanted ? "dark" : "light";
}

/** The parent, out of shadow trees as well. */
function outwards(element: Element): Element | null {
  const root = element.getRootNode();
  return element.parentElement ?? (root instanceof ShadowRoot ? root.host : null);
}
