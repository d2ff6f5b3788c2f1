// The figure panel: the picture is kept without a kernel, other files come from it with their bytes.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { spainAndItaly } from "../dev/fixtures";
import widget from "../src/index";
import { OfflineModel, type SavedTraits } from "../src/kernel/offline";
import { click, drawn, mount } from "./helpers";

const picture = {
  revision: 1,
  kind: "result",
  style: "light",
  name: "result_L0-Spain_1",
  alt: "a picture",
  width: 10,
  height: 10,
  png: new DataView(new ArrayBuffer(4)),
};

let saved: { name: string; type: string; size: number }[];
let screen: ReturnType<typeof mount>;

beforeEach(() => {
  saved = [];
  const blobs = new Map<string, Blob>();
  vi.spyOn(URL, "createObjectURL").mockImplementation((blob) => {
    const url = `blob:${blobs.size}`;
    blobs.set(url, blob as Blob);
    return url;
  });
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    const blob = blobs.get(this.getAttribute("href") ?? "");
    saved.push({ name: this.download, type: blob?.type ?? "", size: blob?.size ?? -1 });
  });
});

afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function buttons(el: Element): HTMLElement[] {
  return [...el.querySelectorAll<HTMLElement>(".vene-files > *")];
}

function press(name: string) {
  const found = buttons(screen.el).find((button) => button.textContent?.trim() === name);
  if (!found) throw new Error(`no button ${name}`);
  click(found);
  return screen.model.sent.at(-1);
}

const said = () => screen.el.querySelector<HTMLElement>(".vene-figure-said");
const taken = () => screen.model.sent.filter((request) => request.kind === "take");

/** The link to the picture comes an effect after the picture. */
async function shown(el: Element): Promise<void> {
  await vi.waitFor(() => expect(el.querySelector(".vene-files a")).not.toBeNull());
}

async function open(): Promise<void> {
  screen = mount({ picture });
  await shown(screen.el);
}

describe("the figure panel", () => {
  it("says of what its picture is when the kernel that draws is gone", async () => {
    screen = mount({ picture: { ...picture, revision: 0 } });
    await shown(screen.el);
    const note = () => screen.el.querySelector(".vene-figure-tools > .vene-note")?.textContent;
    expect(note()).toBe("drawing…");
    for (const lost of screen.model.listeners.get("comm_live_update") ?? []) lost();
    await drawn();
    expect(note()).toBe("of the experiment before");
  });

  it("offers the picture and every file, in one group that has a name", async () => {
    await open();
    expect(buttons(screen.el).map((button) => button.textContent?.trim())).toEqual([
      "PNG",
      "300 dpi",
      "SVG",
      "PDF",
      "Everything",
    ]);
    const group = screen.el.querySelector(".vene-files");
    expect(group?.getAttribute("role")).toBe("group");
    expect(group?.getAttribute("aria-label")).toBe("Download");
  });

  it("asks for a file of the kind that is shown, and saves the reply's buffer", async () => {
    await open();
    const request = press("PDF");
    expect(request).toMatchObject({ kind: "take", figure: "result", format: "pdf", dpi: 300 });
    await drawn();
    expect(said()?.textContent).toBe("Making the PDF…");
    expect(said()?.dataset.tone).toBe("busy");
    const bytes = new DataView(new ArrayBuffer(7));
    await screen.model.reply({ id: "another", ok: true, file: "x.pdf" }, [bytes]);
    expect(saved).toEqual([]);
    await screen.model.reply({ id: request?.id ?? "", ok: true, file: "vene-result-1.pdf" }, [
      bytes,
    ]);
    await drawn();
    expect(saved).toEqual([{ name: "vene-result-1.pdf", type: "application/pdf", size: 7 }]);
    expect(said()?.textContent).toBe("Saved vene-result-1.pdf");
  });

  it("makes one file at a time", async () => {
    await open();
    press("SVG");
    press("Everything");
    expect(taken()).toHaveLength(1);
    await drawn();
    expect(buttons(screen.el).at(-1)?.getAttribute("aria-disabled")).toBe("true");
    await screen.model.reply({ id: taken()[0]?.id ?? "", ok: false, error: "why" });
    expect(press("Everything")).toMatchObject({ format: "zip" });
    expect(taken()).toHaveLength(2);
  });

  it("says why there is no file, and saves none", async () => {
    await open();
    const request = press("Everything");
    await screen.model.reply({
      id: request?.id ?? "",
      ok: false,
      error: "there is no map to draw",
    });
    await drawn();
    expect(said()?.textContent).toBe("No ZIP: there is no map to draw");
    expect(said()?.dataset.tone).toBe("error");
    expect(saved).toEqual([]);
  });

  it("says that it waits, and gives a silent kernel up", async () => {
    await open();
    vi.useFakeTimers();
    press("SVG");
    await vi.advanceTimersByTimeAsync(6000);
    expect(screen.el.querySelector(".vene-figure-said")?.textContent).toContain("takes its time");
    await vi.advanceTimersByTimeAsync(120_000);
    expect(said()?.textContent).toBe("No SVG: The kernel does not answer");
  });

  it("asks nothing after it is closed", async () => {
    await open();
    const request = press("SVG");
    screen.close();
    await screen.model.reply({ id: request?.id ?? "", ok: true, file: "a.svg" }, [picture.png]);
    expect(saved).toEqual([]);
  });
});

describe("a saved page", () => {
  it("offers only what it has: its picture, and no other kind", async () => {
    const traits = { ...spainAndItaly(), picture } as unknown as SavedTraits;
    const model = new OfflineModel(traits);
    const el = document.createElement("div");
    document.body.append(el);
    const close = widget.render({ model, el, signal: new AbortController().signal } as never);
    await shown(el);
    expect(buttons(el).map((button) => button.textContent?.trim())).toEqual(["PNG"]);
    expect(el.querySelector("[aria-label='Kind of figure']")).toBeNull();
    expect(el.querySelector(".vene-figure-tools")?.textContent).toContain("result");
    (close as () => void)();
  });
});

describe("on a dark page", () => {
  const asked = () => screen.model.sent.filter((request) => request.kind === "figure");

  beforeEach(() => {
    document.body.style.backgroundColor = "rgb(17, 17, 17)";
  });

  afterEach(() => {
    document.body.style.backgroundColor = "";
  });

  it("is asked for in dark, once, and then as it is", async () => {
    screen = mount({ picture });
    await drawn();
    expect(asked()).toEqual([expect.objectContaining({ figure: "result", style: "dark" })]);
    // Another view, on a light page, asked for the light one: no quarrel.
    screen.model.write({ picture: { ...picture, style: "dark" } });
    screen.model.write({ picture });
    await drawn();
    expect(asked()).toHaveLength(1);
  });

  it("is not asked for where the page is light", async () => {
    document.body.style.backgroundColor = "rgb(255, 255, 255)";
    screen = mount({ picture });
    await drawn();
    expect(asked()).toEqual([]);
  });
});
