// D: what changed from base to the intervened run, token by token, and the verdict on two runs.

import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { full, percent, points, precise, rankMove, signed } from "../../domain/format";
import { divergingBar } from "../../domain/geometry";
import { roundUp } from "../../domain/metrics";
import type { Change } from "../../domain/preview";
import { Panel } from "../../ui/controls";
import { createAnswer } from "../answer/state";
import { createMap } from "../map/state";
import { TokenButton } from "../map/TokenButton";
import { VerdictStrip } from "./VerdictStrip";

const SHORT = 8;

export function DifferencePanel({ app }: { app: App }) {
  const shown = app.use(createAnswer).shown.value;
  const rows = (shown?.differences ?? []).slice(0, SHORT);
  const after = shown?.runs.at(-1)?.name ?? "intervened";
  const isOld =
    app.use(createAnswer).label.value === "busy" || app.use(createAnswer).label.value === "none";
  const live = app.use(createExperiment).now.value?.slots.filter((slot) => !slot.skip) ?? [];
  const isUnjudged = live.length > 1 && live.every((slot) => slot.group === null);
  return (
    <Panel
      name="Difference"
      area="difference"
      tools={rows.length > 0 && <span class="vene-note">{after} − base, in % points</span>}
    >
      {rows.length === 0 ? (
        <p class="vene-hint">No live slot: the base’s run is unchanged.</p>
      ) : (
        <DifferenceTable rows={rows} route="before → after" isOld={isOld} app={app} />
      )}
      {isUnjudged && (
        <p class="vene-hint">
          Group the slots to compare one shared source run with separate ones.
        </p>
      )}
      <VerdictStrip verdicts={shown?.verdicts ?? []} isOld={isOld} />
    </Panel>
  );
}

interface TableProps {
  rows: Change[];
  /** What the numbers go from and to. */
  route: string;
  isOld?: boolean;
  /** Whether each token's part of the KL divergence has a column. */
  hasKl?: boolean;
  /** Of a live map: its tokens can be clicked, and the tile pointed at is previewed. */
  app?: App;
}

/** Tokens by their change of probability: the change, both probabilities, the move in rank. */
export function DifferenceTable({ rows, route, isOld, hasKl = false, app }: TableProps) {
  const largest = Math.max(0, ...rows.map((row) => Math.abs(row.after - row.before)));
  const limit = largest > 0 ? Math.min(1, roundUp(largest)) : 1;
  return (
    <div class="vene-scroll">
      <table class={`vene-table vene-differences${isOld ? " vene-old" : ""}`}>
        <thead>
          <tr>
            <th scope="col">token</th>
            <th scope="col" class="vene-bar-head">
              <span>−{precise(100 * limit)}</span>
              <span>+{precise(100 * limit)}</span>
            </th>
            <th scope="col">% {route}</th>
            {hasKl && <th scope="col">KL part</th>}
            <th scope="col">rank</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <Row key={row.id} row={row} limit={limit} hasKl={hasKl} app={app} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  row: Change;
  limit: number;
  hasKl: boolean;
  app: App | undefined;
}

function Row({ row, limit, hasKl, app }: RowProps) {
  const change = row.after - row.before;
  const bar = divergingBar(change, limit);
  const about = `KL contribution ${full(row.kl)} nats`;
  const pointed = app?.use(createMap).ghost.value?.ps.get(row.id);
  const ghost = pointed === undefined ? null : divergingBar(pointed - row.before, limit);
  const { rankBefore, rankAfter } = row;
  return (
    <tr data-sign={change < 0 ? "less" : "more"}>
      <th scope="row" title={`id ${row.id} · ${about}`}>
        {app ? (
          <TokenButton app={app} id={row.id} label={row.label} more={about} />
        ) : (
          <span class="vene-token">{row.label}</span>
        )}
      </th>
      <td title={`${full(change)} (${full(row.before)} → ${full(row.after)})`}>
        <span class="vene-bars">
          <i
            class="vene-bar"
            style={{ insetInlineStart: `${100 * bar.start}%`, inlineSize: `${100 * bar.length}%` }}
          />
          {ghost && (
            <i
              class="vene-ghost-bar"
              style={{
                insetInlineStart: `${100 * ghost.start}%`,
                inlineSize: `${100 * ghost.length}%`,
              }}
            />
          )}
          <span class="vene-bar-value vene-number">{points(change)}</span>
        </span>
      </td>
      <td class="vene-number vene-route">
        {percent(row.before)} <span class="vene-dim">→</span> {percent(row.after)}
      </td>
      {hasKl && (
        <td class="vene-number vene-route" title={`${full(row.kl)} nats`}>
          {signed(row.kl, 3)}
        </td>
      )}
      <td class="vene-number vene-rank">
        {rankBefore !== null && rankAfter !== null ? rankMove(rankBefore, rankAfter) : "…"}
      </td>
    </tr>
  );
}
