// C: the most likely next tokens in every run, as dots on one log axis with a fixed floor.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { full, percent } from "../../domain/format";
import { FLOOR, onLogAxis } from "../../domain/geometry";
import type { Ghost } from "../../domain/ghost";
import { Panel } from "../../ui/controls";
import { createMap } from "../map/state";
import { TokenButton } from "../map/TokenButton";
import { createAnswer } from "./state";

const SHORT = 10;

const GHOST = "ghost";

export function TokensPanel({ app }: { app: App }) {
  const isLong = useSignal(false);
  const shown = app.use(createAnswer).shown.value;
  if (!shown)
    return (
      <Panel name="Next token" area="tokens">
        {<p class="vene-hint">No run yet.</p>}
      </Panel>
    );
  const rows = isLong.value ? shown.tokens : shown.tokens.slice(0, SHORT);
  const more = shown.tokens.length - SHORT;
  const base = shown.runs.findIndex((run) => run.role === "base");
  const ghost = app.use(createMap).ghost.value;
  const ends = shown.runs.at(-1)?.role;
  // Without a result, a column of its own keeps the preview apart from the plain runs.
  const hasOwnColumn =
    (ends === "base" || ends === "source") && app.use(createMap).map.value !== null;
  const isOld =
    app.use(createAnswer).label.value === "busy" || app.use(createAnswer).label.value === "none";
  return (
    <Panel
      name="Next token"
      area="tokens"
      tools={
        ghost ? (
          <GhostNote ghost={ghost} shown={rows} />
        ) : (
          <span class="vene-note">probability in %, log scale from 0.001 to 100; line: base</span>
        )
      }
    >
      <div class="vene-scroll">
        <table class={`vene-table vene-tokens${isOld ? " vene-old" : ""}`}>
          <thead>
            <tr>
              <th scope="col">token</th>
              {shown.runs.map((run, column) => (
                <th
                  scope="col"
                  key={column}
                  class="vene-run"
                  data-role={run.role}
                  title={
                    run.sourceRuns === null
                      ? run.name
                      : `${run.name}: ${run.sourceRuns} source run${run.sourceRuns === 1 ? "" : "s"}`
                  }
                >
                  <i class="vene-dot vene-dot-key" aria-hidden="true" />
                  {run.name}
                </th>
              ))}
              {hasOwnColumn && (
                <th scope="col" class="vene-run" data-role={GHOST}>
                  <i class="vene-dot vene-dot-key" aria-hidden="true" />
                  tile pointed at
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.id}>
                <th scope="row">
                  <TokenButton app={app} id={row.id} label={row.label} />
                </th>
                {shown.runs.map((run, column) => (
                  <DotCell
                    key={column}
                    role={run.role}
                    p={row.probabilities[column] ?? null}
                    reference={column === base ? null : (row.probabilities[base] ?? null)}
                    ghost={
                      hasOwnColumn || column < shown.runs.length - 1
                        ? null
                        : (ghost?.ps.get(row.id) ?? null)
                    }
                  />
                ))}
                {hasOwnColumn && (
                  <DotCell
                    role={GHOST}
                    p={ghost ? (ghost.ps.get(row.id) ?? null) : Number.NaN}
                    reference={row.probabilities[base] ?? null}
                  />
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {more > 0 && (
        <button
          type="button"
          class="vene-button vene-more"
          aria-expanded={isLong.value}
          onClick={() => {
            isLong.value = !isLong.value;
          }}
        >
          {isLong.value ? "Show fewer" : `Show ${more} more`}
        </button>
      )}
    </Panel>
  );
}

/** Whose preview the hollow marks are, and the likeliest token that has no row to be marked in. */
function GhostNote({ ghost, shown }: { ghost: Ghost; shown: { id: number }[] }) {
  const missing = ghost.top.find(({ token_id }) => shown.every(({ id }) => id !== token_id));
  const best = ghost.top[0];
  return (
    <span class="vene-note vene-ghost-note">
      <i class="vene-ghost vene-ghost-key" aria-hidden="true" /> preview of layer {ghost.layer},
      position {ghost.position}
      {missing && missing === best && (
        <>
          : likeliest <span class="vene-token">{missing.label}</span> {percent(missing.probability)}{" "}
          %
        </>
      )}
    </span>
  );
}

interface DotProps {
  role: string;
  /** Null when a preview does not know it: outside the map's top tokens. */
  p: number | null;
  /** The base's probability, marked by a tick for comparison. */
  reference: number | null;
  /** What it would be if the tile under the pointer were the experiment. */
  ghost?: number | null;
}

export function DotCell({ role, p, reference, ghost = null }: DotProps) {
  if (Number.isNaN(p)) {
    return (
      <td class="vene-run" data-role={role}>
        <span class="vene-cell">
          <span class="vene-axis" aria-hidden="true" />
          <span class="vene-number" />
        </span>
      </td>
    );
  }
  if (p === null) {
    return (
      <td
        class="vene-run"
        data-role={role}
        title="not among the preview’s top tokens; the exact answer has it"
      >
        <span class="vene-cell">
          <span class="vene-axis" />
          <span class="vene-number vene-dim">…</span>
        </span>
      </td>
    );
  }
  return (
    <td class="vene-run" data-role={role} title={full(p)}>
      <span class="vene-cell">
        <span class="vene-axis" aria-hidden="true">
          {reference !== null && (
            <i class="vene-tick" style={{ insetInlineStart: `${100 * onLogAxis(reference)}%` }} />
          )}
          <i
            class={`vene-dot${p < FLOOR ? " vene-dot-below" : ""}`}
            style={{ insetInlineStart: `${100 * onLogAxis(p)}%` }}
          />
          {ghost !== null && (
            <i class="vene-ghost" style={{ insetInlineStart: `${100 * onLogAxis(ghost)}%` }} />
          )}
        </span>
        <span class="vene-number">{percent(p)}</span>
      </span>
    </td>
  );
}
