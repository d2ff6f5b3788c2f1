// A view on a fake kernel, and the events that a person would cause.

import { FakeModel } from "../dev/fake_model";
import { makeAnswer, makeMap, sceneOf, spainAndItaly, type Traits } from "../dev/fixtures";
import { createApp } from "../src/app/app";
import { createExperiment } from "../src/app/experiment";
import { createAnswer } from "../src/features/answer/state";
import { createCompare } from "../src/features/compare/state";
import { createGestures } from "../src/features/map/gestures";
import { createMap } from "../src/features/map/state";
import { createSweep } from "../src/features/map/sweep";
import { createNotices } from "../src/features/notices/state";
import { createPairing } from "../src/features/prompts/pairing";
import widget from "../src/index";
import { connect } from "../src/kernel/kernel";
import type {
  OrderedExperiment as Experiment,
  PathGrid,
  Scene,
  Map as Sweep,
} from "../src/kernel/wire";

export function start(traits: Partial<Traits> | Record<string, unknown> = {}) {
  const model = new FakeModel({ ...spainAndItaly(), ...traits });
  const kernel = connect(model.model);
  const app = createApp(kernel);
  return {
    ...{ model, kernel, app },
    experiment: app.use(createExperiment),
    notices: app.use(createNotices),
    answers: app.use(createAnswer),
    sweep: app.use(createSweep),
    gestures: app.use(createGestures),
    map: app.use(createMap).map,
    lens: app.use(createMap),
    pairing: app.use(createPairing),
    compare: app.use(createCompare),
  };
}

/** Traits of a screen that holds these slots, with its answer and its map. */
export function traitsOf(slots: NonNullable<Experiment["slots"]>, more: Partial<Experiment> = {}) {
  const scene = sceneOf({ ...spainAndItaly().scene.experiment, slots, ...more }, 6, 2, null);
  return { scene, answer: makeAnswer(scene), map: makeMap(scene) };
}

/** The source's token at the base's Spain, in layers 0, 1 and 2. */
export const threeSlots = [0, 1, 2].map((layer) => ({ layer, position: 3, source: "italy" }));

/** A map of another operator, or of all heads, as the kernel would send it. */
export function mapOf(choice: Partial<Sweep>): Sweep {
  const { scene } = spainAndItaly();
  const { base, sources = [] } = scene.experiment;
  const prompts =
    choice.intervention === "mean" ? [base, ...sources.map(([, prompt]) => prompt)] : [];
  return makeMap(scene, 1, { operator: choice.intervention ?? "patch", prompts, ...choice });
}

/** Patterns of layer 1 with two heads: weight (q, k) of head h is (h + 1) (q + k + 1) / 100. */
export function patternsOf(experiment: Experiment, runs = ["base", "italy", "intervened"]) {
  const numbers = Array.from({ length: 50 }, (_, n) => {
    const [head, query, key] = [Math.floor(n / 25), Math.floor((n % 25) / 5), n % 5];
    return key > query ? 0 : ((head + 1) * (query + key + 1)) / 100;
  });
  return {
    ...{ revision: 2, note: null, experiment, layer: 0, heads: 2 },
    runs: runs.map((name) => ({ name, length: 5, weights: numbers })),
  };
}

/**
 * Paths of six layers of four heads to the logits: head h of layer n adds (n − h) / 10, with norms
 * held half of that; the MLP of layer n adds n, the embedding nothing. The source changes 20.
 */
export function pathsOf(experiment: Experiment, more: Partial<PathGrid> = {}): PathGrid {
  const layers = Array.from({ length: 6 }, (_, n) => n);
  const sender = (layer: number, head: number | null, effect: number) => ({
    ...{ layer, head, effect, frozen: effect / 2 },
  });
  const { targets } = spainAndItaly().map;
  const named = ["␣Rome", "␣Madrid"].map((label) => {
    const token_id = targets.find((one) => one.label === label)?.token_id;
    if (token_id === undefined) throw new Error(`the map has no ${label}`);
    return { token_id, label };
  });
  return {
    ...{ revision: 2, note: null, experiment, source: "italy", targets: named, receiver: null },
    ...{ base_metric: -7, source_metric: 13, frozen_note: null },
    senders: [
      sender(-1, null, 0),
      ...layers.flatMap((n) => [
        ...[0, 1, 2, 3].map((head) => sender(n, head, (n - head) / 10)),
        sender(n, null, n),
      ]),
    ],
    ...more,
  };
}

/** A view of a new widget, or one more of a widget that there is already. */
export function mount(traits: Record<string, unknown> = {}, of?: FakeModel) {
  const model = of ?? new FakeModel({ ...spainAndItaly(), ...traits });
  const el = document.createElement("div");
  document.body.append(el);
  const controller = new AbortController();
  const close = widget.render({ model: model.model, el, signal: controller.signal } as never);
  return { model, el, controller, close };
}

