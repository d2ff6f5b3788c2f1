// The only module that speaks to the anywidget model: traits become signals, requests become messages.
import type { AnyModel } from "@anywidget/types";
import { effect, type ReadonlySignal, signal } from "@preact/signals";
import type { Protocol, Reply, Scene, Status } from "./wire";

export type Request = Protocol["request"];

/** A request without its id, which `request` fills in. */
export type Message = Request extends infer R ? (R extends Request ? Omit<R, "id"> : never) : never;

/** A reply that accepts a request, with the bytes of its file. */
export type Accepted = Reply & { buffers: DataView[] };

/** Why a request came to nothing: the kernel refused it, gave no reply in time, or is not there. */
export class RequestFailed extends Error {
  constructor(
    message: string,
    readonly reason: "refused" | "silent" | "gone",
  ) {
    super(message);
  }
}

export interface Kernel {
  readonly scene: ReadonlySignal<Scene | null>;
  readonly status: ReadonlySignal<Status | null>;
  /** Another trait of the widget by its name; null until the kernel has written it. */
  trait<T>(name: string): ReadonlySignal<T | null>;
  /** Stands for the widget in whichever view: the same for all views of one. */
  readonly owner: object;
  /** Why nothing new can run, on a saved page, which stands in for the kernel; else null. */
  readonly offline: string | null;
  /** Why a saved page cannot answer a request; null where it can, and wherever there is a kernel. */
  refusal(message: Message): string | null;
  /** Whether a request has had no reply for `PATIENCE`: the kernel is busy, or gone. */
  readonly isWaiting: ReadonlySignal<boolean>;
  /** Whether a request has had no reply for much longer, and nothing says why. */
  readonly isSilent: ReadonlySignal<boolean>;
  /** Whether the widget has lost its kernel: restarted, stopped, disconnected. */
  readonly isGone: ReadonlySignal<boolean>;
  /** An id for a request, for callers that must know it before it is sent. */
  nextId(): string;
  /** Whether a request is of this view. */
  isOwn(id: string | null): boolean;
  /**
   * Sends a request and resolves when the kernel accepts it.
   *
   * Rejects with `RequestFailed`, whose message can be shown. Without `giveUp` (in milliseconds) it
   * waits for as long as the view lives: a kernel that runs a cell replies when the cell has ended.
   * `isSlow`: its reply takes long, so that waiting for it means nothing.
   */
  request(message: Message, options?: RequestOptions): Promise<Accepted>;
  /** Takes every listener off the model; the signals keep their last values. */
  dispose(): void;
}

export interface RequestOptions {
  id?: string;
  giveUp?: number;
  isSlow?: boolean;
}

/** Milliseconds without a reply after which the screen says that it waits for the kernel. */
export const PATIENCE = 2500;

/** Milliseconds without a reply after which it says that the kernel may be gone. */
const LONG_PATIENCE = 10_000;

interface Waiting {
  accept(reply: Accepted): void;
  fail(error: RequestFailed): void;
  isSlow: boolean;
}

/** What JupyterLab's widget manager has besides. */
interface Host {
  kernel?: { statusChanged?: LuminoSignal<OnStatus>; disposed?: LuminoSignal<() => void> } | null;
}

interface LuminoSignal<Slot> {
  connect?(slot: Slot): void;
  disconnect?(slot: Slot): void;
}

/** What the model of a saved page has besides. */
interface SavedModel {
  refusal?(message: Message): string | null;
}

type OnStatus = (sender: unknown, status: string) => void;

