import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FakeModel } from "../dev/fake_model";
import { makeAnswer, sceneOf, spainAndItaly } from "../dev/fixtures";
import { addPast } from "../dev/past";
import type { Past, RunHistory } from "../src/kernel/wire";
import { mount } from "./helpers";

const views: ReturnType<typeof mount>[] = [];
beforeEach(() => sessionStorage.clear());
afterEach(() => {
  for (const view of views.splice(0)) view.close();
  document.body.innerHTML = "";
});

const base = spainAndItaly().scene.experiment;

/** A screen whose history has the plain base and patches at these layers; one of them is named. */
function traits(layers: number[], experiment = base) {
  const slot = (layer: number) => ({ layer, position: 3, source: "italy", source_position: 3 });
  const scenes = [[], ...layers.map((layer) => [slot(layer)])].map((slots, n) =>
    sceneOf({ ...experiment, slots }, 6, n + 1, null),
  );
  let past: Past | null = null;
  for (const scene of scenes) past = addPast(past, scene, makeAnswer(scene));
  const named = past?.entries.map((entry, n) => ({ ...entry, name: n === 1 ? "mine" : null }));
  const scene = scenes[0];
  if (!scene || !past) throw new Error("no scene");
  return { scene, answer: makeAnswer(scene), past: { ...past, entries: named } };
}

function open(with_: Record<string, unknown>, of?: FakeModel) {
  const view = mount(with_, of);
  views.push(view);
  return view.model;
}

const asked = (model: FakeModel) =>
  model.sent.filter((one): one is RunHistory => one.kind === "history");
function lose(model: FakeModel): void {
  for (const listener of [...(model.listeners.get("comm_live_update") ?? [])]) listener();
}

describe("a history whose kernel is gone", () => {
  it("is asked for again by the next explorer of this model and these prompts, once", async () => {
    const lost = open(traits([1, 4]));
    expect(asked(lost)).toEqual([]);
    lose(lost);
    const next = open(traits([]));
    const [request] = asked(next);
    expect(request?.entries.map(({ name }) => name)).toEqual([null, "mine", null]);
    expect(request?.entries.map(({ experiment }) => experiment.slots?.[0]?.layer)).toEqual([
      ...[undefined, 1, 4],
    ]);
    await next.reply({ id: request?.id ?? "", ok: true, error: null });
    expect(asked(open(traits([])))).toEqual([]);
    expect(asked(next)).toHaveLength(1);
  });

  it("is left alone by other prompts, other models, and a cell that merely runs again", () => {
    const lost = open(traits([1]));
    expect(asked(open(traits([])))).toEqual([]); // its kernel is there
    lose(lost);
    expect(asked(open(traits([], { ...base, base: "The capital of Peru is" })))).toEqual([]);
    const other = traits([]);
    other.scene.model = { ...other.scene.model, name: "another" };
    expect(asked(open(other))).toEqual([]);
    expect(asked(open(traits([])))).toHaveLength(1);
  });

  it("is kept as it was last, and once, however often and in however many views it is lost", () => {
    const lost = open(traits([1]));
    open({}, lost);
    lose(lost);
    lost.write({ past: traits([1, 2]).past });
    lose(lost);
    const kept = JSON.parse(sessionStorage.getItem("vene-history") ?? "[]");
    const counts = kept.map(({ entries }: { entries: unknown[] }) => entries.length);
    expect(counts).toEqual([3]);
  });

  it("is kept for another try when the kernel is gone again", async () => {
    const lost = open(traits([1]));
    lose(lost);
    const next = open(traits([]));
    expect(asked(next)).toHaveLength(1);
    await next.reply({ id: asked(next)[0]?.id ?? "", ok: false, error: "no" });
    expect(asked(open(traits([])))).toHaveLength(1);
  });

  it("is lost where the page has no storage", () => {
    const denied = () => {
      throw new Error("denied");
    };
    vi.stubGlobal("sessionStorage", { getItem: denied, setItem: denied });
    lose(open(traits([1])));
    expect(asked(open(traits([])))).toEqual([]);
    vi.unstubAllGlobals();
  });

  it("is nothing to a saved page", () => {
    lose(open(traits([1])));
    expect(asked(open({ ...traits([]), offline: "no kernel" }))).toEqual([]);
  });
});
