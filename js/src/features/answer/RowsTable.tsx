// Tokens as rows on one axis of probability: where they are before and after, and both as numbers.

import type { ComponentChildren } from "preact";
import type { AnswerRow } from "../../domain/answer_rows";
import { full, percent, three } from "../../domain/format";
import { ColumnHead } from "../../ui/ColumnHead";

export interface Column {
  name: string;
  of: "base" | "now" | "source" | "ungrouped";
}

interface Props {
  rows: AnswerRow[];
  columns: Column[];
  /** Where the axis ends, 0 to 1. */
  end: number;
  isOld: boolean;
  /** Probabilities in the hovered tile's run, by token id. */
  ghost?: ReadonlyMap<number, number> | undefined;
  token(row: AnswerRow): ComponentChildren;
}

export function RowsTable({ rows, columns, end, isOld, ghost, token }: Props) {
  return (
    <table class={`vene-rows${isOld ? " vene-old" : ""}`}>
      <thead>
        <tr>
          <ColumnHead>
            <span class="vene-visually-hidden">next token</span>
          </ColumnHead>
          <ColumnHead class="vene-axis-head" title="Probability of the next token">
            <span>0</span>
            <span>{three(100 * end)}</span>
          </ColumnHead>
          {columns.map(({ name, of }) => (
            <ColumnHead key={of} class="vene-run" data-role={of} title={name}>
              {name}
            </ColumnHead>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id}>
            <th scope="row">{token(row)}</th>
            <td>
              <Axis row={row} end={end} ghost={ghost?.get(row.id) ?? null} />
            </td>
            {columns.map(({ of }) => (
              <td key={of} class="vene-run vene-number" data-role={of} title={exact(row[of])}>
                {row[of] === null ? "…" : percent(row[of])}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** One token: before as a ring, after as a dot, the way between them; the source as a tick. */
function Axis({ row, end, ghost }: { row: AnswerRow; end: number; ghost: number | null }) {
  const part = (p: number) => `${100 * Math.min(1, p / end)}%`;
  const { base, now, source, ungrouped } = row;
  const mark = (name: string, p: number | null, of?: string) =>
    p !== null && <i class={name} data-role={of} style={{ insetInlineStart: part(p) }} />;
  const isLess = base !== null && now !== null && now < base;
  return (
    <span class="vene-axis" data-sign={isLess ? "less" : "more"} aria-hidden="true">
      {base !== null && now !== null && (
        <i
          class="vene-way"
          style={{
            insetInlineStart: part(Math.min(base, now)),
            inlineSize: part(Math.abs(now - base)),
          }}
        />
      )}
      {mark("vene-tick", source)}
      {mark("vene-dot", base, "base")}
      {mark("vene-dot", ungrouped, "ungrouped")}
      {mark("vene-dot", now, "now")}
      {mark("vene-ghost", ghost)}
    </span>
  );
}

const exact = (p: number | null) =>
  p === null ? "not in the preview; the exact answer has it" : full(p);
