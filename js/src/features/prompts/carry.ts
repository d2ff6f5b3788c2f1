// A source token that is carried to a base token: by the pointer, or by keys.

import { batch, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { pairSlots } from "../../domain/prompts";
import { tokensOf } from "../../domain/sources";
import { createVoice } from "../../ui/voice";
import { createSweep } from "../map/sweep";
import { createStory } from "../story/state";
import { createPairing } from "./pairing";

export type Carry = ReturnType<typeof createCarry>;

export function createCarry(app: App) {
  /** The token that is carried, and the base token under it. */
  const held = signal<{ source: string; index: number; label: string } | null>(null);
  const over = signal<number | null>(null);
  let byKeys = false;

  function put(): void {
    batch(() => {
      held.value = null;
      over.value = null;
    });
  }

  return {
    held,
    over,
    put,
    /** Whether the focus goes along, as it does for a token that is not dragged. */
    isByKeys: () => byKeys,
    pick(source: string, index: number, label: string, goesAlong: boolean): void {
      byKeys = goesAlong;
      batch(() => {
        held.value = { source, index, label };
        const at = app.use(createPairing).of(source).indexOf(index);
        const { length } = app.use(createStory).scene.peek()?.base ?? [];
        over.value = at >= 0 ? at : Math.min(index, (length ?? 1) - 1);
      });
    },
    /** Arrows while a token is carried. */
    step(by: number): void {
      const { length } = app.use(createStory).scene.peek()?.base ?? [];
      const next = Math.max(0, Math.min((length ?? 1) - 1, (over.peek() ?? 0) + by));
      over.value = next;
    },
    drop(to: number): void {
      const what = held.peek();
      put();
      if (what) pairTokens(app, what.source, what.index, to);
    },
  };
}

/**
 * A source token now goes into a base token: in the slots that are there, and for the map's column,
 * so that the next click on it copies from that token too.
 */
export function pairTokens(app: App, source: string, from: number, to: number): void {
  const { now: experimentNow, kinds, commit } = app.use(createExperiment);
  const [now, scene] = [experimentNow.peek(), app.use(createStory).scene.peek()];
  const [base, token] = [scene?.base[to], tokensOf(scene?.sources ?? [], source)?.[from]];
  if (!now || !base || !token) return;
  const { experiment, indices } = pairSlots(now, source, from, to, kinds.peek());
  app.use(createPairing).set(source, from, to);
  repair(app, source);
  commit(experiment);
  const names = indices.length === 1 ? `slot ${indices[0]}` : `slots ${indices.join(", ")}`;
  const where = `${from} ${token.label} now goes into ${to} ${base.label}`;
  app
    .use(createVoice)
    .say(
      indices.length > 0
        ? `${where}: in ${names} and in the map’s column ${to}.`
        : `${where} in the map’s column ${to}; no slot is there yet, the next click on it will use that.`,
    );
}

/** The kernel's own pairs again, for clicks to come; slots stay as they are. */
export function unpair(app: App, source: string): void {
  app.use(createPairing).clear(source);
  repair(app, source);
  app.use(createVoice).say("The map pairs as suggested again; slots stay as they are.");
}

/** Fills the map anew when it is of this source. */
function repair(app: App, source: string): void {
  const { choice, choose } = app.use(createSweep);
  if (choice.peek().source === source) choose(choice.peek());
}
