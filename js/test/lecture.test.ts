// Lecture mode: what is covered, revealed and heard.
import { afterEach, describe, expect, it } from "vitest";
import { makeAnswer } from "../dev/fixtures";
import { accept, answer, click, drawn, mount, tile, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, button, key, said } = within(() => screen);
const root = () => $(".vene-root") as HTMLElement;
/** A screen in lecture mode, a tile clicked and answered. */
async function lecture(layer = 1, position = 3): Promise<void> {
  screen = mount();
  await key("f");
  click(tile(screen.el, layer, position));
  answer(screen.model, accept(screen.model, 2));
  await drawn();
}

describe("lecture mode", () => {
  it("has map, sentence and tokens, and folds the rest", async () => {
    screen = mount();
    await key("f");
    await key(" ");
    expect(root().classList).toContain("vene-lecture");
    const panels = [...screen.el.querySelectorAll<HTMLElement>("[data-panel]")].map(
      ({ dataset }) => dataset.panel,
    );
    expect(panels).toEqual(["map", "answer"]);
    expect(screen.el.querySelectorAll(".vene-three-bar")).toHaveLength(3);
    expect($(".vene-sentence")).not.toBeNull();
    expect(document.activeElement).toBe(root());
    await key("Escape");
    expect(root().classList).not.toContain("vene-lecture");
    expect($(".vene-panel-slots")).not.toBeNull();
  });

  it("opens no panel that it folds, and Escape closes the list of keys first", async () => {
    screen = mount();
    await key("f");
    expect((await key("c")).defaultPrevented).toBe(false);
    await key("?");
    await key("Escape");
    expect($(".vene-help")).toBeNull();
    expect(root().classList).toContain("vene-lecture");
    await key("Escape");
    expect($(".vene-compare")).toBeNull();
  });

  it("is entered and left by button, and never told to the kernel", async () => {
    screen = mount();
    click(button("Lecture"));
    await drawn();
    click(button("Leave"));
    await drawn();
    expect($(".vene-panel-slots")).not.toBeNull();
    expect(screen.model.sent).toHaveLength(0);
  });

  it("covers the answer until Space: nothing of it is on the page", async () => {
    await lecture();
    const sentence = makeAnswer(accept(screen.model, 2)).sentence;
    expect($(".vene-curtain")).not.toBeNull();
    expect(screen.el.textContent).not.toContain(sentence.slice(0, 20));
    expect(said(1, 3)).toContain("covered");
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(0);
    expect((await key(" ")).defaultPrevented).toBe(true);
    expect($(".vene-curtain")).toBeNull();
    expect($(".vene-sentence")?.textContent).toBe(sentence);
    expect($(".vene-three")?.textContent).toContain("␣Rome");
    // Of the map, just the tile that is the experiment.
    expect(said(1, 3)).toContain("P(␣Rome)");
    expect(said(0, 3)).toContain("covered");
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(1);
  });

  it("covers each new experiment, not one that was seen, and again on Shift-Space", async () => {
    await lecture();
    await key(" ");
    click(tile(screen.el, 4, 4));
    answer(screen.model, accept(screen.model, 3));
    await drawn();
    expect($(".vene-curtain")).not.toBeNull();
    expect(said(1, 3)).toContain("P(␣Rome)");
    click(tile(screen.el, 1, 3));
    await drawn();
    expect($(".vene-curtain")).toBeNull();
    await key(" ", { shiftKey: true });
    expect($(".vene-curtain")).not.toBeNull();
  });

  it("reveals by button and keeps the keys, and Space on a tile skips nothing", async () => {
    await lecture();
    click(button("Reveal"));
    await drawn();
    expect($(".vene-sentence")).not.toBeNull();
    expect(document.activeElement).toBe(root());
    const sent = screen.model.sent.length;
    await key(" ", {}, tile(screen.el, 1, 3));
    expect(screen.model.sent).toHaveLength(sent);
  });

  it("leaves Space to a button that has the focus", async () => {
    await lecture();
    const event = await key(" ", {}, button("Whole map"));
    expect(event.defaultPrevented).toBe(false);
    expect($(".vene-curtain")).not.toBeNull();
  });

  it("shows the whole map on demand", async () => {
    await lecture();
    await key("m");
    expect(screen.el.querySelectorAll(".vene-tile-number").length).toBeGreaterThan(6);
    expect(button("Whole map").getAttribute("aria-pressed")).toBe("true");
    expect($(".vene-curtain")).not.toBeNull();
    await key("m");
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(0);
  });

  it("is as it was when the view comes back, for this widget alone", async () => {
    await lecture();
    await key(" ");
    const { model } = screen;
    screen.close();
    const again = mount({}, model);
    expect(again.el.querySelector(".vene-lecture .vene-sentence")).not.toBeNull();
    expect(document.activeElement).toBe(document.body);
    const other = mount();
    expect(other.el.querySelector(".vene-lecture")).toBeNull();
    again.close();
    other.close();
  });

  it("says nothing to screen readers before the reveal, and once after it", async () => {
    await lecture();
    const heard = $("[role=status]") as HTMLElement;
    expect(heard.textContent).toBe("");
    await key(" ");
    expect(heard.isConnected && heard.textContent).toBe($(".vene-sentence")?.textContent);
  });
});

describe("what is heard", () => {
  const spoken = () => $("[role=status][aria-live]")?.textContent;

  it("is exact answers: a preview is silent", async () => {
    screen = mount();
    click(tile(screen.el, 1, 3));
    await drawn();
    expect($(".vene-status")?.dataset.label).toBe("preview");
    expect($(".vene-sentence")?.textContent).toContain("block 1");
    expect(spoken()).toBe("");
    tile(screen.el, 0, 3).dispatchEvent(new Event("pointerover", { bubbles: true }));
    await drawn();
    expect(spoken()).toBe("");
    answer(screen.model, accept(screen.model, 2));
    await drawn();
    expect(spoken()).toContain("block 1");
    const live = [...screen.el.querySelectorAll("[aria-live=polite]")];
    const said = live.filter((region) => region.textContent?.includes("block 1"));
    expect(said).toEqual([screen.el.querySelector("[role=status][aria-live]")]);
  });
});
