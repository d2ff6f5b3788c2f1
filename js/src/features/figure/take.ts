// Files of the figure: the kernel draws one on request, and the browser saves it.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { App } from "../../app/app";
import type { Figure, TakeFigure } from "../../kernel/wire";

export type Format = TakeFigure["format"];

/** What stands beside the buttons: under way, done, or the reason why not. */
export interface Said {
  words: string;
  tone: "busy" | "done" | "error";
}

/** Milliseconds after which a kernel that says nothing is given up. */
const PATIENCE = 120_000;
/** Milliseconds after which the screen says that it takes long. */
const LONG = 5000;
/** Milliseconds for which it says that a file was saved. */
const SHORT = 10_000;

const TYPES: Record<Format, string> = {
  png: "image/png",
  svg: "image/svg+xml",
  pdf: "application/pdf",
  zip: "application/zip",
};

export function createTake({ kernel, onClose }: App) {
  const said = signal<Said | null>(null);
  let isBusy = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  onClose(() => clearTimeout(timer));

  /** Says something now, and something else (or nothing) after a while. */
  function say(now: Said, later: Said | null, after: number): void {
    clearTimeout(timer);
    said.value = now;
    timer = setTimeout(() => {
      said.value = later;
    }, after);
  }

  return {
    said: said as ReadonlySignal<Said | null>,
    /** Requests a file; while one is made, another is not begun. */
    async take(figure: Figure["kind"], format: Format): Promise<void> {
      if (isBusy) return;
      isBusy = true;
      const name = format.toUpperCase();
      const making: Said = { words: `Making the ${name}…`, tone: "busy" };
      say(making, { ...making, words: `${making.words} the kernel takes its time` }, LONG);
      try {
        const { file, buffers } = await kernel.request(
          { kind: "take", figure, format, dpi: 300 },
          { giveUp: PATIENCE, isSlow: true },
        );
        const [bytes] = buffers;
        if (!file || !bytes) throw new Error("the kernel sent no file");
        keep(bytes, file, TYPES[format]);
        say({ words: `Saved ${file}`, tone: "done" }, null, SHORT);
      } catch (error) {
        clearTimeout(timer);
        said.value = { words: `No ${name}: ${(error as Error).message}`, tone: "error" };
      }
      isBusy = false;
    },
  };
}

/** Hands bytes to the browser as a file to save. */
function keep(bytes: DataView, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes as DataView<ArrayBuffer>], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the browser reads it after the click
}
