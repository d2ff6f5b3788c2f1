// Mounts the screen on a fake model: ?state=…&layers=…&tokens=…&theme=dark&width=… (see STATES).
import widget from "../src/index";
import type { Request } from "../src/kernel/kernel";
import type { Figure, Past, Scene, Map as Sweep } from "../src/kernel/wire";
import { FakeModel } from "./fake_model";
import {
  aStory,
  ITALY,
  makeAnswer,
  makeMap,
  makeScene,
  SPAIN,
  sceneOf,
  spainAndItaly,
  tokens as splitTokens,
} from "./fixtures";
import { addPast, makeContrast } from "./past";

const query = new URLSearchParams(location.search);
const layers = Number(query.get("layers") ?? 6);
const tokens = Number(query.get("tokens") ?? 5);
const state = query.get("state") ?? "grouped";
const delay = Number(query.get("delay") ?? 60);

if (query.get("theme") === "dark") {
  document.body.dataset.jpThemeLight = "false";
  const jp = {
    "--jp-layout-color0": "#111111",
    "--jp-layout-color1": "#212121",
    "--jp-layout-color2": "#424242",
    "--jp-border-color1": "#616161",
    "--jp-border-color2": "#424242",
  };
  for (const [name, value] of Object.entries(jp))
    document.documentElement.style.setProperty(name, value);
} else if (query.get("theme") !== "plain") {
  const jp = {
    "--jp-layout-color0": "white",
    "--jp-layout-color1": "white",
    "--jp-layout-color2": "#eeeeee",
    "--jp-border-color1": "#bdbdbd",
    "--jp-border-color2": "#e0e0e0",
  };
  for (const [name, value] of Object.entries(jp))
    document.documentElement.style.setProperty(name, value);
}
const cell = document.getElementById("cell") as HTMLElement;
if (query.get("width")) cell.style.width = `${query.get("width")}px`;

const filler =
  "In a quiet town by the sea where every child learns the names of rivers and mountains the old teacher asked us one more time before the bell rang to write down that "
    .repeat(3)
    .trim()
    .split(" ");
const before = tokens > 5 ? `${filler.slice(0, tokens - 5).join(" ")} ` : "";
const long = (prompt: string) => before + (before ? prompt.replace("The", "the") : prompt);

const slot = (layer: number, position: number, more: object = {}) => ({
  layer,
  position,
  component: "block_output",
  head: null,
  source: "italy",
  source_position: position,
  intervention: "vanilla",
  group: null,
  skip: false,
  ...more,
});
const base = makeScene(long(SPAIN), { italy: long(ITALY) }, layers);
const last = base.base.length - 1;
const slots: Record<string, ReturnType<typeof slot>[]> = {
  grouped: [slot(0, last - 1, { group: "A" }), slot(2, last, { group: "A" })],
  single: [slot(1, last - 1)],
  many: [
    slot(0, last - 1, { group: "A" }),
    slot(2, last, { group: "A" }),
    slot(1, 0, { skip: false }),
    slot(3, last, { component: "head_value_output", head: 2, group: "B", skip: true }),
  ],
};
const experiment = { ...base.experiment, slots: slots[state] ?? slots.single ?? [] };

let revision = 1;
let scene: Scene = sceneOf(
  state === "empty" ? base.experiment : experiment,
  layers,
  revision,
  null,
);
const model = new FakeModel({
  ...spainAndItaly(layers),
  scene,
  map: makeMap(scene, state === "filling" ? 0.55 : 1),
  answer: makeAnswer(scene),
});

if (state === "start") Object.assign(model.traits, { scene: {}, map: {}, answer: {}, status: {} });
if (state === "alone") {
  scene = makeScene(SPAIN, {}, layers);
  Object.assign(model.traits, {
    scene,
    map: makeMap(scene, 1, { intervention: "zero", operator: "zero" }),
    answer: { ...makeAnswer(scene), runs: makeAnswer(scene).runs.slice(0, 1) },
  });
}
if (state === "busy" || state === "filling") {
  model.traits.status = { busy: state === "busy" ? "run" : null, progress: 0.55, error: null };
  if (state === "busy") {
    model.traits.answer = makeAnswer(scene);
    model.traits.scene = sceneOf(
      { ...experiment, slots: slots.grouped ?? [] },
      layers,
      ++revision,
      null,
    );
  }
}
if (state === "story") Object.assign(model.traits, { steps: aStory(), step: 0 });
if (state === "error") {
  model.traits.status = {
    busy: null,
    progress: null,
    error:
      "slots[0].position 7 is out of range: the base prompt has 5 tokens, 0 to 4 (or -5 to -1 from the end). Tokens: 0 'The', 1 ' capital', 2 ' of', 3 ' Spain', 4 ' is'.",
  };
}
draw("result");