/** What the kernel does with the last request: its scene first, its answer when asked to. */
export function accept(model: FakeModel, revision: number): Scene {
  const request = model.sent.at(-1);
  if (request?.kind !== "experiment") throw new Error("the last request is no experiment");
  const scene = sceneOf(request.experiment as Experiment, 6, revision, request.id);
  model.write({ scene });
  model.reply({ id: request.id, ok: true, error: null });
  return scene;
}

export function answer(model: FakeModel, scene: Scene): void {
  model.write({ answer: makeAnswer(scene) });
}

export function refuse(model: FakeModel, error: string): Promise<void> {
  return model.reply({ id: model.sent.at(-1)?.id ?? "", ok: false, error });
}

export function remap(model: FakeModel, scene: Scene): void {
  model.write({ map: makeMap(scene) });
}

export const drawn = () => new Promise((done) => setTimeout(done, 5));

export function tile(el: Element, layer: number, position: number): HTMLElement {
  const found = el.querySelector<HTMLElement>(
    `[role=gridcell][data-layer="${layer}"][data-position="${position}"]`,
  );
  if (!found) throw new Error(`no tile at layer ${layer}, position ${position}`);
  return found;
}

/** Shows the tokens that both prompts share column by column. */
export async function unfold(el: Element): Promise<void> {
  const header = el.querySelector<HTMLElement>(".vene-map-fold");
  if (!header) throw new Error("no column is folded");
  click(header);
  await drawn();
}

/** Opens one tab of the drawer. */
export async function openTab(el: Element, name: string): Promise<void> {
  const tab = el.querySelector<HTMLElement>(`[data-opens="${name}"]`);
  if (!tab) throw new Error(`no tab ${name}`);
  click(tab);
  await drawn();
}

/** Opens the details of a slot, or closes them when they are open. */
export async function toggleDetails(el: Element, index: number): Promise<void> {
  const button = el.querySelector<HTMLElement>(`[aria-label="More of slot ${index}"]`);
  if (!button) throw new Error(`no slot ${index}`);
  click(button);
  await drawn();
}

export function press(target: Element, key: string, more: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  target.dispatchEvent(event);
  return event;
}

export function click(target: Element, more: MouseEventInit = {}): void {
  target.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, ...more }));
}

export function point(target: Element, type: string, more: PointerEventInit = {}): void {
  target.dispatchEvent(
    new PointerEvent(type, { bubbles: true, cancelable: true, isPrimary: true, ...more }),
  );
}

export async function hover(target: Element): Promise<void> {
  point(target, "pointerover");
  await drawn();
}

/** What tests look for and do in the screen that is mounted at the moment. */
export function within(screen: () => ReturnType<typeof mount>) {
  const $ = (selector: string) => screen().el.querySelector<HTMLElement>(selector);
  const $$ = (selector: string) => [...screen().el.querySelectorAll<HTMLElement>(selector)];
  const named = (name: string) =>
    $(`[aria-label="${name}"]`) as HTMLInputElement & HTMLSelectElement;
  const experiments = () =>
    screen().model.sent.flatMap((request) =>
      request.kind === "experiment" ? [request.experiment] : [],
    );
  const experimentSent = () => {
    const sent = experiments().at(-1);
    if (!sent) throw new Error("no experiment was asked for");
    return sent;
  };
  return {
    $,
    $$,
    named,
    text: (selector: string) => $(selector)?.textContent ?? "",
    at: (layer: number, position: number) => tile(screen().el, layer, position),
    /** The button with this text. */
    button: (text: string) => $$("button").find((b) => b.textContent === text) as HTMLElement,
    /** Chooses in a menu, by its name. */
    choose: async (name: string, value: string) => {
      const select = named(name);
      select.value = value;
      select.dispatchEvent(new Event("change", { bubbles: true }));
      await drawn();
    },
    /** Presses a key, at the screen's root unless elsewhere. */
    key: async (name: string, more: KeyboardEventInit = {}, where?: Element) => {
      const event = press(where ?? ($(".vene-root") as HTMLElement), name, more);
      await drawn();
      return event;
    },
    /** What a screen reader says of a tile. */
    said: (layer: number, position: number) =>
      tile(screen().el, layer, position).getAttribute("aria-label"),
    experiments,
    experimentSent,
    slotsSent: () => experimentSent().slots ?? [],
    /** Layer, position and group of the slots that were asked for last. */
    placesSent: () =>
      experimentSent().slots?.map((slot) => [slot.layer, slot.position, slot.group ?? null]),
    /** The kernel takes the last experiment and answers it. */
    settle: async () => {
      const { model } = screen();
      await drawn();
      answer(model, accept(model, 3 + model.sent.length));
      await drawn();
    },
    /** What is announced of the slots. */
    spoken: () => $("[data-panel=slots] > [aria-live]")?.textContent,
  };
}
