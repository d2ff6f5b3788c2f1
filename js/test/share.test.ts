// The Share button: asks the kernel for a token and copies a line that opens it.
import { afterEach, describe, expect, it, vi } from "vitest";
import { click, drawn, mount } from "./helpers";

describe("the Share button", () => {
  let screen: ReturnType<typeof mount>;
  afterEach(() => {
    vi.useRealTimers();
    screen?.close();
    document.body.innerHTML = "";
    vi.unstubAllGlobals();
  });
  const press = () => {
    screen = mount();
    const writeText = vi.fn().mockResolvedValue(undefined);
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    const button = [...screen.el.querySelectorAll("button")].find((b) => b.textContent === "Share");
    click(button as HTMLElement);
    const said = () => button?.parentElement?.querySelector(".vene-copy-said")?.textContent;
    return { button, said, writeText, id: screen.model.sent.at(-1)?.id ?? "" };
  };

  it("copies the line that opens the screen again", async () => {
    const { button, said, writeText, id } = press();
    expect(screen.model.sent.at(-1)?.kind).toBe("share");
    expect(said()).toBe("");
    await screen.model.reply({ id: "another", ok: true, error: null, text: "vene1.other" });
    await screen.model.reply({ id, ok: true, error: null, text: "vene1.abc" });
    await drawn();
    expect(writeText.mock.calls).toEqual([['vw.from_state("vene1.abc")']]);
    expect(said()).toMatch(/^Copied/);
    expect(button?.textContent).toBe("Share"); // it keeps its name, and so its width
  });

  it("says what the kernel says when it refuses, and copies nothing", async () => {
    const { said, writeText, id } = press();
    await screen.model.reply({ id, ok: false, error: "No." });
    await drawn();
    expect(said()).toBe("No.");
    expect(writeText).not.toHaveBeenCalled();
  });

  it("gives a silent kernel up", async () => {
    vi.useFakeTimers();
    const { said, writeText } = press();
    await vi.advanceTimersByTimeAsync(5100);
    vi.useRealTimers();
    await drawn();
    expect(said()).toBe("The kernel does not answer");
    expect(writeText).not.toHaveBeenCalled();
  });
});
