// Groups and sources: renamed, changed, chained, removed.
import { afterEach, describe, expect, it } from "vitest";
import { click, drawn, mount, press, threeSlots, toggleDetails, traitsOf, within } from "./helpers";

let screen: ReturnType<typeof mount>;
afterEach(() => {
  screen?.close();
  document.body.innerHTML = "";
});

const { named, experimentSent, slotsSent, settle } = within(() => screen);
const details = () => screen.el.querySelector<HTMLElement>("[data-details]");

function open(...of: Parameters<typeof traitsOf>) {
  screen = mount(traitsOf(...of));
}
async function choose(name: string, value: string) {
  const field = named(name);
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  await settle();
}
const peru: { sources: [string, string][] } = {
  sources: [
    ["italy", "The capital of Italy is"],
    ["peru", "The capital of Peru is"],
  ],
};

describe("groups and sources", () => {
  it("are renamed in place; a name that is taken says so at the field", async () => {
    open(
      threeSlots.map((slot, i) => ({
        ...slot,
        group: "AAB"[i] as string,
        source: i < 2 ? "italy" : "peru",
      })),
      peru,
    );
    await toggleDetails(screen.el, 1);
    expect(named("Rename group A")).toBeNull(); // renamed once, at its first slot
    await toggleDetails(screen.el, 0);
    click(named("Rename group A"));
    await drawn();
    const field = named("New name of group A");
    field.value = "B";
    press(field, "Enter");
    await drawn();
    expect(details()?.querySelector("[role=alert]")?.textContent).toContain("another source");
    field.value = "subject";
    press(field, "Enter");
    expect(slotsSent().map((slot) => slot.group)).toEqual(["subject", "subject", "B"]);
    await settle();
    click(named("Rename source peru"));
    await drawn();
    const name = named("New name of source peru");
    name.value = "Lima";
    press(name, "Enter");
    expect(experimentSent().sources?.map(([name]) => name)).toEqual(["italy", "Lima"]);
    expect(slotsSent().map((slot) => slot.source)).toEqual(["italy", "italy", "Lima"]);
  });

  it("are changed for a shorter one without a position that it has not got", async () => {
    const short: typeof peru = { sources: [...peru.sources, ["short", "In Peru is"]] };
    open([{ layer: 0, position: [2, 4], source_position: [1, 4], source: "italy" }], short);
    await toggleDetails(screen.el, 0);
    await choose("Source of slot 0", "short");
    expect(slotsSent()[0]).toMatchObject({ source: "short", position: [2, 4] });
    expect(slotsSent()[0]?.source_position).toEqual([1, 2]);
    await choose("Source of slot 0", "peru");
    expect(slotsSent()[0]?.source_position).toEqual([1, 2]);
  });

  it("run in parallel or as a chain, explained in the menu’s title, where there is more than one", async () => {
    open(threeSlots);
    expect(named("How the sources run")).toBeNull();
    screen.close();
    open(threeSlots, peru);
    expect(named("How the sources run").title).toContain("runs as it is");
    await choose("How the sources run", "serial");
    expect(experimentSent().mode).toBe("serial");
    expect(named("How the sources run").value).toBe("serial");
    expect(named("How the sources run").title).toMatch(
      /read “italy” act on the run of “peru”, .*read “peru” act on the base/,
    );
  });

  it("are removed with the slots that read them, which the button says first", async () => {
    open([...threeSlots.slice(0, 2), { layer: 2, position: 3, source: "peru" }], peru);
    const remove = named("Remove source italy with 2 slots that read it");
    expect(remove.title).toContain("with 2 slots");
    expect(named("Remove source peru with 1 slot that reads it")).not.toBeNull();
    click(remove);
    expect(experimentSent().sources).toEqual([["peru", "The capital of Peru is"]]);
    expect(slotsSent().map((slot) => slot.layer)).toEqual([2]);
  });

  it("change places with the base by a button", async () => {
    open(threeSlots, {});
    const { base, sources } = traitsOf(threeSlots).scene.experiment;
    click(named("Swap base and italy"));
    await settle();
    expect(experimentSent()).toMatchObject({ base: sources?.[0]?.[1], sources: [["italy", base]] });
  });
});
