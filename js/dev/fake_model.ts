// An anywidget model without a kernel: traits, listeners that can be counted, messages that are kept.
import type { AnyModel } from "@anywidget/types";
import type { Request } from "../src/kernel/kernel";
import type { Reply } from "../src/kernel/wire";

type Listener = (...values: never[]) => void;

export class FakeModel {
  readonly listeners = new Map<string, Set<Listener>>();
  readonly sent: Request[] = [];
  readonly traits: Record<string, unknown>;
  /** Stands for the kernel: called with every request. */
  answer: (request: Request) => void = () => {};

  constructor(traits: object) {
    this.traits = { ...traits };
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  /** What the kernel does: write traits together, then tell. */
  write(values: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(values)) {
      this.traits[name] = value;
      for (const listener of [...(this.listeners.get(`change:${name}`) ?? [])]) listener();
    }
  }

  /** Resolves when those who wait for the reply have it. */
  async reply(reply: Reply, buffers: DataView[] = []): Promise<void> {
    for (const listener of [...(this.listeners.get("msg:custom") ?? [])]) {
      (listener as (message: unknown, buffers: unknown[]) => void)(reply, buffers);
    }
    for (let n = 0; n < 8; n++) await Promise.resolve();
  }

  on(event: string, listener: Listener): void {
    const set = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, set.add(listener));
  }

  off(event: string, listener: Listener): void {
    this.listeners.get(event)?.delete(listener);
  }

  send(request: Request): void {
    this.sent.push(request);
    this.answer(request);
  }

  set(): never {
    throw new Error("the browser only sends requests");
  }

  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }

  get model(): AnyModel {
    return this as unknown as AnyModel;
  }
}
