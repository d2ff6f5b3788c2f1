// Every number of the answer: a token a row, a run a column; copied, they are unrounded.

import type { App } from "../../app/app";
import { full, percent } from "../../domain/format";
import type { Shown } from "../../domain/preview";
import { ColumnHead } from "../../ui/ColumnHead";
import { CopyButton } from "../../ui/CopyButton";
import { Panel } from "../../ui/controls";
import { createAnswer } from "../answer/state";
import { TokenButton } from "../map/TokenButton";

export function DataPanel({ app }: { app: App }) {
  const { shown, isOld, label } = app.use(createAnswer);
  const value = shown.value;
  if (!value) return <p class="vene-hint">There is no answer yet.</p>;
  const changes = new Map(value.differences.map((row) => [row.id, row]));
  return (
    <Panel
      name="Data"
      area="data"
      tools={
        <>
          <span class="vene-note">
            probability of the next token in percent, {label.value}; the whole vocabulary is
            explorer.frame in Python
          </span>
          <span class="vene-tools-end">
            <CopyButton name="Copy as CSV" title="Unrounded numbers" text={csv(value)} />
          </span>
        </>
      }
    >
      <div class="vene-scroll">
        <table class={`vene-table vene-data${isOld.value ? " vene-old" : ""}`}>
          <thead>
            <tr>
              <ColumnHead>token</ColumnHead>
              <ColumnHead class="vene-run">id</ColumnHead>
              {value.runs.map((run) => (
                <ColumnHead
                  class="vene-run"
                  data-role={run.role}
                  key={run.name}
                  title={sourceRuns(run)}
                >
                  {run.name}
                </ColumnHead>
              ))}
              <ColumnHead class="vene-run" title="rank in the base → rank in the result">
                rank
              </ColumnHead>
            </tr>
          </thead>
          <tbody>
            {value.tokens.map((row) => {
              const change = changes.get(row.id);
              return (
                <tr key={row.id}>
                  <th scope="row">
                    <TokenButton app={app} id={row.id} label={row.label} />
                  </th>
                  <td class="vene-run vene-number vene-dim">{row.id}</td>
                  {row.probabilities.map((p, n) => (
                    <td
                      class="vene-run vene-number"
                      key={value.runs[n]?.name}
                      title={p === null ? undefined : full(p)}
                    >
                      {p === null ? "…" : percent(p)}
                    </td>
                  ))}
                  <td class="vene-run vene-number vene-dim">
                    {change?.rankBefore && change.rankAfter
                      ? `${change.rankBefore} → ${change.rankAfter}`
                      : ""}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function sourceRuns({ name, sourceRuns: count }: Shown["runs"][number]): string {
  return count === null ? name : `${name}: ${count} source run${count === 1 ? "" : "s"}`;
}

function csv({ runs, tokens }: Shown): string {
  const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const head = ["token", "token_id", ...runs.map(({ name }) => name)].map(quote);
  const rows = tokens.map(({ id, label, probabilities }) =>
    [quote(label), id, ...probabilities.map((p) => (p === null ? "" : full(p)))].join(","),
  );
  return `${[head.join(","), ...rows].join("\n")}\n`;
}
