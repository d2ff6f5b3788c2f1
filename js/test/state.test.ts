import { describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import { setBase } from "../src/domain/experiments";
import { accept, answer, refuse, remap, start } from "./helpers";

const slots = (state: ReturnType<typeof start>["state"]) =>
  state.experiment.value?.slots.map((slot) => [slot.layer, slot.position]);

describe("a click", () => {
  it("is painted from the map before the kernel hears of it, then becomes exact", () => {
    const { model, state } = start();
    let painted: unknown;
    model.answer = () => {
      painted = [state.label.value, state.shown.value?.sentence, slots(state)];
    };
    state.applyTile({ layer: 1, position: 3 }, "replace");
    const cell = state.map.value?.cells.find((c) => c.layer === 1 && c.position === 3);
    expect(painted).toEqual(["preview", cell?.sentence, [[1, 3]]]);
    expect(model.sent).toHaveLength(1);

    const scene = accept(model, 2);
    expect(state.label.value).toBe("preview");
    answer(model, scene);
    expect(state.label.value).toBe("exact");
    expect(state.pending.value).toBeNull();
  });

  it("shows base and source from the last answer and the swap from the cell", () => {
    const { state } = start();
    state.applyTile({ layer: 0, position: 3 }, "replace");
    const shown = state.shown.value;
    const cell = state.map.value?.cells.find((c) => c.layer === 0 && c.position === 3);
    expect(shown?.runs.map((run) => run.role)).toEqual(["base", "source", "intervened"]);
    for (const candidate of cell?.top ?? []) {
      const row = shown?.tokens.find(({ id }) => id === candidate.token_id);
      expect(row?.probabilities[2]).toBe(candidate.probability);
    }
    const before = makeAnswer(spainAndItaly().scene);
    const madrid = before.tokens[0];
    expect(shown?.tokens.find(({ id }) => id === madrid?.token_id)?.probabilities[0]).toBe(
      madrid?.probabilities[0],
    );
    for (const row of shown?.differences ?? []) {
      expect(row.kl).toBeCloseTo(row.after * Math.log(row.after / row.before), 12);
    }
  });

  it("on the tile that is the experiment already asks for nothing", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    answer(model, accept(model, 2));
    state.applyTile({ layer: 1, position: 3 }, "replace");
    expect(model.sent).toHaveLength(1);
  });
});

describe("answers", () => {
  it("of an older revision are never called exact", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    const older = accept(model, 2);
    state.applyTile({ layer: 4, position: 4 }, "replace");
    answer(model, older);
    expect(state.label.value).toBe("preview");
    expect(slots(state)).toEqual([[4, 4]]);
    const newer = accept(model, 3);
    answer(model, older);
    expect(state.label.value).toBe("preview");
    answer(model, newer);
    expect(state.label.value).toBe("exact");
    expect(state.shown.value?.sentence).toBe(makeAnswer(newer).sentence);
  });

  it("that arrive late do not replace newer ones", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    const older = accept(model, 2);
    state.applyTile({ layer: 4, position: 4 }, "replace");
    const newer = accept(model, 3);
    answer(model, newer);
    answer(model, older);
    expect(state.label.value).toBe("exact");
    expect(state.answer.value?.revision).toBe(3);
  });

  it("of several slots are awaited as busy, with the answer before still there", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    answer(model, accept(model, 2));
    state.applyTile({ layer: 2, position: 4 }, "add");
    expect(state.label.value).toBe("busy");
    expect(state.shown.value).not.toBeNull();
  });
});

describe("a refusal", () => {
  it("shows its reason and goes back to the kernel's scene and history", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    answer(model, accept(model, 2));
    const good = state.experiment.value;
    if (good) state.commit(setBase(good, ""));
    expect(state.experiment.value?.base).toBe("");
    refuse(model, "base '' is empty");
    expect(state.experiment.value).toEqual(good);
    expect(state.error.value).toBe("base '' is empty");
    expect(state.label.value).toBe("exact");
    expect(state.history.value.past).toHaveLength(1);
    state.dismiss();
    expect(state.error.value).toBeNull();
  });

  it("of a sweep gives the map's own choice back", () => {
    const { model, state } = start();
    state.chooseSweep({ component: "mlp_output", head: null, source: "italy" });
    expect(state.sweep.value.component).toBe("mlp_output");
    refuse(model, "no");
    expect(state.sweep.value.component).toBe("block_output");
  });

  it("of another view's request is not this view's business", () => {
    const { model, state } = start();
    model.reply({ id: "someone-else", ok: false, error: "theirs" });
    expect(state.error.value).toBeNull();
  });

  it("told by the status can be dismissed, and comes back when it happens again", () => {
    const { model, state } = start();
    const failed = { busy: null, progress: null, error: "The run failed" };
    model.write({ status: failed });
    expect(state.error.value).toBe("The run failed");
    state.dismiss();
    expect(state.error.value).toBeNull();
    model.write({ status: { ...failed, error: null } });
    model.write({ status: failed });
    expect(state.error.value).toBe("The run failed");
  });
});

