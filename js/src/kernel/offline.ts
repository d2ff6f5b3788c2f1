// A widget model for a page without a kernel: it answers from what the page holds, and refuses the rest.
import {
  fromScene,
  keyOf,
  type Plain,
  positionsOf,
  sourcePositionsOf,
} from "../domain/experiments";
import { cellOf, keyOfMap } from "../domain/preview";
import type { Request } from "./kernel";
import type { Answer, Reply, Scene, SlotInfo, Story, Map as Sweep } from "./wire";

type Listener = (...values: unknown[]) => void;

/** The widget's traits as a saved page holds them. */
export interface SavedTraits {
  scene: Scene;
  map: Sweep | Record<string, never>;
  answer: Answer | Record<string, never>;
  steps: Story | Record<string, never>;
  [trait: string]: unknown;
}

const NEEDS_KERNEL = "this page runs without one. Open it in a notebook with vw.from_state(…).";

export class OfflineModel {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #traits: SavedTraits;
  /** Exact answers that the page holds, by experiment. */
  readonly #answers = new Map<string, Answer>();

  constructor(traits: SavedTraits) {
    this.#traits = { ...traits, offline: true };
    const { scene, answer, steps } = traits;
    if (isAnswer(answer)) this.#answers.set(keyOf(plainOf(scene)), answer);
    for (const step of isStory(steps) ? steps.steps : []) {
      this.#answers.set(keyOf(plainOf({ ...scene, ...step })), step.result);
    }
  }

  get(name: string): unknown {
    return this.#traits[name];
  }

  on(event: string, listener: Listener): void {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(listener));
  }

  off(event: string, listener: Listener): void {
    this.#listeners.get(event)?.delete(listener);
  }

  /** Answered a moment later, as a kernel would: the screen paints first. */
  send(request: Request): void {
    queueMicrotask(() => {
      const error = this.#handle(request);
      const reply: Reply = { id: request.id, ok: error === null, error };
      this.#emit("msg:custom", reply, []);
    });
  }

  /** Carries out a request; gives the reason where it cannot. */
  #handle(request: Request): string | null {
    switch (request.kind) {
      case "experiment":
        return this.#run(request.experiment as Plain, request.id);
      case "step":
        return this.#walk(request.step, request.id);
      case "sweep": {
        const map = this.#traits.map as Partial<Sweep>;
        return "cells" in map && keyOfMap(map as Sweep) === keyOfMap(request)
          ? null
          : `Another map needs a kernel, and ${NEEDS_KERNEL}`;
      }
      case "cancel":
        return null;
      case "figure":
        return `Another figure needs a kernel, and ${NEEDS_KERNEL}`;
      case "compare":
        return `A verdict needs both sides to run, and ${NEEDS_KERNEL}`;
      default:
        return `This needs a kernel, and ${NEEDS_KERNEL}`;
    }
  }

  #run(experiment: Plain, id: string): string | null {
    const known = this.#answers.get(keyOf(experiment));
    const map = this.#traits.map as Sweep | Record<string, never>;
    const isSwept = "cells" in map && cellOf(experiment, map as Sweep) !== null;
    const isIdle = experiment.slots.every((slot) => slot.skip) && this.#hasPrompts(experiment);
    if (!known && !isSwept && !isIdle) {
      return `This page holds the answers of single slots of its map and of the experiments that were saved with it; anything else needs a kernel, and ${NEEDS_KERNEL}`;
    }
    const scene = sceneOf(this.#traits.scene, experiment, id);
    const answer = known ?? (isIdle ? plainAnswer(this.#traits.answer) : null);
    this.#write({ scene, ...(answer && { answer: { ...answer, revision: scene.revision } }) });
    return null;
  }

  #walk(step: number, id: string): string | null {
    const { steps, scene } = this.#traits;
    const found = isStory(steps) ? steps.steps[step] : undefined;
    if (!found || !isStory(steps)) return `The story has no step ${step}.`;
    const { base, sources, experiment, slots, result } = found;
    const revision = scene.revision + 1;
    const map = steps.maps[found.map ?? -1];
    this.#write({
      step,
      scene: { ...scene, revision, request: id, base, sources, experiment, slots },
      ...(map && { map: { ...map, revision } }),
      answer: { ...result, revision },
    });
    return null;
  }

  #hasPrompts({ base, sources }: Plain): boolean {
    const { experiment } = this.#traits.scene;
    return (
      base === experiment.base &&
      JSON.stringify(sources) === JSON.stringify(experiment.sources ?? [])
    );
  }

  #write(values: Record<string, unknown>): void {
    Object.assign(this.#traits, values);
    for (const name of Object.keys(values)) this.#emit(`change:${name}`);
  }

  #emit(event: string, ...values: unknown[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...values);
  }
}

function isAnswer(value: SavedTraits["answer"]): value is Answer {
  return "runs" in value;
}

function isStory(value: SavedTraits["steps"]): value is Story {
  return "steps" in value;
}

/** The runs of the prompts as they are, which every exact answer holds. */
function plainAnswer(answer: SavedTraits["answer"]): Answer | null {
  if (!isAnswer(answer)) return null;
  const columns = answer.runs.flatMap(({ role }, n) =>
    role === "base" || role === "source" ? [n] : [],
  );
  const [top] = answer.runs[0]?.top ?? [];
  return {
    ...answer,
    runs: columns.flatMap((n) => answer.runs[n] ?? []),
    tokens: answer.tokens.map((row) => ({
      ...row,
      probabilities: columns.map((n) => row.probabilities[n] ?? 0),
    })),
    differences: [],
    verdicts: [],
    receipts: [],
    scripts: [],
    sentence: `No slot is live: the base’s answer is “${top?.label ?? ""}”.`,
  };
}

function plainOf(scene: Pick<Scene, "experiment" | "slots">): Plain {
  return fromScene(scene as Scene);
}

/** The scene as the kernel would write it for an experiment of the same prompts. */
function sceneOf(before: Scene, experiment: Plain, request: string): Scene {
  return {
    ...before,
    revision: before.revision + 1,
    request,
    experiment,
    slots: experiment.slots.map((slot, index): SlotInfo => {
      const { layer, component, head, source, intervention, strength } = slot;
      const { subspace, partition, rank, link, group, skip } = slot;
      const same = before.slots.find((other) => other.component === component);
      return {
        index,
        layer,
        component,
        head,
        source,
        base_positions: positionsOf(slot),
        source_positions: source === null ? [] : sourcePositionsOf(slot),
        target: null,
        intervention,
        strength,
        subspace,
        dims: null,
        coordinates: same?.coordinates ?? 0,
        partition,
        rank,
        link,
        group,
        skip,
      };
    }),
  };
}