export function connect(model: AnyModel): Kernel {
  const undo: (() => void)[] = [];
  const traits = new Map<string, ReadonlySignal<unknown>>();
  const prefix = Math.random().toString(36).slice(2, 10);
  let count = 0;
  const waiting = new Map<string, Waiting>();
  /** When the oldest request without a reply was sent; null if there is none. */
  const oldest = signal<number | null>(null);
  const isLate = signal(false);
  const isSilent = signal(false);
  const isGone = signal(false);

  function listen(event: string, listener: (...values: never[]) => void): void {
    model.on(event, listener as never);
    undo.push(() => model.off(event, listener as never));
  }

  function trait<T>(name: string): ReadonlySignal<T | null> {
    const known = traits.get(name);
    if (known) return known as ReadonlySignal<T | null>;
    const value = signal<T | null>(null);
    // The event carries no payload: what counts is what the model holds now.
    const read = () => {
      value.value = written<T>(model.get(name));
    };
    read();
    listen(`change:${name}`, () => {
      isGone.value = false;
      read();
    });
    traits.set(name, value);
    return value;
  }

  function nextId(): string {
    return `${prefix}-${++count}`;
  }

  function forget(id: string): void {
    waiting.delete(id);
    const isAny = [...waiting.values()].some(({ isSlow }) => !isSlow);
    if (!isAny) oldest.value = null;
  }

  listen("msg:custom", (message: unknown, buffers: DataView[] = []) => {
    if (!isReply(message)) return;
    isGone.value = false;
    const asked = waiting.get(message.id);
    if (!asked) return;
    forget(message.id);
    if (message.ok) asked.accept({ ...message, buffers });
    else {
      const why = message.error ?? "The kernel refused the request without saying why.";
      asked.fail(new RequestFailed(why, "refused"));
    }
  });

  /** Nothing that waits will have a reply. A message from the kernel still undoes `isGone`. */
  function lose(): void {
    isGone.value = true;
    for (const [id, asked] of [...waiting]) {
      forget(id);
      asked.fail(
        new RequestFailed("The kernel is gone: run the notebook again from its first cell", "gone"),
      );
    }
  }

  function post(request: Request): void {
    try {
      model.send(request);
      if (isGone.value) lose();
    } catch {
      lose(); // the comm is closed, or the host has none
    }
  }

  // Fired by JupyterLab when a kernel restarts, by other hosts also when they have found it again:
  // a reply tells which.
  listen("comm_live_update", () => {
    lose();
    post({ id: nextId(), kind: "tokens", text: " " });
  });

  // No event of the widget follows a shutdown; JupyterLab's kernel object has two. It polls the
  // kernels and the notebooks' sessions apart: whichever it misses first, the kernel is called dead,
  // or is disposed of with its session and never called so.
  const { statusChanged, disposed } = (model.widget_manager as Host | undefined)?.kernel ?? {};
  const onStatus = (_: unknown, status: string) => {
    if (/restarting|terminating|dead/.test(status)) lose();
  };
  statusChanged?.connect?.(onStatus);
  disposed?.connect?.(lose);
  undo.push(() => {
    statusChanged?.disconnect?.(onStatus);
    disposed?.disconnect?.(lose);
  });

  undo.push(
    effect(() => {
      isLate.value = false;
      isSilent.value = false;
      if (oldest.value === null) return;
      const late = setTimeout(() => {
        isLate.value = true;
        // ipywidgets drops messages of a widget that comes from a saved notebook.
        if ((model.get("layout") as { comm_live?: boolean } | null)?.comm_live === false) lose();
      }, PATIENCE);
      const silent = setTimeout(() => {
        isSilent.value = true;
      }, LONG_PATIENCE);
      return () => {
        clearTimeout(late);
        clearTimeout(silent);
      };
    }),
  );

  return {
    scene: trait<Scene>("scene"),
    status: trait<Status>("status"),
    trait,
    owner: ownerOf(model),
    offline: (model.get("offline") as string | undefined) ?? null,
    refusal: (message) => (model as SavedModel).refusal?.(message) ?? null,
    isWaiting: isLate,
    isSilent,
    isGone,
    nextId,
    isOwn: (id) => id?.startsWith(`${prefix}-`) ?? false,
    request(message, { id = nextId(), giveUp, isSlow = false } = {}) {
      const reply = new Promise<Accepted>((accept, fail) => {
        waiting.set(id, { accept, fail, isSlow });
        if (giveUp === undefined) return;
        setTimeout(() => {
          if (!waiting.has(id)) return;
          forget(id);
          fail(new RequestFailed("The kernel does not answer", "silent"));
        }, giveUp);
      });
      if (!isSlow) oldest.value ??= Date.now();
      post({ ...message, id } as Request);
      return reply;
    },
    dispose: () => {
      for (const off of undo.splice(0)) off();
      waiting.clear();
      oldest.value = null;
    },
  };
}

/**
 * What all views of one widget share. The model itself comes wrapped anew for each view; its layout
 * is the widget's own, where the host has one: it may also give a string, or nothing.
 */
function ownerOf(model: AnyModel): object {
  const layout: unknown = model.get("layout");
  return typeof layout === "object" && layout !== null ? layout : model;
}

/** A trait's value, or null while the kernel has written nothing yet (`null` or `{}`). */
function written<T>(value: T | null | undefined): T | null {
  if (value === null || value === undefined) return null;
  return typeof value === "object" && Object.keys(value).length === 0 ? null : value;
}

function isReply(message: unknown): message is Reply {
  return typeof message === "object" && message !== null && "id" in message && "ok" in message;
}
