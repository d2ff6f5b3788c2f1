// The answer: base against result on one axis, a row a token, the largest change first.
import type { App } from "../../app/app";
import { type AnswerRow, axisEnd, likeliest } from "../../domain/answer_rows";
import { inPercent } from "../../domain/format";
import { Panel } from "../../ui/controls";
import { createMap } from "../map/state";
import { TokenButton } from "../map/TokenButton";
import { type Column, RowsTable } from "./RowsTable";
import { createRows } from "./rows";
import { createAnswer } from "./state";
import "./style.css";

export function AnswerPanel({ app }: { app: App }) {
  const { isOld } = app.use(createAnswer);
  const { all, visible, rest } = app.use(createRows);
  const { ghost } = app.use(createMap);
  const { result, source, hasUngrouped } = all.value;
  const offer = offered(app);
  const columns: Column[] = [{ name: "base", of: "base" }];
  if (hasUngrouped) columns.push({ name: "ungrouped", of: "ungrouped" });
  if (result) columns.push({ name: hasUngrouped ? "grouped" : "now", of: "now" });
  else if (source) columns.push({ name: source, of: "source" });
  return (
    <Panel name="Answer" area="answer" isBare>
      <RowsTable
        rows={visible.value}
        columns={columns}
        end={axisEnd(visible.value, ghost.value)}
        isOld={isOld.value}
        ghost={ghost.value?.ps}
        token={({ id, label }) => <TokenButton app={app} id={id} label={label} />}
      />
      <p class="vene-rest">
        {restWords(rest.value)}
        {offer && <Offer app={app} row={offer} />}
      </p>
    </Panel>
  );
}

/** The result's answer, where it is neither the base's nor the map's token. */
function offered(app: App): AnswerRow | undefined {
  const { rows } = app.use(createRows).all.value;
  const { aim, map, targets } = app.use(createMap);
  const best = likeliest(rows, "now");
  const isShown = targets.value[aim.value.target]?.token_id === best?.id;
  return isShown || !map.value || best === likeliest(rows, "base") ? undefined : best;
}

function Offer({ app, row }: { app: App; row: AnswerRow }) {
  return (
    <span data-passing class="vene-offer">
      <TokenButton app={app} id={row.id} label={`show ${row.label} on the map`} />
    </span>
  );
}

/** What the rows leave out, in a line. */
function restWords(rest: AnswerRow[]): string {
  if (rest.length === 0) return "\u00a0";
  const largest = Math.max(...rest.map(({ base, now }) => Math.max(base ?? 0, now ?? 0)));
  return `${rest.length === 1 ? "1 other" : `${rest.length} others`} ≤ ${inPercent(largest)}`;
}
