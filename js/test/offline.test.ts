// A saved page: the map answers, what was saved is exact, and what would have to run says so.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer, makeMap, sceneOf, spainAndItaly } from "../dev/fixtures";
import widget from "../src/index";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import { click, drawn, press, tile } from "./helpers";

let el: HTMLElement;
let close: () => void;
afterEach(() => {
  close?.();
  document.body.innerHTML = "";
});

function open(): OfflineModel {
  const model = new OfflineModel(spainAndItaly() as unknown as SavedTraits);
  el = document.createElement("div");
  document.body.append(el);
  close = widget.render({ model, el, signal: new AbortController().signal } as never);
  return model;
}

const $ = (selector: string) => el.querySelector<HTMLElement>(selector);
const label = () => $(".vene-status")?.dataset.label;

describe("a saved page", () => {
  it("answers a click from its map, as a preview, and asks nobody", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    expect(label()).toBe("preview");
    expect($(".vene-sentence")?.textContent).toContain("after block 1");
    expect($('[data-slot="0"]')).not.toBeNull();
    expect($(".vene-error, [role=alert]")?.textContent ?? "").toBe("");
  });

  it("is exact again at the experiment that was saved", async () => {
    open();
    const saved = $(".vene-sentence")?.textContent;
    click(tile(el, 1, 3));
    await drawn();
    press($(".vene-root") as HTMLElement, "z", { ctrlKey: true });
    await drawn();
    expect(label()).toBe("exact");
    expect($(".vene-sentence")?.textContent).toBe(saved);
  });

  it("refuses a second slot with the reason and keeps what it showed", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    click(tile(el, 4, 4), { shiftKey: true });
    await drawn();
    expect($("[role=alert]")?.textContent).toContain("anything else needs a kernel");
    expect(el.querySelectorAll("[data-slot]")).toHaveLength(1);
    expect(label()).toBe("preview");
  });

  it("shows the base's run when the only slot is skipped", async () => {
    open();
    click(tile(el, 1, 3));
    await drawn();
    press(tile(el, 1, 3), " ");
    await drawn();
    expect(label()).toBe("exact");
    const roles = [...el.querySelectorAll("th[data-role]")].map(
      (th) => (th as HTMLElement).dataset.role,
    );
    expect(roles.filter((role) => role !== "ghost")).toEqual(["base", "source"]);
    expect($(".vene-sentence")?.textContent).toContain("No slot is live");
  });

  it("walks a story that was saved with it", async () => {
    const model = open();
    const scene = sceneOf({ ...spainAndItaly().scene.experiment }, 6, 9, null);
    const { base, sources, experiment, slots } = scene;
    const step = { title: "one", text: "", question: null, choices: [], answer: null };
    const result = { ...makeAnswer(scene), sentence: "told" };
    const told = { ...step, base, sources, experiment, slots, result, map: 0 };
    const other = new OfflineModel({
      ...(spainAndItaly() as unknown as SavedTraits),
      steps: { steps: [told], maps: [makeMap(scene)] } as never,
    });
    other.send({ id: "a", kind: "step", step: 0 });
    other.send({ id: "b", kind: "step", step: 1 });
    const replies: unknown[] = [];
    other.on("msg:custom", (reply) => void replies.push(reply));
    await drawn();
    expect((other.get("answer") as { sentence: string }).sentence).toBe("told");
    expect(other.get("step")).toBe(0);
    expect(replies).toMatchObject([
      { id: "a", ok: true },
      { id: "b", ok: false },
    ]);
    expect(model.get("offline")).toBe(true);
  });
});
