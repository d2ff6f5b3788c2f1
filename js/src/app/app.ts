// One view: its kernel, and the states of its features, each made when it is first asked for.
import { effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import type { Kernel } from "../kernel/kernel";
import type { Theme } from "../ui/theme";

/** Makes a feature's state. A function of a module, so that it also names the state. */
export type Create<T> = (app: App) => T;

export interface App {
  readonly kernel: Kernel;
  /** Light or dark, as the page around the view is. */
  readonly theme: ReadonlySignal<Theme>;
  /** A feature's state: the same for all callers in this view. */
  use<T>(create: Create<T>): T;
  /** As `effect` of signals, until the view closes. */
  effect(run: () => undefined | (() => void)): void;
  onClose(close: () => void): void;
  close(): void;
}

export function createApp(
  kernel: Kernel,
  theme: ReadonlySignal<Theme> = signal<Theme>("light"),
): App {
  const states = new Map<Create<unknown>, unknown>();
  const making = new Set<Create<unknown>>();
  const closing: (() => void)[] = [];
  const app: App = {
    kernel,
    theme,
    use<T>(create: Create<T>): T {
      if (states.has(create)) return states.get(create) as T;
      if (making.has(create)) throw new Error(`${create.name} needs itself`);
      making.add(create);
      // Made while a view is drawn: what it reads meanwhile is not what that view depends on.
      const state = untracked(() => create(app));
      making.delete(create);
      states.set(create, state);
      return state;
    },
    effect: (run) => void closing.push(effect(run)),
    onClose: (close) => void closing.push(close),
    close: () => {
      for (const close of closing.splice(0).reverse()) close();
      kernel.dispose();
    },
  };
  return app;
}
