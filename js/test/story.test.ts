// A story: walked by keys and by Python, asked first, marked after.
import { afterEach, describe, expect, it } from "vitest";
import { aStory, spainAndItaly } from "../dev/fixtures";
import { click, drawn, mount, tile, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, button, key, said } = within(() => screen);

describe("a story", () => {
  const tell = (step = 0, traits: Record<string, unknown> = {}) => {
    screen = mount({ steps: aStory(), step, ...traits });
  };
  const title = () => $(".vene-story-title")?.textContent;
  const asked = () => screen.model.sent.map((request) => (request as { step?: number }).step);

  it("walks by keys, each step painted as exact before the kernel has said a word", async () => {
    tell();
    expect(title()).toBe("What the model knows");
    await key("ArrowRight");
    expect(title()).toBe("An early swap");
    expect($(".vene-status")?.dataset.label).toBe("exact");
    expect($(".vene-sentence")?.textContent).toBe(aStory().steps[1]?.result.sentence);
    expect(tile(screen.el, 1, 3).getAttribute("aria-selected")).toBe("true");
    await key("End");
    expect(title()).toBe("Two places at once");
    await key("ArrowRight");
    await key("ArrowLeft");
    await key("Home");
    await key("PageDown");
    await key("PageUp");
    expect(title()).toBe("What the model knows");
    expect(asked()).toEqual([1, 3, 3, 2, 0, 1, 0]);
    expect(screen.model.sent.every((request) => request.kind === "step")).toBe(true);
  });

  it("brings other prompts with their tokens and their map", async () => {
    tell();
    await key("ArrowRight");
    await key("ArrowRight");
    expect(screen.el.querySelector('[data-prompt="base"]')?.textContent).toContain("␣France");
    expect($(".vene-map-axis")?.textContent).toContain("␣France");
    expect($(".vene-status")?.dataset.label).toBe("exact");
    expect(said(4, 4)).toContain("P(");
    expect(screen.el.textContent).not.toContain("waiting");
  });

  it("is walked by Python too, and a late word of the kernel's moves nobody back", async () => {
    tell();
    screen.model.write({ step: 3 });
    await drawn();
    expect(title()).toBe("Two places at once");
    await key("ArrowLeft");
    await key("ArrowLeft");
    const [first, second] = screen.model.sent;
    screen.model.write({ step: 2 });
    await screen.model.reply({ id: first?.id ?? "", ok: true, error: null, tokens: null } as never);
    await drawn();
    expect(title()).toBe("An early swap");
    screen.model.write({ step: 1 });
    await screen.model.reply({
      id: second?.id ?? "",
      ok: true,
      error: null,
      tokens: null,
    } as never);
    await drawn();
    expect(title()).toBe("An early swap");
  });

  it("asks first in lecture mode: the question, a digit, the reveal, what was right", async () => {
    tell();
    await key("f");
    await key("ArrowRight");
    const choices = () => [...screen.el.querySelectorAll<HTMLElement>(".vene-choice")];
    expect($(".vene-story-question")?.textContent).toBe("What will the model say?");
    expect($(".vene-curtain")).not.toBeNull();
    await key("1", {}, tile(screen.el, 0, 3));
    expect(choices().map((c) => c.getAttribute("aria-pressed"))).toEqual([
      "true",
      "false",
      "false",
    ]);
    expect($("[data-verdict]")).toBeNull();
    await key("PageDown");
    expect(title()).toBe("An early swap");
    expect(choices().map((c) => c.textContent)).toEqual(["✗Madrid", "✓Rome", "CSomething else"]);
    // After the reveal the guess is what it was.
    await key("2");
    expect(choices()[0]?.getAttribute("aria-pressed")).toBe("true");
    await key("PageDown");
    expect(title()).toBe("Another country");
    expect($(".vene-curtain")).not.toBeNull();
    await key("PageUp");
    expect($(".vene-sentence")).not.toBeNull();
    await key(" ");
    expect(title()).toBe("Another country");
  });

  it("marks what is right as soon as one has chosen, without a curtain", async () => {
    tell(1);
    await key("ArrowRight");
    await key("ArrowLeft");
    expect($("[data-verdict]")).toBeNull();
    await key("3");
    expect($('[data-verdict="right"]')?.textContent).toContain("Rome");
    expect($('[data-verdict="wrong"]')?.textContent).toContain("Something else");
  });

  it("says when a click has left the step, and comes back", async () => {
    tell(1);
    await key("ArrowRight");
    await key("ArrowLeft");
    expect($(".vene-story-away")).toBeNull();
    click(tile(screen.el, 5, 4));
    await drawn();
    expect($(".vene-story-away")?.textContent).toContain("changed the experiment");
    click(button("Return to step 2"));
    await drawn();
    expect($(".vene-story-away")).toBeNull();
    expect(asked().at(-1)).toBe(1);
  });

  it("takes letters for its choices in lecture mode, and no mark stands off the step", async () => {
    tell();
    await key("f");
    await key("ArrowRight");
    await key("b");
    const pressed = () =>
      [...screen.el.querySelectorAll(".vene-choice")].map((c) => c.getAttribute("aria-pressed"));
    expect(pressed()).toEqual(["false", "true", "false"]);
    await key(" ");
    expect($('[data-verdict="right"]')?.textContent).toBe("✓Rome");
    click(tile(screen.el, 5, 4));
    await drawn();
    expect($("[data-verdict]")).toBeNull();
    await key(" "); // reveals what was clicked,
    expect($("[data-verdict]")).toBeNull();
    await key(" "); // then returns to the step
    expect($('[data-verdict="right"]')?.textContent).toBe("✓Rome");
    expect(title()).toBe("An early swap");
  });

  it("covers everything again on Home in lecture mode", async () => {
    tell();
    await key("f");
    await key(" ");
    await key("ArrowRight");
    await key("a");
    await key(" ");
    await key("Home");
    expect($(".vene-curtain")).not.toBeNull();
    await key("ArrowRight");
    expect($(".vene-curtain")).not.toBeNull();
    expect($('[aria-pressed="true"].vene-choice')).toBeNull();
  });

  it("opens no tile of other prompts, and names no target before the reveal", async () => {
    tell();
    await key("f");
    await key("ArrowRight");
    await key(" ");
    expect(said(1, 3)).toContain("␣Rome");
    await key("ArrowRight"); // another base, the same layer and position
    await drawn();
    expect(title()).toBe("Another country");
    expect(screen.el.querySelectorAll(".vene-tile-number")).toHaveLength(0);
    expect($("[role=grid]")?.getAttribute("aria-label")).not.toContain("␣");
    expect($(".vene-legend")?.textContent).not.toContain("base");
  });

  it("covers a tile that an earlier step revealed while a step asks about it by another metric", async () => {
    const steps = aStory();
    const second = steps.steps[1] as NonNullable<(typeof steps.steps)[1]>;
    steps.steps[2] = { ...second, title: "By rank", metric: "rank" };
    tell(0, { steps });
    await key("f");
    await key("ArrowRight");
    await key(" ");
    expect(said(1, 3)).toContain("␣Rome");
    await key("ArrowRight");
    expect(title()).toBe("By rank");
    expect(said(1, 3)).toContain("covered");
    await key(" ");
    expect(said(1, 3)).not.toContain("covered");
    await key("ArrowLeft");
    expect(said(1, 3)).toContain("␣Rome");
  });

  it("shows each step its own target, metric and pins, and as they were left", async () => {
    const steps = aStory();
    const target = steps.maps[0]?.targets[3]?.token_id ?? -1;
    steps.steps[1] = {
      ...(steps.steps[1] as NonNullable<(typeof steps.steps)[1]>),
      ...{ target, metric: "rank", pins: [{ layer: 1, position: 3 }] },
    };
    tell(0, { steps });
    const state = () => [
      ($('select[aria-label="Metric"]') as HTMLSelectElement).value,
      ($('select[aria-label="Target token"]') as HTMLSelectElement).value,
      screen.el.querySelectorAll(".vene-pin").length,
    ];
    const first = state();
    await key("ArrowRight");
    expect(state()).toEqual(["rank", String(target), 1]);
    await key("ArrowLeft");
    expect(state()).toEqual(first);
    await key("ArrowRight");
    click($('[aria-label^="Unpin"]') as HTMLElement);
    await drawn();
    await key("ArrowLeft");
    await key("ArrowRight");
    expect(state()).toEqual(["rank", String(target), 0]);
  });

  it("leaves the map its arrows", async () => {
    tell();
    tile(screen.el, 2, 3).focus();
    await key("ArrowRight", {}, tile(screen.el, 2, 3));
    expect(title()).toBe("What the model knows");
    expect(document.activeElement).toBe(tile(screen.el, 2, 4));
  });

  it("keeps its arrows in lecture mode after a click on the map, also on the name of a row", async () => {
    tell();
    await key("f");
    const heads = () => $('[role=rowheader] [data-layer="2"]') as HTMLElement;
    for (const [n, target] of [() => tile(screen.el, 2, 3), heads].entries()) {
      target().focus();
      click(target(), { detail: 1 });
      await drawn();
      await key("ArrowRight", {}, document.activeElement as HTMLElement);
      expect(title()).toBe(["An early swap", "Another country"][n]);
    }
    // Whoever walks on the map with the keyboard goes on there.
    tile(screen.el, 2, 3).focus();
    await key("ArrowRight", {}, tile(screen.el, 2, 3));
    expect(title()).toBe("Another country");
    expect(document.activeElement).toBe(tile(screen.el, 2, 4));
  });

  it("gets titles, texts and choices as text, never as markup", () => {
    const evil = "<img src=x onerror=alert(1)>";
    const steps = aStory();
    const dirty = JSON.parse(
      JSON.stringify(steps, (name, value) =>
        ["title", "text", "question"].includes(name) ? evil : value,
      ),
    );
    dirty.steps[0].choices = [evil];
    screen = mount({ ...spainAndItaly(), steps: dirty, step: 0 });
    expect($(".vene-story")?.querySelectorAll("img")).toHaveLength(0);
    expect($(".vene-choice")?.textContent).toContain(evil);
  });

  it("shows how far it is computed", async () => {
    screen = mount({ status: { busy: "story", progress: 0.4, error: null } });
    expect($(".vene-status")?.textContent).toContain("story 40 %");
  });
});
