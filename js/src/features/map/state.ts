// How this view looks at the map: metric and tokens, pins, the brush, and the tile under the pointer.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { passOf } from "../../domain/estimate";
import { ghostOf } from "../../domain/ghost";
import type { Aim, MetricName } from "../../domain/metrics";
import { createBrush, painted } from "../../domain/paint";
import type { Cell, MetricInfo, Target } from "../../kernel/wire";
import { createAnswer } from "../answer/state";
import { createLecture } from "../lecture/state";
import { createStory } from "../story/state";
import { createPins } from "./pins";
import type { Tile } from "./sweep";

/** The two tokens that a metric may speak of. */
export type Role = keyof Aim;

/** A token that the map does not hold, on its way from the kernel or refused by it. */
export interface Ask {
  id: string;
  role: Role;
  text: string;
  error: string | null;
}

export function createMap(app: App) {
  const { kernel } = app;
  const { scene } = app.use(createStory);
  /** Without what the curtain of lecture mode covers. */
  const { map } = app.use(createLecture);
  const answer = app.use(createAnswer).newest;
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
    const target = at(list, chosen.target.value) ?? likeliest(list, "source", null);
    const other = at(list, chosen.other.value);
    return {
      target,
      other: other ?? likeliest(list, "base", target) ?? target,
    };
  });
  const cells = computed(
    () => new Map((map.value?.cells ?? []).map((cell) => [key(cell), cell] as const)),
  );
  const cellAt = (tile: { layer: number; position: number } | null): Cell | undefined =>
    tile ? cells.value.get(key(tile)) : undefined;
  /** The map's axes, or those that it will have. */
  const axes = computed(() => ({
    layers: map.value?.layers ?? range(scene.value?.model.layers ?? 0),
    positions: map.value?.positions ?? (scene.value?.base ?? []).map((token) => token.index),
  }));
  /** Whether the map's copy cannot matter at a tile; before its cell is there, equal prompts tell. */
  function isIdle(tile: { layer: number; position: number }): boolean {
    const cell = cellAt(tile);
    if (cell) return cell.idle !== null;
    const from = map.value?.source_positions[map.value.positions.indexOf(tile.position)];
    return from === tile.position && from < (map.value?.first_difference ?? 0);
  }
  const brush = createBrush();
  const strokeTiles = computed(() => {
    const { layers, positions } = axes.value;
    return brush.stroke.value ? painted(brush.stroke.value, layers, positions, isIdle) : [];
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
    pins: createPins(),
    axes,
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

/** Index of the token that one of the plain runs finds likeliest, another than `not`. */
function likeliest(targets: Target[], run: "base" | "source", not: number | null): number {
  let best = -1;
  targets.forEach((target, i) => {
    if (i !== not && target[run] > (targets[best]?.[run] ?? -1)) best = i;
  });
  return Math.max(0, best);
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function key({ layer, position }: { layer: number; position: number }): string {
  return `${layer} ${position}`;
}
