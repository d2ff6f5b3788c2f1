// The only module that speaks to the anywidget model: traits become signals, requests become messages.
import type { AnyModel } from "@anywidget/types";
import { type ReadonlySignal, signal } from "@preact/signals";
import type {
  Answer,
  Contrast,
  Figure,
  Past,
  Protocol,
  Reply,
  Scene,
  Status,
  Story,
  Map as Sweep,
} from "./wire";

export type Request = Protocol["request"];

/** The figure with its bytes as the browser gets them. */
export type Picture = Omit<Figure, "png"> & { png: DataView };

export interface Kernel {
  readonly scene: ReadonlySignal<Scene | null>;
  readonly map: ReadonlySignal<Sweep | null>;
  readonly answer: ReadonlySignal<Answer | null>;
  readonly contrast: ReadonlySignal<Contrast | null>;
  readonly past: ReadonlySignal<Past | null>;
  readonly picture: ReadonlySignal<Picture | null>;
  readonly status: ReadonlySignal<Status | null>;
  readonly steps: ReadonlySignal<Story | null>;
  /** Where in the story the kernel is, from 0; null without one. */
  readonly step: ReadonlySignal<number | null>;
  /** Stands for the widget in whichever view: the same object for all views of one. */
  readonly owner: object;
  /** A saved page stands for the kernel: nothing new can run. */
  readonly isOffline: boolean;
  send(request: Request): void;
  /** Buffers hold a reply's file. */
  onReply(listener: (reply: Reply, buffers: DataView[]) => void): void;
  /** Takes every listener off the model; the signals keep their last values. */
  dispose(): void;
}

/** The traits as the model names them. The picture is not called `figure`: that is a Python method. */
const TRAITS = [
  "scene",
  "map",
  "answer",
  "contrast",
  "past",
  "picture",
  "status",
  "steps",
] as const;

export function connect(model: AnyModel): Kernel {
  const values = {
    scene: signal<Scene | null>(null),
    map: signal<Sweep | null>(null),
    answer: signal<Answer | null>(null),
    contrast: signal<Contrast | null>(null),
    past: signal<Past | null>(null),
    picture: signal<Picture | null>(null),
    status: signal<Status | null>(null),
    steps: signal<Story | null>(null),
  };
  const step = signal<number | null>(null);
  const undo: (() => void)[] = [];

  for (const name of TRAITS) {
    // The event carries no payload: what counts is what the model holds now.
    const read = () => {
      values[name].value = written(model.get(name));
    };
    read();
    model.on(`change:${name}`, read);
    undo.push(() => model.off(`change:${name}`, read));
  }

  const readStep = () => {
    step.value = model.get("step") ?? null;
  };
  readStep();
  model.on("change:step", readStep);
  undo.push(() => model.off("change:step", readStep));

  const listeners: ((reply: Reply, buffers: DataView[]) => void)[] = [];
  const receive = (message: unknown, buffers: DataView[] = []) => {
    if (isReply(message)) for (const listener of listeners) listener(message, buffers);
  };
  model.on("msg:custom", receive);
  undo.push(() => model.off("msg:custom", receive));

  return {
    ...values,
    step,
    // The model itself comes wrapped anew for each view; its layout is the widget's own.
    owner: model.get("layout") ?? model,
    isOffline: model.get("offline") === true,
    send: (request) => model.send(request),
    onReply: (listener) => void listeners.push(listener),
    dispose: () => {
      for (const off of undo.splice(0)) off();
      listeners.length = 0;
    },
  };
}

/** A trait's value, or null while the kernel has written nothing yet (`null` or `{}`). */
function written<T>(value: T | null | undefined): T | null {
  return value && Object.keys(value).length > 0 ? value : null;
}

function isReply(message: unknown): message is Reply {
  return typeof message === "object" && message !== null && "id" in message && "ok" in message;
}
