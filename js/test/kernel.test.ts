// A kernel that is lost, silent, or in a host that knows less than JupyterLab.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeModel } from "../dev/fake_model";
import { spainAndItaly } from "../dev/fixtures";
import { connect, type RequestFailed } from "../src/kernel/kernel";

const SHARE = { kind: "share" } as const;

/** A signal of JupyterLab's kernel: slots are called with the sender and what it says. */
class LuminoSignal {
  readonly slots = new Set<(sender: unknown, said?: string) => void>();
  connect = (slot: (sender: unknown, said?: string) => void) => void this.slots.add(slot);
  disconnect = (slot: (sender: unknown, said?: string) => void) => void this.slots.delete(slot);
  emit(said?: string): void {
    for (const slot of this.slots) slot(null, said);
  }
}

function open(more: object = {}, traits: object = {}) {
  const fake = new FakeModel({ ...spainAndItaly(), ...traits });
  const model = Object.assign(fake, more);
  return { model, kernel: connect(model.model) };
}

function fire(model: FakeModel, event: string): void {
  for (const listener of [...(model.listeners.get(event) ?? [])]) (listener as () => void)();
}

/** How a request ended: `open`, `accepted`, or the reason of its failure. */
function follow(request: Promise<unknown>): { end: string } {
  const followed = { end: "open" };
  request.then(
    () => {
      followed.end = "accepted";
    },
    (error: RequestFailed) => {
      followed.end = error.reason;
    },
  );
  return followed;
}

const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a kernel is gone", () => {
  it.each(["restarting", "autorestarting", "terminating", "dead"])(
    "when JupyterLab says %s; requests that wait fail",
    async (status) => {
      const statusChanged = new LuminoSignal();
      const { kernel } = open({ widget_manager: { kernel: { statusChanged } } });
      const asked = follow(kernel.request(SHARE));
      for (const harmless of ["busy", "idle", "unknown"]) statusChanged.emit(harmless);
      await settle();
      expect([kernel.isGone.value, asked.end]).toEqual([false, "open"]);
      statusChanged.emit(status);
      await settle();
      expect([kernel.isGone.value, asked.end]).toEqual([true, "gone"]);
      kernel.dispose();
      expect(statusChanged.slots.size).toBe(0);
    },
  );

  it("when JupyterLab disposes of it with its session, and calls it dead to nobody", async () => {
    const disposed = new LuminoSignal();
    const { kernel } = open({ widget_manager: { kernel: { disposed } } });
    const asked = follow(kernel.request(SHARE));
    disposed.emit();
    await settle();
    expect([kernel.isGone.value, asked.end]).toEqual([true, "gone"]);
    kernel.dispose();
    expect(disposed.slots.size).toBe(0);
  });

  it("when the widget’s comm is said to be lost, until the kernel replies", async () => {
    const { model, kernel } = open();
    fire(model, "comm_live_update");
    expect(kernel.isGone.value).toBe(true);
    const probe = model.sent.at(-1);
    expect(probe?.kind).toBe("tokens");
    await model.reply({ id: probe?.id ?? "", ok: true });
    expect(kernel.isGone.value).toBe(false);
  });

  it("when the host cannot send", async () => {
    const { model, kernel } = open();
    model.send = () => {
      throw new Error("Cannot send");
    };
    const asked = follow(kernel.request(SHARE));
    await settle();
    expect([kernel.isGone.value, asked.end]).toEqual([true, "gone"]);
  });

  it("when a widget without a comm has no reply", async () => {
    const { kernel } = open({}, { layout: { comm_live: false } });
    const asked = follow(kernel.request(SHARE));
    await vi.advanceTimersByTimeAsync(2000);
    expect([kernel.isGone.value, asked.end]).toEqual([false, "open"]);
    await vi.advanceTimersByTimeAsync(1000);
    expect([kernel.isGone.value, asked.end]).toEqual([true, "gone"]);
  });

  it("and each later request fails at once, though it is sent", async () => {
    const { model, kernel } = open();
    fire(model, "comm_live_update");
    const asked = follow(kernel.request(SHARE));
    await settle();
    expect([asked.end, model.sent.at(-1)?.kind]).toEqual(["gone", "share"]);
  });

  it("no more when it writes a trait", () => {
    const { model, kernel } = open();
    fire(model, "comm_live_update");
    model.write({ status: model.traits.status });
    expect(kernel.isGone.value).toBe(false);
  });
});

describe("a silent kernel", () => {
  it("is awaited, and reported as silent after 10 s, until it replies", async () => {
    const { model, kernel } = open({}, { layout: { comm_live: true } });
    const asked = follow(kernel.request(SHARE));
    const said = () => [kernel.isWaiting.value, kernel.isSilent.value, kernel.isGone.value];
    await vi.advanceTimersByTimeAsync(2000);
    expect(said()).toEqual([false, false, false]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(said()).toEqual([true, false, false]);
    await vi.advanceTimersByTimeAsync(8000);
    expect(said()).toEqual([true, true, false]);
    expect(asked.end).toBe("open");
    await model.reply({ id: model.sent.at(-1)?.id ?? "", ok: true });
    expect([...said(), asked.end]).toEqual([false, false, false, "accepted"]);
  });

  it("is not awaited where a reply takes long", async () => {
    const { kernel } = open();
    follow(kernel.request(SHARE, { isSlow: true }));
    await vi.advanceTimersByTimeAsync(20_000);
    expect([kernel.isWaiting.value, kernel.isSilent.value]).toEqual([false, false]);
  });
});

describe("all views of a widget have one owner", () => {
  it("the widget’s layout", () => {
    const layout = {};
    const [one, other] = [open({}, { layout }), open({}, { layout })];
    expect(one.kernel.owner).toBe(other.kernel.owner);
  });

  it.each(["IPY_MODEL_1", undefined, null])("or its model where the layout is %s", (layout) => {
    const { kernel } = open({}, { layout });
    expect(new WeakMap([[kernel.owner, 1]]).has(kernel.owner)).toBe(true);
  });
});
