// The change of each token in the answer's rows, and how far the whole distribution has moved.
import type { App } from "../../app/app";
import { changeEnd } from "../../domain/answer_rows";
import { full, three } from "../../domain/format";
import { Panel } from "../../ui/controls";
import { createRows } from "../answer/rows";
import { createAnswer } from "../answer/state";
import { createMap } from "../map/state";
import { ChangesTable } from "./ChangesTable";
import "./style.css";

export function DifferencePanel({ app }: { app: App }) {
  const { isOld } = app.use(createAnswer);
  const { all, visible } = app.use(createRows);
  const { ghost } = app.use(createMap);
  const rows = all.value.result === null ? null : visible.value;
  return (
    <Panel name="Difference" area="difference" isBare>
      {rows ? (
        <ChangesTable
          rows={rows}
          end={changeEnd(rows)}
          isOld={isOld.value}
          ghost={ghost.value?.ps}
        />
      ) : (
        <p class="vene-hint vene-no-change">Change from base, once a slot is live</p>
      )}
      <Divergence app={app} />
    </Panel>
  );
}

/** KL divergence of the result from the base, over the whole vocabulary. */
function Divergence({ app }: { app: App }) {
  const { exact, cell } = app.use(createAnswer);
  const { all } = app.use(createRows);
  const value = exact.value ? exact.value.kl : cell.value?.kl;
  if (all.value.result === null || value == null) return <p class="vene-rest">{"\u00a0"}</p>;
  return (
    <p class="vene-rest vene-number" title={`KL(result ‖ base) = ${full(value)} nats`}>
      KL {three(value)} nats
    </p>
  );
}
