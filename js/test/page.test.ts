// The screen in its page: text is never markup, and nothing is left behind.
import { afterEach, describe, expect, it, vi } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import { drawn, mount, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { $, named } = within(() => screen);

describe("the page", () => {
  const evil = "<img src=x onerror=alert(1)>";

  it("gets labels, sentences, names and errors as text, never as markup", () => {
    const traits = spainAndItaly();
    const dirty = JSON.parse(
      JSON.stringify(traits, (key, value) =>
        ["label", "sentence", "words", "name", "text"].includes(key) && value !== "exact"
          ? evil
          : value,
      ),
    );
    dirty.scene.sources = [{ name: evil, tokens: dirty.scene.sources[0].tokens }];
    dirty.scene.experiment = { ...traits.scene.experiment, base: evil, sources: [[evil, evil]] };
    dirty.status.error = evil;
    screen = mount(dirty);
    expect(screen.el.querySelectorAll("img, [onerror]")).toHaveLength(0);
    expect(screen.el.textContent).toContain(evil);
    expect($(".vene-chip")?.textContent).toBe(evil);
  });

  it("shows the figure from its bytes and frees them", async () => {
    const made = vi.spyOn(URL, "createObjectURL").mockReturnValue("blob:one");
    const freed = vi.spyOn(URL, "revokeObjectURL").mockImplementation(() => {});
    const picture = {
      revision: 1,
      kind: "result",
      style: "light",
      name: "result_1",
      alt: "What changed",
      width: 8,
      height: 4,
      png: new DataView(new ArrayBuffer(4)),
    };
    screen = mount({ picture });
    await drawn();
    await drawn();
    expect($("img.vene-figure")?.getAttribute("alt")).toBe("What changed");
    expect($("a[download]")?.getAttribute("href")).toBe("blob:one");
    const kind = named("Kind of figure") as HTMLSelectElement;
    kind.value = "sweep_map";
    kind.dispatchEvent(new Event("change", { bubbles: true }));
    expect(screen.model.sent.at(-1)).toMatchObject({ kind: "figure", figure: "sweep_map" });
    screen.close();
    // Preact runs what an effect has left to do after the next frame.
    await vi.waitFor(() => expect(freed).toHaveBeenCalledTimes(made.mock.calls.length));
    vi.restoreAllMocks();
  });

  it("waits for a kernel that has written nothing", async () => {
    screen = mount({ scene: {}, map: {}, answer: {}, picture: {}, status: {} });
    expect(screen.el.textContent).toContain("Waiting for the kernel");
    screen.model.write(spainAndItaly());
    await drawn();
    expect($("[role=grid]")).not.toBeNull();
  });

  it("is as before when the view goes: no element, no listener, also for one of two views", () => {
    screen = mount();
    const other = mount();
    const { model } = screen;
    const before = model.listening;
    expect(before).toBeGreaterThan(0);
    screen.close();
    expect(model.listening).toBe(0);
    expect(screen.el.childElementCount).toBe(0);
    expect(other.el.querySelector("[role=grid]")).not.toBeNull();
    other.controller.abort();
    expect(other.model.listening).toBe(0);
    expect(other.el.childElementCount).toBe(0);
    other.close();
  });
});
