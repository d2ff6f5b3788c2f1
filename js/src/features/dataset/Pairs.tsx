// The pairs behind one tile: a strip of their values, and a list, the furthest from the mean first.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { full, site } from "../../domain/format";
import { move } from "../../domain/geometry";
import type { DataPair, DataSet, DataTile, MetricInfo } from "../../kernel/wire";
import { PlainButton } from "../../ui/controls";
import { inList, inTile, inWords } from "./numbers";
import { createDataSet, type Drawn } from "./state";

export function Pairs({ app, set }: { app: App; set: DataSet }) {
  const data = app.use(createDataSet);
  const tile = data.tile.value;
  const list = useRef<HTMLUListElement>(null);
  /** The pair that Tab reaches. */
  const stop = useSignal<number | null>(data.pair.peek());
  const hot = useSignal<number | null>(null);
  // Coming back, the list is where it was, and so is the focus.
  useLayoutEffect(() => {
    if (!list.current) return;
    list.current.scrollTop = data.scroll.top;
    if (stop.peek() !== null)
      list.current.querySelector<HTMLElement>("[tabindex='0']")?.focus({ preventScroll: true });
  }, []);
  const shown = useRef(tile);
  useLayoutEffect(() => {
    if (shown.current !== tile && list.current) list.current.scrollTop = 0;
    shown.current = tile;
  }, [tile]);
  if (!tile) {
    return (
      <p class="vene-hint">
        {set.tiles.length > 0
          ? "No effect is possible in any tile."
          : "The first pairs are being run."}
      </p>
    );
  }
  const metric = data.metric.value as MetricInfo;
  const drawn = data.drawn.value;
  const place = data.isByHead.value ? set.places[0] : data.columns.value[tile.place];
  const at = drawn.findIndex(({ pair }) => pair.number === stop.value);
  const marked = hot.value ?? data.pair.value;
  return (
    <>
      <p class="vene-sentence" title={tile.words}>
        <span class="vene-sentence-what">
          {capital(site(tile.layer, set.component, tile.head))}, {place}
        </span>
        <span class="vene-sentence-numbers">{tile.words}</span>
      </p>
      <Strip set={set} tile={tile} metric={metric} drawn={drawn} marked={marked} />
      <p class="vene-note vene-data-count">{counted(set, tile, drawn.length)}</p>
      <ul
        ref={list}
        class="vene-data-pairs"
        aria-label={`Pairs, the furthest from the mean first: ${metric.title} at this tile`}
        onScroll={(event) => {
          data.scroll.top = event.currentTarget.scrollTop;
        }}
        onPointerLeave={() => {
          hot.value = null;
        }}
        onKeyDown={(event) => {
          if (actionOf("pairs", event) !== "move") return;
          const buttons = [...event.currentTarget.querySelectorAll("button")];
          const here = buttons.indexOf(event.target as HTMLButtonElement);
          // As in a column of the map, which is numbered from below.
          const order = buttons.map((_, n) => buttons.length - 1 - n);
          const to = move(event.key, { row: here, column: 0 }, order, [0]);
          buttons[to?.row ?? here]?.focus();
          consume(event);
        }}
      >
        {drawn.map(({ pair, value }, n) => (
          <li key={pair.number}>
            <PlainButton
              class="vene-bare vene-data-pair"
              tabIndex={n === Math.max(0, at) ? 0 : -1}
              aria-current={data.pair.value === pair.number || undefined}
              onFocus={() => {
                stop.value = pair.number;
              }}
              onPointerEnter={() => {
                hot.value = pair.number;
              }}
              onClick={() => data.open(pair.number)}
            >
              <span class="vene-dim vene-data-number">{pair.number}</span>
              <Words pair={pair} />
              <span class="vene-number vene-data-value" title={full(value)}>
                {inList(metric, value)}
              </span>
            </PlainButton>
          </li>
        ))}
      </ul>
    </>
  );
}

