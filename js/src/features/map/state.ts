// How this view looks at the map: metric and tokens, pins, the brush, and the tile under the pointer.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { passOf } from "../../domain/estimate";
import { positionsOf } from "../../domain/experiments";
import { keyOfTile, type Spot, type Tile } from "../../domain/geometry";
import { ghostOf } from "../../domain/ghost";
import type { Aim, MetricName } from "../../domain/metrics";
import { createBrush, painted } from "../../domain/paint";
import { axesOf, tileOf } from "../../domain/preview";
import type { Cell, MetricInfo, Target } from "../../kernel/wire";
import { createAnswer } from "../answer/state";
import { createLecture } from "../lecture/state";
import { createStory } from "../story/state";
import { type Axes, createPins } from "./pins";

/** The two tokens that a metric may speak of. */
export type Role = keyof Aim;

/** A token that the map does not hold, on its way from the kernel or refused by it. */
export interface Ask {
  id: string;
  role: Role;
  text: string;
  error: string | null;
}

/** How one step of a story looks at its map. */
interface View {
  metric: MetricName;
  target: number | null;
  other: number | null;
  pins: readonly Spot[];
}

export function createMap(app: App) {
  const { kernel } = app;
  const { scene } = app.use(createStory);
  /** Without what the curtain of lecture mode covers. */
  const { map } = app.use(createLecture);
  const answer = app.use(createAnswer).newest;
  const experiment = app.use(createExperiment);
  /** The tile under the pointer or the keyboard's focus. */
  const hover = signal<Tile | null>(null);
  const name = signal<MetricName>("probability");
  const chosen = { target: signal<number | null>(null), other: signal<number | null>(null) };
  const asked = signal<Ask | null>(null);

  const metrics = computed<MetricInfo[]>(() => scene.value?.model.metrics ?? []);
  const metric = computed(
    () => metrics.value.find((info) => info.name === name.value) ?? metrics.value[0] ?? null,
  );
  const targets = computed<Target[]>(() => map.value?.targets ?? []);
  const aim = computed<Aim>(() => {
    const list = targets.value;
    const target = at(list, chosen.target.value) ?? at(list, map.value?.target ?? null) ?? 0;
    return { target, other: at(list, chosen.other.value) ?? likeliest(list, target) };
  });
  /** What the rows and columns are. */
  const axis = computed(() => axesOf(map.value));
  const cells = computed(
    () =>
      new Map(
        (map.value?.cells ?? []).map(
          (cell) => [keyOfTile(tileOf(cell, axis.value)), cell] as const,
        ),
      ),
  );
  const cellAt = (tile: Tile | null): Cell | undefined =>
    tile ? cells.value.get(keyOfTile(tile)) : undefined;
  /** The map's axes, or those that it will have. */
  const axes = computed<Axes>(() => {
    const model = scene.value?.model;
    const numbers = {
      head: range(model?.heads[map.value?.component ?? ""] ?? 0),
      layer: map.value?.layers ?? range(model?.layers ?? 0),
      position: map.value?.positions ?? (scene.value?.base ?? []).map((token) => token.index),
    };
    return { rows: numbers[axis.value.rows], columns: numbers[axis.value.columns] };
  });
  /** Whether the operator can have no effect at a tile; decided by the prompts until its cell is there. */
  function isIdle(tile: Tile): boolean {
    const cell = cellAt(tile);
    return cell ? cell.idle !== null : isShared(map.value?.position ?? tile.column);
  }
  /** Whether a position copies from itself, and both prompts are equal up to there. */
  function isShared(position: number): boolean {
    if (map.value?.intervention !== "vanilla") return false;
    const from = map.value.source_positions[map.value.positions.indexOf(position)];
    return from === position && from < map.value.first_difference;
  }
  const isUnfolded = signal(false);
  /** Positions at the beginning where copying has no effect and no slot acts. */
  const foldable = computed(() => {
    const { rows, columns: positions } = axes.value;
    if (axis.value.columns !== "position") return [];
    // In a model that is not causal, patching a shared token can have an effect: then its cells are not idle.
    const isFoldable = (position: number) =>
      isShared(position) && rows.every((row) => isIdle({ row, column: position }));
    // Equal prompts have no column that is worth showing alone.
    const count = positions.findIndex((position) => !isFoldable(position));
    const shared = positions.slice(0, Math.max(0, count));
    const isSlotThere = (experiment.now.value?.slots ?? []).some((slot) =>
      positionsOf(slot).some((position) => shared.includes(position)),
    );
    return shared.length > 1 && !isSlotThere ? shared : [];
  });
  const brush = createBrush();
  const strokeTiles = computed(() => {
    const { rows, columns } = axes.value;
    const stroke = !kernel.offline && brush.stroke.value; // a saved page holds no groups
    return stroke ? painted(stroke, rows, columns, isIdle) : [];
  });
  const ghost = computed(() => ghostOf(cellAt(hover.value), map.value));

  /** Milliseconds of a whole forward pass, from the newest answer that tells. */
  const pass = signal<number | null>(null);
  app.effect(() => {
    const [got, shown] = [answer.value, scene.value];
    if (!got || !shown || got.revision !== shown.revision) return undefined;
    pass.value = passOf(got, shown, Boolean(map.peek()?.slow)) ?? pass.peek();
    return undefined;
  });

  function choose(role: Role, id: number): void {
    batch(() => {
      chosen[role].value = id;
      asked.value = null;
      if (role === "target" && metric.peek()?.of_target === false) name.value = "probability";
    });
  }

  async function ask(role: Role, text: string): Promise<void> {
    const wanted = read(text);
    const found = targets
      .peek()
      .find((target) => target.token_id === wanted || target.label === text);
    if (found) {
      choose(role, found.token_id);
      return;
    }
    const id = kernel.nextId();
    asked.value = { id, role, text, error: null };
    try {
      await kernel.request({ kind: "follow", token: wanted }, { id });
    } catch (error) {
      const now = asked.peek();
      if (now?.id === id) asked.value = { ...now, error: (error as Error).message };
    }
  }

  app.effect(() => {
    const now = asked.value;
    const found = now && targets.value.find((target) => target.request === now.id);
    if (found) choose(now.role, found.token_id);
    return undefined;
  });

  // Each step of a story has its own target, metric and pins: its author's until they are changed.
  const story = app.use(createStory);
  const pins = createPins(axis);
  const views = new Map<number, View>();
  let shown: number | null = null;
  app.effect(() => {
    const [step, at] = [story.step.value, story.at.value];
    if (!step || at === shown) return undefined;
    batch(() => {
      if (shown !== null)
        views.set(shown, {
          metric: name.peek(),
          target: chosen.target.peek(),
          other: chosen.other.peek(),
          pins: pins.list.peek(),
        });
      const own = {
        metric: step.metric ?? "probability",
        target: step.target ?? null,
        other: null,
      };
      const ownPins = (step.pins ?? []).map(({ layer, position }) => ({
        row: layer,
        column: position,
      }));
      const view = views.get(at) ?? { ...own, pins: ownPins };
      name.value = view.metric;
      chosen.target.value = view.target;
      chosen.other.value = view.other;
      pins.set([...view.pins]);
      shown = at;
    });
    return undefined;
  });

  return {
    map,
    hover,
    metrics,
    metric,
    targets,
    aim,
    asked,
    cellAt,
    ghost,
    pass,
    pins,
    axes,
    axis,
    /** Positions that show as one column. */
    folded: computed(() => (isUnfolded.value ? [] : foldable.value)),
    /** Whether there are columns that could be folded. */
    canFold: computed(() => isUnfolded.value && foldable.value.length > 0),
    /** Shows the folded columns one by one, or as one again. */
    toggleFold(): void {
      isUnfolded.value = !isUnfolded.peek();
    },
    isIdle,
    brush,
    /** The tiles that letting go now would put into one group. */
    strokeTiles,
    show(metricName: MetricName): void {
      name.value = metricName;
    },
    choose,
    /** Takes a token by its text as shown or by its id; the kernel is asked once for a new one. */
    ask,
    /** Takes a token that is shown somewhere on the screen. */
    pick(id: number): void {
      if (at(targets.peek(), id) === undefined) ask("target", String(id));
      else choose("target", id);
    },
    forget(): void {
      asked.value = null;
    },
  };
}

/** A typed token: digits are an id, anything else the text with its marks read as what they show. */
export function read(text: string): string | number {
  if (/^\d+$/.test(text)) return Number(text);
  return text.replaceAll("␣", " ").replaceAll("↵", "\n").replaceAll("⇥", "\t");
}

function at(targets: Target[], id: number | null): number | undefined {
  const index = targets.findIndex((target) => target.token_id === id);
  return index >= 0 ? index : undefined;
}

/** Index of the token that the base finds likeliest, another than `not`. */
function likeliest(targets: Target[], not: number): number {
  let best = -1;
  targets.forEach(({ base }, i) => {
    if (i !== not && base > (targets[best]?.base ?? -1)) best = i;
  });
  return Math.max(0, best);
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
