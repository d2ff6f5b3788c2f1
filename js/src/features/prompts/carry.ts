// A source token that is carried to a base token: by the pointer, or by keys.
import { batch, signal } from "@preact/signals";
import type { State } from "../../app/state";
import { pairSlots } from "../../domain/prompts";

export type Carry = ReturnType<typeof createCarry>;

export function createCarry(state: State) {
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
        const at = state.pairing.of(source).indexOf(index);
        const { length } = state.scene.peek()?.base ?? [];
        over.value = at >= 0 ? at : Math.min(index, (length ?? 1) - 1);
      });
    },
    /** Arrows while a token is carried. */
    step(by: number): void {
      const { length } = state.scene.peek()?.base ?? [];
      const next = Math.max(0, Math.min((length ?? 1) - 1, (over.peek() ?? 0) + by));
      over.value = next;
    },
    drop(to: number): void {
      const what = held.peek();
      put();
      if (what) pairTokens(state, what.source, what.index, to);
    },
  };
}

/**
 * A source token now goes into a base token: in the slots that are there, and for the map's column,
 * so that the next click on it copies from that token too.
 */
export function pairTokens(state: State, source: string, from: number, to: number): void {
  const [now, scene] = [state.experiment.peek(), state.scene.peek()];
  const [base, token] = [scene?.base[to], scene?.sources[source]?.[from]];
  if (!now || !base || !token) return;
  const { experiment, indices } = pairSlots(now, source, from, to, state.kinds.peek());
  state.pairing.set(source, from, to);
  repair(state, source);
  state.commit(experiment);
  const names = indices.length === 1 ? `slot ${indices[0]}` : `slots ${indices.join(", ")}`;
  const where = `${from} ${token.label} now goes into ${to} ${base.label}`;
  state.voice.say(
    indices.length > 0
      ? `${where}: in ${names} and in the map’s column ${to}.`
      : `${where} in the map’s column ${to}; no slot is there yet, the next click on it will use that.`,
  );
}

/** The kernel's own pairs again, for clicks to come; slots stay as they are. */
export function unpair(state: State, source: string): void {
  state.pairing.clear(source);
  repair(state, source);
  state.voice.say("The map pairs the tokens as suggested again; the slots stay as they are.");
}

/** Has the map drawn anew when it is of this source. */
function repair(state: State, source: string): void {
  const sweep = state.sweep.peek();
  if (sweep.source === source) state.chooseSweep(sweep);
}
