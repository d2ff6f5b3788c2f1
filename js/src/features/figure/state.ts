// The kind of figure that is drawn, and the newest picture.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { Figure } from "../../kernel/wire";
import type { Theme } from "../../ui/theme";
import { createNotices } from "../notices/state";

export type Kind = Figure["kind"];

/** The figure with its bytes as the browser gets them. */
export type Picture = Omit<Figure, "png"> & { png: DataView };

export function createFigure(app: App) {
  // The trait is not called `figure`: that is a Python method.
  const picture = app.kernel.trait<Picture>("picture");
  const notices = app.use(createNotices);
  /** What was asked for and has not come yet. */
  const wanted = signal<Kind | null>(null);
  /** The last style that this view asked for: once, as another view may want the other one. */
  let asked: Theme = "light";
  const ask = (figure: Kind) => {
    asked = app.theme.peek();
    return app.kernel.request({ kind: "figure", figure, style: asked });
  };
  app.effect(() => {
    if (picture.value?.kind === wanted.peek()) wanted.value = null;
    return undefined;
  });
  // On a dark screen a white picture would be the brightest thing.
  app.effect(() => {
    const drawn = picture.value;
    const { offline } = app.kernel;
    if (offline === null && ![asked, drawn?.style].includes(app.theme.value))
      ask(drawn?.kind ?? "result").catch(() => {});
    return undefined;
  });
  return {
    picture,
    kind: computed<Kind>(() => wanted.value ?? picture.value?.kind ?? "result"),
    async choose(kind: Kind): Promise<void> {
      wanted.value = kind;
      try {
        await ask(kind);
      } catch (error) {
        notices.refuse((error as Error).message);
        if (wanted.peek() === kind) wanted.value = null;
      }
    },
  };
}