describe("undo and redo", () => {
  it("walk through the experiments, one request each", () => {
    const { model, state } = start();
    for (const [n, layer] of [1, 2, 3].entries()) {
      state.applyTile({ layer, position: 3 }, "replace");
      answer(model, accept(model, n + 2));
    }
    state.undo();
    answer(model, accept(model, 5));
    state.undo();
    answer(model, accept(model, 6));
    expect(slots(state)).toEqual([[1, 3]]);
    state.redo();
    answer(model, accept(model, 7));
    expect(slots(state)).toEqual([[2, 3]]);
    expect(model.sent).toHaveLength(6);
    state.applyTile({ layer: 5, position: 4 }, "replace");
    expect(state.redo()).toBe(false);
  });

  it("reach back over a change that Python made", () => {
    const { model, state } = start();
    const before = state.experiment.value;
    const experiment = { ...spainAndItaly().scene.experiment, slots: [{ layer: 5, position: 4 }] };
    model.write({ scene: sceneOf(experiment, 6, 2, null) });
    expect(slots(state)).toEqual([[5, 4]]);
    state.undo();
    expect(state.experiment.value).toEqual(before);
  });
});

describe("the map", () => {
  it("of earlier prompts is not shown beside new ones", () => {
    const { model, state } = start();
    const experiment = { ...spainAndItaly().scene.experiment, base: "The capital of France is" };
    const scene = sceneOf(experiment, 6, 2, null);
    expect(state.map.value).not.toBeNull();
    model.write({ scene });
    expect(state.map.value).toBeNull();
    model.write({ map: makeMap(scene) });
    expect(state.map.value).not.toBeNull();
  });

  it("gives no preview of several slots, of other sites, or of unpaired positions", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    expect(state.cell.value).not.toBeNull();
    const now = state.experiment.value;
    if (!now) throw new Error("no experiment");
    for (const change of [
      { component: "mlp_output" },
      { source_position: 4 },
      { skip: true },
      { position: [3, 4] },
    ]) {
      state.commit({ ...now, slots: now.slots.map((slot) => ({ ...slot, ...change })) });
      expect(state.cell.value).toBeNull();
    }
    expect(model.sent).toHaveLength(5);
  });
});

describe("the kernel's messages", () => {
  it("may come in any order: an accepted request whose scene follows is not lost", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    const request = model.sent[0];
    if (request?.kind !== "experiment") throw new Error("no request");
    model.reply({ id: request.id, ok: true, error: null });
    expect(slots(state)).toEqual([[1, 3]]);
    model.write({ scene: sceneOf(request.experiment, 6, 2, request.id) });
    expect(state.pending.value).toBeNull();
    expect(slots(state)).toEqual([[1, 3]]);
  });

  it("may be missing: a saved page still previews single slots", () => {
    const { state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    state.applyTile({ layer: 5, position: 4 }, "replace");
    expect(state.label.value).toBe("preview");
    expect(state.shown.value?.sentence).toContain("block 5");
  });
});

describe("after the model has changed", () => {
  it("nothing older is called exact, nor taken for a preview", () => {
    const { model, state } = start();
    state.applyTile({ layer: 1, position: 3 }, "replace");
    const old = accept(model, 2);
    answer(model, old);
    expect(state.label.value).toBe("exact");

    model.write({ scene: { ...old, revision: 3, request: null, model_since: 3 } });
    expect([state.label.value, state.isMapOld.value]).not.toContain("exact");
    expect(state.isMapOld.value).toBe(true);
    expect(state.cell.value).toBeNull();

    const anew = { ...old, revision: 3, model_since: 3 };
    remap(model, anew);
    answer(model, anew);
    expect([state.label.value, state.isMapOld.value]).toEqual(["exact", false]);
    // What was kept from before does not come back.
    state.applyTile({ layer: 0, position: 3 }, "replace");
    const other = accept(model, 4);
    model.write({ scene: { ...other, model_since: 3 } });
    state.applyTile({ layer: 1, position: 3 }, "replace");
    expect(state.label.value).toBe("exact");
    expect(state.exact.value?.revision).toBe(3);
  });

  it("the kernel's note stands until it is dismissed or another comes", () => {
    const { model, state } = start();
    const status = { busy: null, progress: null, error: null };
    model.write({ status: { ...status, note: "The model has changed (its weights)." } });
    expect(state.note.value).toContain("its weights");
    state.dismissNote();
    expect(state.note.value).toBeNull();
    model.write({ status: { ...status, note: "The model has changed (its modules)." } });
    expect(state.note.value).toContain("its modules");
  });
});
