// The specification curve: effects in order, and below each the choices that it stands for.
import type { App } from "../../app/app";
import { full } from "../../domain/format";
import type { Specification } from "../../kernel/wire";
import { Button, Panel, TextField } from "../../ui/controls";
import { createSpecification } from "./state";
import "./style.css";

/** The choices from top to bottom, a list for each; windows are whatever there is. */
const CHOICES = [
  ["restore", "corrupt"],
  ["swap", "zero", "mean", "noise"],
  [],
  ["logit_difference", "probability", "log_probability"],
  [],
];

/** In units of one row: heights of the two parts, the gap between two choices, the names' width. */
const [HIGH, ROW, GAP, NAMES, STEP] = [120, 15, 7, 112, 11];

/** Most characters of a template that are shown, and how many pixels each of them takes. */
const [LONGEST, EACH] = [32, 6.4];

export function SpecificationPanel({ app }: { app: App }) {
  const { curve, isRunning, run, templates, write } = app.use(createSpecification);
  const found = curve.value;
  const share = found?.share;
  return (
    <Panel
      name="Is it real?"
      area="specification"
      tools={
        <>
          {!app.kernel.offline && (
            <Button title="Measure the first slot’s finding in every way" onClick={run}>
              Run every choice
            </Button>
          )}
          <span class="vene-note">
            restore or corrupt × swap, zero, mean, noise × one layer or three × three metrics ×
            templates
          </span>
          {!app.kernel.offline && (
            <TextField
              name="Other templates"
              isLong
              value={templates.value}
              placeholder="Other templates, one per line: People in {} speak"
              title="The same question in other words; {} stands for the words in which base and source differ"
              onChoose={write}
            />
          )}
        </>
      }
    >
      {isRunning.value ? (
        <p class="vene-hint">
          <progress class="vene-progress" value={share ?? 0} aria-label="Runs done" /> running…
        </p>
      ) : found?.rows.length ? (
        <Curve found={found} />
      ) : (
        <p class="vene-hint">
          {found?.note ??
            "Patch a tile, then run: a finding should not depend on how it was measured."}
        </p>
      )}
    </Panel>
  );
}

function Curve({ found }: { found: Specification }) {
  const { rows } = found;
  const effects = rows.map(({ effect }) => effect ?? 0);
  const [low, high] = [Math.min(0, ...effects), Math.max(1, ...effects)];
  const y = (effect: number) => 6 + ((high - effect) / (high - low)) * (HIGH - 12);
  const names = namesOf(found);
  const longest = Math.max(...[...names.keys()].map((name) => spelled(name).length));
  const left = Math.max(NAMES, 12 + EACH * longest);
  const x = (n: number) => left + STEP * (n + 0.7);
  const width = x(rows.length);
  const last = [...names.values()].at(-1) ?? HIGH;
  return (
    <figure class="vene-specification">
      <figcaption>
        <strong>
          Same sign in {found.agreed} of {found.count}
        </strong>{" "}
        · {found.site} · “{found.base}” ← “{found.source}”
        <span class="vene-dim"> · effect in % of the plain runs’ difference</span>
        {found.note && <span class="vene-data-note"> {found.note}</span>}
        {found.left_out.map((reason) => (
          <span class="vene-dim" key={reason}>
            {" "}
            · left out: {reason}
          </span>
        ))}
      </figcaption>
      <svg
        role="img"
        aria-label={found.sentence}
        width={width}
        height={last + ROW}
        viewBox={`0 0 ${width} ${last + ROW}`}
      >
        {[0, 0.5, 1].map((mark) => (
          <g key={mark}>
            <line x1={left} x2={width} y1={y(mark)} y2={y(mark)} data-zero={mark === 0} />
            <text x={left - 6} y={y(mark) + 4}>
              {100 * mark} %
            </text>
          </g>
        ))}
        {[...names].map(([name, row]) => (
          <text key={name} x={left - 6} y={row + 4}>
            {spelled(name)}
          </text>
        ))}
        {rows.map(({ choices, effect }, n) => {
          const words = choices.map((choice, part) => spelled(`${part} ${choice}`)).join(", ");
          return (
            <g key={words}>
              <title>{`${words}: ${full(effect ?? 0)}`}</title>
              <circle cx={x(n)} cy={y(effect ?? 0)} r="3.5" data-up={(effect ?? 0) > 0} />
              {choices.map((choice, part) => (
                <rect
                  key={choice}
                  x={x(n) - 2.5}
                  y={(names.get(`${part} ${choice}`) ?? 0) - 2.5}
                  width="5"
                  height="5"
                />
              ))}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}

/** Each choice that occurs, as its part and its name, and how far down its row is. */
function namesOf({ rows }: Specification): Map<string, number> {
  const found = new Map<string, number>();
  let down = HIGH + ROW;
  CHOICES.forEach((known, part) => {
    const present = new Set(rows.flatMap(({ choices }) => choices[part] ?? []));
    const named = known.length ? known.filter((name) => present.has(name)) : [...present].sort();
    for (const name of named) {
      found.set(`${part} ${name}`, down);
      down += ROW;
    }
    down += GAP;
  });
  return found;
}

function spelled(name: string): string {
  const [part, choice] = [name[0], name.slice(2)];
  if (part === "2") return `${choice} layer${choice === "1" ? "" : "s"}`;
  if (part === "4") return choice.length > LONGEST ? `${choice.slice(0, LONGEST - 1)}…` : choice;
  return choice.replace("_", " ");
}