let past: Past | null = null;
for (const [n, name] of ["empty", "single", "many", "grouped"].entries()) {
  if (state !== "grouped" && state !== name) continue;
  const then = sceneOf({ ...experiment, slots: slots[name] ?? [] }, layers, n, null);
  past = addPast(past, then, makeAnswer(then));
}
model.write({ past: past ?? {} });

model.answer = (asked: Request) => {
  setTimeout(() => {
    let request = asked;
    if (request.kind === "step") {
      const { experiment } = aStory().steps[request.step] ?? scene;
      model.write({ step: request.step });
      request = { id: request.id, kind: "experiment", experiment };
    }
    if (request.kind === "experiment") {
      const bad =
        request.experiment.slots?.some((s) => s.layer >= layers) || request.experiment.base === "";
      if (bad)
        return model.reply({
          id: request.id,
          ok: false,
          error: "base '' is empty; a prompt of at least one token is needed",
        });
      const changed = request.experiment.base !== scene.experiment.base;
      scene = sceneOf(request.experiment, layers, ++revision, request.id);
      model.write({ scene, status: { busy: "run", progress: null, error: null } });
      model.reply({ id: request.id, ok: true, error: null });
      const now = scene;
      setTimeout(() => {
        if (changed) model.write({ map: makeMap(now) });
        past = addPast(past, now, makeAnswer(now));
        model.write({
          past,
          answer: makeAnswer(now),
          status: { busy: null, progress: null, error: null },
        });
        setTimeout(() => draw("result"), 200);
      }, delay);
    } else if (request.kind === "tokens") {
      const split = splitTokens(request.text);
      const error = split.length ? null : "prompt '' has no tokens; at least one is needed.";
      model.reply({ id: request.id, ok: error === null, error, tokens: error ? null : split });
    } else {
      model.reply({ id: request.id, ok: true, error: null });
      if (request.kind === "sweep") {
        const { component, head = null, layer = null, source = null, intervention } = request;
        const prompts = intervention === "mean" ? [scene.experiment.base] : [];
        const operator = intervention === "vanilla" ? "patch" : intervention;
        const choice = { component, head, layer, source, intervention, operator, prompts };
        model.write({ map: makeMap(scene, 1, choice as Partial<Sweep>) });
      }
      if (request.kind === "name") {
        const entries = (past?.entries ?? []).map((entry) =>
          entry.number === request.number ? { ...entry, name: request.name ?? null } : entry,
        );
        past = { entries, current: past?.current ?? null };
        model.write({ past });
      }
      if (request.kind === "compare") {
        const answerOf = (side: typeof request.left) =>
          makeAnswer(sceneOf(side.experiment, layers, 0, null));
        const [left, right] = [request.left, request.right];
        const contrast = makeContrast(
          request.id,
          { ...left, answer: answerOf(left) },
          { ...right, answer: answerOf(right) },
        );
        setTimeout(() => model.write({ contrast }), 10 * delay);
      }
      if (request.kind === "figure") draw(request.figure);
    }
  }, delay);
};

/** A stand-in for plotnine's picture. */
function draw(kind: Figure["kind"]) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [960, 360];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, 960, 360);
  context.fillStyle = "#3d7fb5";
  for (let i = 0; i < 10; i++)
    context.fillRect(60 + 85 * i, 300 - 20 * ((i * 7) % 11), 60, 20 * ((i * 7) % 11));
  context.fillStyle = "#333333";
  context.font = "18px sans-serif";
  context.fillText(`${kind} (stand-in)`, 24, 32);
  canvas.toBlob(async (blob) => {
    if (!blob) return;
    const png = new DataView(await blob.arrayBuffer());
    model.write({
      picture: {
        revision,
        kind,
        style: "light",
        name: `${kind}_${revision}`,
        alt: "Stand-in for a plotnine figure",
        width: 960,
        height: 360,
        png,
      },
    });
  });
}

Object.assign(window, { model });
const close = widget.render({
  model: model.model,
  el: cell,
  signal: new AbortController().signal,
} as never);
Object.assign(window, { close });
