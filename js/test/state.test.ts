import { describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import { setBase } from "../src/domain/experiments";
import { accept, answer, refuse, remap, start } from "./helpers";

const slots = ({ experiment }: Pick<ReturnType<typeof start>, "experiment">) =>
  experiment.now.value?.slots.map((slot) => [slot.layer, slot.position]);

describe("a click", () => {
  it("is painted from the map before the kernel hears of it, then becomes exact", () => {
    const { model, answers, experiment, gestures, map } = start();
    let painted: unknown;
    model.answer = () => {
      painted = [answers.label.value, answers.shown.value?.sentence, slots({ experiment })];
    };
    gestures.apply({ row: 1, column: 3 }, "replace");
    const cell = map.value?.cells.find((c) => c.layer === 1 && c.position === 3);
    expect(painted).toEqual(["preview", cell?.sentence, [[1, 3]]]);
    expect(model.sent).toHaveLength(1);

    const scene = accept(model, 2);
    expect(answers.label.value).toBe("preview");
    answer(model, scene);
    expect(answers.label.value).toBe("exact");
    expect(experiment.pending.value).toBeNull();
  });

  it("shows base and source from the last answer and the swap from the cell", () => {
    const { answers, gestures, map } = start();
    gestures.apply({ row: 0, column: 3 }, "replace");
    const shown = answers.shown.value;
    const cell = map.value?.cells.find((c) => c.layer === 0 && c.position === 3);
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
    const { model, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    answer(model, accept(model, 2));
    gestures.apply({ row: 1, column: 3 }, "replace");
    expect(model.sent).toHaveLength(1);
  });
});

describe("answers", () => {
  it("of an older revision are never called exact", () => {
    const { model, answers, gestures, experiment } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    const older = accept(model, 2);
    gestures.apply({ row: 4, column: 4 }, "replace");
    answer(model, older);
    expect(answers.label.value).toBe("preview");
    expect(slots({ experiment })).toEqual([[4, 4]]);
    const newer = accept(model, 3);
    answer(model, older);
    expect(answers.label.value).toBe("preview");
    answer(model, newer);
    expect(answers.label.value).toBe("exact");
    expect(answers.shown.value?.sentence).toBe(makeAnswer(newer).sentence);
  });

  it("that arrive late do not replace newer ones", () => {
    const { model, answers, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    const older = accept(model, 2);
    gestures.apply({ row: 4, column: 4 }, "replace");
    const newer = accept(model, 3);
    answer(model, newer);
    answer(model, older);
    expect(answers.label.value).toBe("exact");
    expect(answers.newest.value?.revision).toBe(3);
  });

  it("of several slots are awaited as busy, with the answer before still there", () => {
    const { model, answers, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    answer(model, accept(model, 2));
    gestures.apply({ row: 2, column: 4 }, "add");
    expect(answers.label.value).toBe("busy");
    expect(answers.shown.value).not.toBeNull();
  });
});

describe("a refusal", () => {
  it("shows its reason and goes back to the kernel's scene and history", async () => {
    const { model, answers, experiment, gestures, notices } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    answer(model, accept(model, 2));
    const good = experiment.now.value;
    if (good) experiment.commit(setBase(good, ""));
    expect(experiment.now.value?.base).toBe("");
    await refuse(model, "base '' is empty");
    expect(experiment.now.value).toEqual(good);
    expect(notices.error.value).toBe("base '' is empty");
    expect(answers.label.value).toBe("exact");
    expect(experiment.undoList.value.past).toHaveLength(1);
    notices.dismiss();
    expect(notices.error.value).toBeNull();
  });

  it("of a sweep gives the map's own choice back", async () => {
    const { model, sweep } = start();
    sweep.choose({ ...sweep.choice.value, component: "mlp_output" });
    expect(sweep.choice.value.component).toBe("mlp_output");
    await refuse(model, "no");
    expect(sweep.choice.value.component).toBe("block_output");
  });

  it("of another view's request is not this view's business", async () => {
    const { model, notices } = start();
    await model.reply({ id: "someone-else", ok: false, error: "theirs" });
    expect(notices.error.value).toBeNull();
  });

  it("told by the status can be dismissed, and comes back when it happens again", () => {
    const { model, notices } = start();
    const failed = { busy: null, progress: null, error: "The run failed" };
    model.write({ status: failed });
    expect(notices.error.value).toBe("The run failed");
    notices.dismiss();
    expect(notices.error.value).toBeNull();
    model.write({ status: { ...failed, error: null } });
    model.write({ status: failed });
    expect(notices.error.value).toBe("The run failed");
  });
});

describe("undo and redo", () => {
  it("walk through the experiments, one request each", () => {
    const { model, experiment, gestures } = start();
    for (const [n, row] of [1, 2, 3].entries()) {
      gestures.apply({ row, column: 3 }, "replace");
      answer(model, accept(model, n + 2));
    }
    experiment.undo();
    answer(model, accept(model, 5));
    experiment.undo();
    answer(model, accept(model, 6));
    expect(slots({ experiment })).toEqual([[1, 3]]);
    experiment.redo();
    answer(model, accept(model, 7));
    expect(slots({ experiment })).toEqual([[2, 3]]);
    expect(model.sent).toHaveLength(6);
    gestures.apply({ row: 5, column: 4 }, "replace");
    expect(experiment.redo()).toBe(false);
  });

  it("reach back over a change that Python made", () => {
    const { model, experiment } = start();
    const before = experiment.now.value;
    const other = { ...spainAndItaly().scene.experiment, slots: [{ layer: 5, position: 4 }] };
    model.write({ scene: sceneOf(other, 6, 2, null) });
    expect(slots({ experiment })).toEqual([[5, 4]]);
    experiment.undo();
    expect(experiment.now.value).toEqual(before);
  });
});

describe("the map", () => {
  it("of earlier prompts is not shown beside new ones", () => {
    const { model, map } = start();
    const experiment = { ...spainAndItaly().scene.experiment, base: "The capital of France is" };
    const scene = sceneOf(experiment, 6, 2, null);
    expect(map.value).not.toBeNull();
    model.write({ scene });
    expect(map.value).toBeNull();
    model.write({ map: makeMap(scene) });
    expect(map.value).not.toBeNull();
  });

  it("gives no preview of several slots, of other sites, or of unpaired positions", () => {
    const { model, answers, experiment, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    expect(answers.cell.value).not.toBeNull();
    const now = experiment.now.value;
    if (!now) throw new Error("no experiment");
    for (const change of [
      { component: "mlp_output" },
      { source_position: 4 },
      { skip: true },
      { position: [3, 4] },
    ]) {
      experiment.commit({ ...now, slots: now.slots.map((slot) => ({ ...slot, ...change })) });
      expect(answers.cell.value).toBeNull();
    }
    expect(model.sent).toHaveLength(5);
  });
});

describe("the kernel's messages", () => {
  it("may come in any order: an accepted request whose scene follows is not lost", async () => {
    const { model, experiment, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    const request = model.sent[0];
    if (request?.kind !== "experiment") throw new Error("no request");
    await model.reply({ id: request.id, ok: true, error: null });
    expect(slots({ experiment })).toEqual([[1, 3]]);
    model.write({ scene: sceneOf(request.experiment, 6, 2, request.id) });
    expect(experiment.pending.value).toBeNull();
    expect(slots({ experiment })).toEqual([[1, 3]]);
  });

  it("may be missing: a saved page still previews single slots", () => {
    const { answers, gestures } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    gestures.apply({ row: 5, column: 4 }, "replace");
    expect(answers.label.value).toBe("preview");
    expect(answers.shown.value?.sentence).toContain("block 5");
  });
});

describe("after the model has changed", () => {
  it("nothing older is called exact, nor taken for a preview", () => {
    const { model, answers, gestures, sweep } = start();
    gestures.apply({ row: 1, column: 3 }, "replace");
    const old = accept(model, 2);
    answer(model, old);
    expect(answers.label.value).toBe("exact");

    model.write({ scene: { ...old, revision: 3, request: null, model_since: 3 } });
    expect([answers.label.value, sweep.isOld.value]).not.toContain("exact");
    expect(sweep.isOld.value).toBe(true);
    expect(answers.cell.value).toBeNull();

    const anew = { ...old, revision: 3, model_since: 3 };
    remap(model, anew);
    answer(model, anew);
    expect([answers.label.value, sweep.isOld.value]).toEqual(["exact", false]);
    // What was kept from before does not come back.
    gestures.apply({ row: 0, column: 3 }, "replace");
    const other = accept(model, 4);
    model.write({ scene: { ...other, model_since: 3 } });
    gestures.apply({ row: 1, column: 3 }, "replace");
    expect(answers.label.value).toBe("exact");
    expect(answers.exact.value?.revision).toBe(3);
  });

  it("the kernel's note stands until it is dismissed or another comes", () => {
    const { model, notices } = start();
    const status = { busy: null, progress: null, error: null };
    model.write({ status: { ...status, note: "The model has changed (its weights)." } });
    expect(notices.note.value).toContain("its weights");
    notices.dismissNote();
    expect(notices.note.value).toBeNull();
    model.write({ status: { ...status, note: "The model has changed (its modules)." } });
    expect(notices.note.value).toContain("its modules");
  });
});
