// Paths: what every head and MLP does to the answer or to one receiver, and which heads are marked.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { reading } from "../../app/reading";
import { limitOf } from "../../domain/metrics";
import { keyOfSender, type Sender } from "../../domain/paths";
import type { CircuitGrid, PathEnd, PathGrid } from "../../kernel/wire";
import { createDrawer } from "../drawer/state";
import { createMap } from "../map/state";
import { createStory } from "../story/state";

export type Part = PathEnd["part"];

export function createPaths(app: App) {
  const { kernel } = app;
  const drawer = app.use(createDrawer);
  const map = app.use(createMap);
  const { scene } = app.use(createStory);
  const { now } = app.use(createExperiment);
  const grid = kernel.trait<PathGrid>("paths");
  const circuit = kernel.trait<CircuitGrid>("circuit");
  /** The head or MLP that was clicked; null: the logits. */
  const chosen = signal<Sender | null>(null);
  /** What of a head receives. */
  const part = signal<Part>("q");
  const wantsHeld = signal(false);
  const marks = signal<[number, number][]>([]);

  const heads = computed(() => scene.value?.model.heads.head_query_output ?? 0);
  /** Query heads that share one key and value. */
  const sharing = computed(() => heads.value / (scene.value?.model.heads.head_key_output ?? 1));
  /** The head, by its key and value if they are what receives, of which there may be fewer. */
  const received = (head: number, by: Part) =>
    by === "q" ? head : Math.floor(head / sharing.value);
  // A saved page has the paths and the circuit that were measured.
  const receiver = computed<PathEnd | null>(() => {
    if (kernel.offline) return grid.value?.receiver ?? null;
    if (!chosen.value) return null;
    const { layer, head } = chosen.value;
    return head === null
      ? { layer, head, part: "mlp" }
      : { layer, head: received(head, part.value), part: part.value };
  });
  const marked = computed(() => (kernel.offline ? (circuit.value?.heads ?? []) : marks.value));
  const source = computed(() => {
    const { slots = [], sources = [] } = now.value ?? {};
    return slots.find((slot) => slot.source !== null)?.source ?? sources[0]?.[0] ?? null;
  });
  /** The map's two tokens; without a map the kernel chooses as the map would. */
  const targets = computed<[] | [number, number]>(() => {
    const { target, other } = map.aim.value;
    const [one, two] = [map.targets.value[target], map.targets.value[other]];
    return one && two ? [one.token_id, two.token_id] : [];
  });

  const isOf = (held: { source: string }, ids: number[]) =>
    held.source === source.value && (!targets.value.length || `${ids}` === `${targets.value}`);
  const isFit = computed(() => {
    const held = grid.value;
    const ids = held?.targets.map(({ token_id }) => token_id) ?? [];
    return held !== null && isOf(held, ids) && nameOf(held.receiver) === nameOf(receiver.value);
  });
  const isFitCircuit = computed(() => {
    const held = circuit.value;
    return held !== null && isOf(held, held.targets) && `${held.heads}` === `${marked.value}`;
  });
  const read = reading<PathGrid>(app, "paths", (isNew) =>
    drawer.tab.value !== "paths" || (isFit.value && isNew(false))
      ? null
      : {
          kind: "paths",
          source: source.value,
          targets: targets.value,
          receiver: receiver.value,
        },
  );
  const readCircuit = reading<CircuitGrid>(app, "circuit", (isNew) => {
    const ids = targets.value;
    return drawer.tab.value !== "paths" ||
      !ids.length ||
      !marks.value.length ||
      (isFitCircuit.value && isNew(false))
      ? null
      : { kind: "circuit", source: source.value, targets: ids, heads: marks.value };
  });
  const shown = computed(() =>
    read.plain.value && grid.value?.senders.length ? grid.value : null,
  );

  /** Why there are no numbers with norms held; null where there are. */
  const whyNotHeld = computed(() => shown.value?.frozen_note ?? null);
  const isHeld = computed(() => wantsHeld.value && whyNotHeld.value === null);
  const order = computed(() =>
    (shown.value?.senders ?? [])
      .map((sender) => ({ sender, value: (isHeld.value ? sender.frozen : sender.effect) ?? 0 }))
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value)),
  );
  const values = computed(
    () => new Map(order.value.map(({ sender, value }) => [keyOfSender(sender), value])),
  );
  const metric = computed(() => map.metrics.value.find(({ name }) => name === "logit_difference"));

  return {
    shown,
    circuit: computed(() =>
      readCircuit.plain.value && marked.value.length && circuit.value?.runs.length
        ? circuit.value
        : null,
    ),
    heads,
    isShared: computed(() => sharing.value > 1),
    chosen,
    receiver,
    isHeld,
    whyNotHeld,
    metric,
    /** Senders from the strongest to the weakest. */
    order,
    limit: computed(() =>
      metric.value
        ? limitOf(
            metric.value,
            order.value.map(({ value }) => value),
          )
        : 1,
    ),
    /** What a sender's path does; undefined where there is none. */
    at: (sender: Sender) => values.value.get(keyOfSender(sender)),
    note: read.note,
    circuitNote: readCircuit.note,
    isOld: computed(() => !isFit.value || !read.isNew(false)),
    isOldCircuit: computed(() => !isFitCircuit.value || !readCircuit.isNew(false)),
    marked,
    isMarked: ({ layer, head }: Sender) =>
      marked.value.some(([row, column]) => row === layer && column === head),
    /** Whether a head or MLP is what receives now. */
    isReceiver({ layer, head }: Sender): boolean {
      const to = receiver.value;
      return to?.layer === layer && to.head === (head === null ? null : received(head, to.part));
    },
    /** Shows what reaches a head or an MLP; null: the logits. */
    receive(to: Sender | null): void {
      if (to && to.layer < 0) return;
      read.again();
      chosen.value = to;
    },
    choosePart(to: Part): void {
      read.again();
      part.value = to;
    },
    hold(to: boolean): void {
      wantsHeld.value = to;
    },
    /** Marks a head as one of the circuit, or takes the mark off; null: off all. */
    mark(sender: Sender | null): void {
      const { layer, head } = sender ?? { layer: 0, head: 0 };
      if (head === null) return;
      const others = sender
        ? marks.value.filter(([row, column]) => row !== layer || column !== head)
        : [];
      const isNew = sender && others.length === marks.value.length;
      readCircuit.again();
      marks.value = isNew
        ? [...others, [layer, head] as [number, number]].sort(([a, b], [c, d]) => a - c || b - d)
        : others;
    },
  };
}

const nameOf = (end: PathEnd | null) => end && `${end.layer} ${end.head} ${end.part}`;
