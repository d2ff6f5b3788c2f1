// The kind of figure that is drawn, and the newest picture.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { Figure } from "../../kernel/wire";
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
  app.effect(() => {
    if (picture.value?.kind === wanted.peek()) wanted.value = null;
    return undefined;
  });
  return {
    picture,
    kind: computed<Kind>(() => wanted.value ?? picture.value?.kind ?? "result"),
    async choose(kind: Kind): Promise<void> {
      wanted.value = kind;
      try {
        await app.kernel.request({ kind: "figure", figure: kind });
      } catch (error) {
        notices.refuse((error as Error).message);
        if (wanted.peek() === kind) wanted.value = null;
      }
    },
  };
}