/** A pair's prompts in short: where they differ, the base's words and the source's. */
export function Words({ pair }: { pair: DataPair }) {
  return (
    <span class="vene-data-words">
      {pair.words.map(([base, source], n) => (
        <>
          {n > 0 && " "}
          {source === undefined ? (
            base
          ) : (
            <b>
              {base || "∅"} → {source || "∅"}
            </b>
          )}
        </>
      ))}
    </span>
  );
}

/** How many of the pairs are drawn, and which. */
function counted(set: DataSet, tile: DataTile, count: number): string {
  const [some, all] = [count, tile.n].map((n) => n.toLocaleString("en"));
  if (count >= tile.n) return `All ${all} pairs, the furthest from the mean first`;
  const which = set.ends > 0 ? `${set.ends} furthest at each end, ` : "";
  return `${some} of ${all} pairs drawn: ${which}an even spread`;
}

interface StripProps {
  set: DataSet;
  tile: DataTile;
  metric: MetricInfo;
  drawn: Drawn[];
  /** Number of the pair that is pointed at, or that was opened last. */
  marked: number | null;
}

/** Every pair a dot; base and source are lines, the mean a bar with its interval. */
function Strip({ set, tile, metric, drawn, marked }: StripProps) {
  const { mean, low, high } = tile;
  const own = [low, high, ...drawn.map(({ value }) => value)].filter((value) => value !== null);
  const size = Math.max(...own.map((value) => Math.abs(value - set.base)));
  const whole = Math.abs((set.source ?? set.base) - set.base);
  /** Whether all effects are so small that the source's run would leave no room for them. */
  const isSmall = size < whole / 20 && size > whole / 1000;
  const ends = [...own, set.base, ...(isSmall || set.source === null ? [] : [set.source])];
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  const room = (to - from || 1) * 0.04;
  const x = (value: number) => `${(100 * (value - from + room)) / (to - from + 2 * room || 1)}%`;
  /** The marked one is drawn over the others. */
  const lastly = (a: Drawn, b: Drawn) =>
    Number(a.pair.number === marked) - Number(b.pair.number === marked);
  const plain = [
    ["base", set.base],
    ["source", set.source],
  ] as const;
  return (
    <svg
      class="vene-strip"
      role="img"
      aria-label={`${metric.title} of ${drawn.length} pairs, from ${inWords(metric, from)} to ${inWords(metric, to)}`}
    >
      {plain.map(
        ([name, value]) =>
          value !== null && (
            <g key={name} class="vene-strip-plain">
              {(name === "base" || !isSmall) && (
                <line x1={x(value)} x2={x(value)} y1="16" y2="72" />
              )}
              <text {...labelAt(x(value), (value - from) / (to - from || 1))}>
                {value < from && "← "}
                {name} {inTile(metric, value)}
                {value > to && " →"}
              </text>
            </g>
          ),
      )}
      {[...drawn].sort(lastly).map(({ pair: { number }, value }) => (
        <circle
          key={number}
          data-marked={number === marked || undefined}
          cx={x(value)}
          // Spread over the strip's height, always in the same way.
          cy={20 + 34 * ((number * 0.618034) % 1)}
          r={number === marked ? 5 : 2.5}
        />
      ))}
      {mean !== null && <line class="vene-strip-mean" x1={x(mean)} x2={x(mean)} y1="16" y2="72" />}
      {low !== null && high !== null && (
        <line class="vene-strip-interval" x1={x(low)} x2={x(high)} y1="66" y2="66" />
      )}
    </svg>
  );
}

/** A label stays within the strip, also that of a run beyond its edge. */
function labelAt(x: string, part: number) {
  const end = part < 0.12 ? "start" : part > 0.88 ? "end" : "middle";
  return { x: part < 0 ? "0%" : part > 1 ? "100%" : x, y: "11", "text-anchor": end } as const;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
