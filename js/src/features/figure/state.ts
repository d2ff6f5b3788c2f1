// Files of the figure: the kernel draws one when it is asked for, and the browser keeps it.
import { type ReadonlySignal, signal } from "@preact/signals";
import type { Kernel } from "../../kernel/kernel";
import type { Figure, TakeFigure } from "../../kernel/wire";

export type Format = TakeFigure["format"];

/** What is said beside the buttons: under way, done, or the reason why not. */
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

export type Take = ReturnType<typeof createTake>;

export function createTake(kernel: Kernel) {
  const prefix = Math.random().toString(36).slice(2, 10);
  let count = 0;
  const said = signal<Said | null>(null);
  /** The one request under way, and what it is called on the screen. */
  let asked: { id: string; name: string; format: Format } | null = null;
  let timers: ReturnType<typeof setTimeout>[] = [];

  function end(words: string, tone: Said["tone"]): void {
    asked = null;
    for (const timer of timers.splice(0)) clearTimeout(timer);
    const last = { words, tone };
    said.value = last;
    if (tone === "done") {
      timers = [
        setTimeout(() => {
          if (said.peek() === last) said.value = null;
        }, SHORT),
      ];
    }
  }

  kernel.onReply((reply, buffers) => {
    if (asked === null || reply.id !== asked.id) return;
    const { name, format } = asked;
    const [bytes] = buffers;
    if (!reply.ok || !reply.file || !bytes) {
      end(`No ${name}: ${reply.error ?? "the kernel sent no file"}`, "error");
      return;
    }
    keep(bytes, reply.file, TYPES[format]);
    end(`Saved ${reply.file}`, "done");
  });

  return {
    said: said as ReadonlySignal<Said | null>,
    /** Asks for a file; while one is made, another is not begun. */
    take(figure: Figure["kind"], format: Format): void {
      if (asked !== null) return;
      const id = `take-${prefix}-${++count}`;
      const name = format.toUpperCase();
      asked = { id, name, format };
      for (const timer of timers.splice(0)) clearTimeout(timer);
      said.value = { words: `Making the ${name}…`, tone: "busy" };
      timers = [
        setTimeout(() => {
          said.value = { words: `Making the ${name}… the kernel takes its time`, tone: "busy" };
        }, LONG),
        setTimeout(() => end(`No ${name}: the kernel does not answer`, "error"), PATIENCE),
      ];
      kernel.send({ id, kind: "take", figure, format, dpi: 300 });
    },
    dispose(): void {
      asked = null;
      for (const timer of timers.splice(0)) clearTimeout(timer);
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
