// A widget model for a page without a kernel: it answers from what the page holds, and refuses the rest.
import {
  fromScene,
  hasSamePrompts,
  isEdge,
  keyOfRun,
  type Plain,
  positionsOf,
  sourcePositionsOf,
} from "../domain/experiments";
import { nothingLive } from "../domain/format";
import { isSameHeld } from "../domain/held";
import { cellOf, keyOfMap } from "../domain/preview";
import type { Message, Request } from "./kernel";
import type { Answer, Reply, Scene, SlotInfo, Story, Map as Sweep } from "./wire";

type Listener = (...values: unknown[]) => void;

/** What the page holds about some prompts. */
type Held = Pick<Scene, "base" | "sources" | "experiment" | "slots"> & {
  map: Sweep | null;
  answer: Answer | null;
};

/** The widget's traits as a saved page holds them. */
export interface SavedTraits {
  scene: Scene;
  map: Sweep | Record<string, never>;
  answer: Answer | Record<string, never>;
  steps: Story | Record<string, never>;
  [trait: string]: unknown;
}

const NEEDS_KERNEL = "Not available on a saved page: needs a kernel";

export class OfflineModel {
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #traits: SavedTraits;
  readonly #held: Held[];
  /** Exact answers that the page holds, by experiment. */
  readonly #answers = new Map<string, Answer>();

  constructor(traits: SavedTraits) {
    this.#traits = { ...traits, offline: NEEDS_KERNEL };
    const { scene, answer, steps } = traits;
    const [map, exact] = [isMap(traits.map) ? traits.map : null, isAnswer(answer) ? answer : null];
    this.#held = [{ ...scene, map, answer: exact }];
    if (exact) this.#answers.set(keyOfRun(plainOf(scene)), exact);
    for (const step of isStory(steps) ? steps.steps : []) {
      const ofStep = isStory(steps) ? (steps.maps[step.map ?? -1] ?? null) : null;
      this.#held.push({ ...step, map: ofStep, answer: step.result });
      this.#answers.set(keyOfRun(plainOf({ ...scene, ...step })), step.result);
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
      const error = this.refusal(request);
      if (error === null) this.#carryOut(request);
      const reply: Reply = { id: request.id, ok: error === null, error };
      this.#emit("msg:custom", reply, []);
    });
  }

  /** Why the page cannot answer a request; null where it can. */
  refusal(asked: Message): string | null {
    const { map, steps } = this.#traits;
    const isHeld =
      asked.kind === "cancel" ||
      (asked.kind === "experiment" && this.#find(asked.experiment as Plain) !== null) ||
      (asked.kind === "step" && isStory(steps) && asked.step in steps.steps) ||
      (asked.kind === "sweep" && isMap(map) && keyOfMap(map) === keyOfMap(asked));
    return isHeld ? null : NEEDS_KERNEL;
  }

  #carryOut(request: Request): void {
    if (request.kind === "experiment") this.#run(request.experiment as Plain, request.id);
    else if (request.kind === "step") this.#walk(request.step, request.id);
  }

  /** What the page holds about an experiment, and its exact answer if that is part of it. */
  #find(experiment: Plain): { held: Held; answer: Answer | null } | null {
    const held = this.#held.find((one) => hasSameMap(one, experiment));
    if (!held) return null;
    const { scene, map: shown } = this.#traits;
    // Steps of the same prompts and held slots may have other maps than the one on the screen.
    const isShown = hasSameMap(scene, experiment);
    const map = isShown ? (isMap(shown) ? shown : null) : held.map;
    const isIdle = experiment.slots.every((slot) => slot.skip);
    const plain = isIdle && held.answer ? plainAnswer(held.answer, experiment) : null;
    const answer = this.#answers.get(keyOfRun(experiment)) ?? plain;
    return answer || cellOf(experiment, map) ? { held: { ...held, map }, answer } : null;
  }

  #run(experiment: Plain, id: string): void {
    const { held, answer } = this.#find(experiment) ?? {};
    if (!held) return;
    const { base, sources, map } = held;
    const scene = sceneOf({ ...this.#traits.scene, base, sources }, experiment, id);
    const { revision } = scene;
    this.#write({
      scene,
      ...(map !== this.#traits.map && { map: map ? { ...map, revision } : {} }),
      ...(answer && { answer: { ...answer, revision } }),
    });
  }

  #walk(step: number, id: string): void {
    const { steps, scene } = this.#traits;
    const found = isStory(steps) ? steps.steps[step] : undefined;
    if (!found || !isStory(steps)) return;
    const { base, sources, experiment, slots, result } = found;
    const revision = scene.revision + 1;
    const map = steps.maps[found.map ?? -1];
    const isOther = !hasSameMap(scene, plainOf(found));
    this.#write({
      step,
      scene: { ...scene, revision, request: id, base, sources, experiment, slots },
      ...(map ? { map: { ...map, revision } } : isOther && { map: {} }),
      answer: { ...result, revision },
    });
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

function isMap(value: SavedTraits["map"]): value is Sweep {
  return "cells" in value;
}

function isStory(value: SavedTraits["steps"]): value is Story {
  return "steps" in value;
}

/** The runs of the prompts as they are, which every exact answer holds. */
function plainAnswer(answer: Answer, { slots, sources }: Plain): Answer {
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
    scripts: answer.scripts.map(({ face }) => ({ face, text: null, why: NEEDS_KERNEL })),
    sentence: nothingLive(
      slots.length,
      sources.length > 0,
      top?.label ?? "",
      top?.probability ?? 0,
    ),
  };
}

/** Whether one map serves both: the same prompts, and the same held slots. */
function hasSameMap(one: Pick<Scene, "experiment" | "slots">, other: Plain): boolean {
  return hasSamePrompts(one.experiment, other) && isSameHeld(plainOf(one), other);
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
        source_positions: source === null && !isEdge(slot) ? [] : sourcePositionsOf(slot),
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
