// Attention patterns of one head, a run beside the other; a click puts a slot on a weight.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { colourOf, css, tileColours } from "../../domain/colour";
import { full, inPercent, short } from "../../domain/format";
import { move } from "../../domain/geometry";
import { Panel, PlainButton, Select } from "../../ui/controls";
import { createStory } from "../story/state";
import { createAttention, type Pattern } from "./state";
import "./style.css";

/** Tokens of the longest prompt whose patterns are drawn. */
const MOST = 32;

type Edge = [query: number, key: number];

export function AttentionPanel({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const state = app.use(createAttention);
  const { layer, head, heads, patterns, source, isCopied, note } = state;
  const at = useSignal<Edge | null>(null);
  const [base] = patterns.value;
  if (!scene) return null;
  const count = Math.max(scene.base.length, ...patterns.value.map(({ length }) => length));
  const said = at.value && describe(at.value);
  function describe([query, key]: Edge): string {
    const label = (index: number) => scene?.base[index]?.label ?? index;
    const values = patterns.value.map(({ name, weights, length }) =>
      query < length && key < length
        ? `${name} ${inPercent(weights[(head.value * length + query) * length + key] ?? 0)}`
        : `${name} –`,
    );
    return `L${layer.value} H${head.value}: ${label(query)} → ${label(key)}: ${values.join(", ")}`;
  }
  return (
    <Panel
      name="Attention"
      area="attention"
      tools={
        <>
          <Select
            name="Layer of the patterns"
            value={String(layer.value)}
            options={Array.from({ length: scene.model.layers }, (_, n) => ({
              value: String(n),
              text: `layer ${n}`,
            }))}
            refusal={() => app.kernel.offline}
            onChoose={(value) => state.chooseLayer(Number(value))}
          />
          {!app.kernel.offline && (
            <Select
              name="What a click does"
              value={isCopied.value ? "copy" : "zero"}
              options={[
                { value: "zero", text: "click: set to zero" },
                ...(source.value === null
                  ? []
                  : [{ value: "copy", text: `click: copy from ${source.value}` }]),
              ]}
              onChoose={(value) => state.copy(value === "copy")}
            />
          )}
          <span class="vene-note">
            {note.value ?? (state.isWaiting.value ? "reading the patterns…" : "")}
          </span>
        </>
      }
    >
      {count > MOST ? (
        <p class="vene-hint">
          Patterns of more than {MOST} tokens are not drawn here ({count} now): vw.attention(model,
          experiment, layer={layer.value}).plot() draws them in Python.
        </p>
      ) : (
        base && (
          <>
            {heads.value > 1 && <Heads app={app} of={base} />}
            <p class="vene-hint vene-number" role="status">
              {said ??
                "Rows are queries, columns the keys that they attend to. Point at a weight to read it."}
            </p>
            <div class="vene-scroll vene-patterns">
              {patterns.value.map((pattern) => (
                <Grid
                  key={pattern.name}
                  app={app}
                  of={pattern}
                  at={at.value}
                  go={(to) => (at.value = to)}
                />
              ))}
            </div>
          </>
        )
      )}
    </Panel>
  );
}

/** Every head of the layer in small; one is chosen. */
function Heads({ app, of }: { app: App; of: Pattern }) {
  const { head, heads, chooseHead } = app.use(createAttention);
  return (
    <div class="vene-heads">
      {Array.from({ length: heads.value }, (_, n) => (
        <PlainButton
          key={n}
          class="vene-bare vene-head-small"
          aria-pressed={n === head.value}
          aria-label={`Head ${n}`}
          title={`Head ${n}, in the base`}
          onClick={() => chooseHead(n)}
        >
          <Small app={app} of={of} head={n} />
          {n}
        </PlainButton>
      ))}
    </div>
  );
}

function Small({ app, of, head }: { app: App; of: Pattern; head: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { length, weights } = of;
  const theme = app.theme.value;
  useEffect(() => {
    const pen = canvas.current?.getContext("2d");
    for (let n = 0; pen && n < length * length; n++) {
      pen.fillStyle = css(colourOf(weights[head * length * length + n] ?? 0, 1, "amount", theme));
      pen.fillRect(n % length, Math.floor(n / length), 1, 1);
    }
  }, [weights, head, length, theme]);
  return <canvas ref={canvas} width={length} height={length} />;
}

interface GridProps {
  app: App;
  of: Pattern;
  at: Edge | null;
  go(to: Edge | null): void;
}

/** Query × key; one tab stop, arrows move. */
function Grid({ app, of, at, go }: GridProps) {
  const { head, layer, slotAt, toggle } = app.use(createAttention);
  const grid = useRef<HTMLDivElement>(null);
  const { name, tokens, length, weights } = of;
  const size = Math.max(14, Math.min(30, Math.round(240 / length)));
  const all = Array.from({ length }, (_, n) => n);
  const weight = (query: number, key: number) =>
    weights[(head.value * length + query) * length + key] ?? 0;
  /** Tokens do not attend to later ones, unless the model says so. */
  const has = (query: number, key: number) => key <= query || weight(query, key) > 0;
  const stop: Edge = at && at[0] < length && has(...at) ? at : [length - 1, length - 1];
  const under = (event: Event): Edge | null => {
    const { query, key } =
      (event.target as Element).closest<HTMLElement>("[data-query]")?.dataset ?? {};
    return query === undefined ? null : [Number(query), Number(key)];
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const from = under(event);
    const action = actionOf("attention", event);
    if (!from || !action) return;
    const to = move(event.key, { row: from[0], column: from[1] }, [...all].reverse(), all);
    if (action === "toggle") toggle(...from);
    else if (to?.row != null && to.column !== null) {
      const key = has(to.row, to.column) ? to.column : to.row;
      go([to.row, key]);
      grid.current
        ?.querySelector<HTMLElement>(`[data-query="${to.row}"][data-key="${key}"]`)
        ?.focus();
    }
    consume(event);
  };
  return (
    <figure class={`vene-pattern${of.isOld ? " vene-old" : ""}`}>
      <figcaption class="vene-dim">{name}</figcaption>
      {/* biome-ignore lint/a11y/useSemanticElements: as the map */}
      <div
        ref={grid}
        role="grid"
        class="vene-weights"
        aria-label={`Attention of ${name}, layer ${layer.value}, head ${head.value}`}
        style={{ "--vene-keys": length, "--vene-tile-height": `${size}px` }}
        onPointerOver={(event) => go(under(event))}
        onFocusIn={(event) => go(under(event))}
        onClick={(event) => {
          const edge = under(event);
          if (edge) toggle(...edge);
        }}
        onKeyDown={onKeyDown}
      >
        {all.map((query) => (
          // biome-ignore lint/a11y/useSemanticElements: see above
          // biome-ignore lint/a11y/useFocusableInteractive: see above
          <div role="row" class="vene-weights-row" key={query}>
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
            <span role="rowheader" class="vene-token vene-weights-name">
              {tokens[query]?.label}
            </span>
            {all.map((key) => {
              const value = weight(query, key);
              const slot = has(query, key) ? slotAt(query, key) : -1;
              const words = `${tokens[query]?.label} → ${tokens[key]?.label} ${inPercent(value)}`;
              return has(query, key) ? (
                // biome-ignore lint/a11y/useSemanticElements: see above
                <div
                  key={key}
                  role="gridcell"
                  class={`vene-tile${slot < 0 ? "" : " vene-tile-chosen"}`}
                  tabIndex={stop[0] === query && stop[1] === key ? 0 : -1}
                  data-query={query}
                  data-key={key}
                  aria-selected={slot >= 0}
                  aria-label={`${words}${slot < 0 ? "" : `, slot ${slot}`}`}
                  title={`${words} (${full(value)})`}
                  style={tileColours(value, 1, "amount")}
                >
                  {size > 27 && <span class="vene-tile-number" data-text={short(100 * value)} />}
                </div>
              ) : (
                // biome-ignore lint/a11y/useSemanticElements: see above
                // biome-ignore lint/a11y/useFocusableInteractive: a token does not attend to later ones
                <span key={key} role="gridcell" />
              );
            })}
          </div>
        ))}
        <div class="vene-weights-row" aria-hidden="true">
          <span />
          {all.map((key) => (
            <span key={key} class="vene-token vene-weights-key">
              {tokens[key]?.label}
            </span>
          ))}
        </div>
      </div>
    </figure>
  );
}
