// Changes of probability as bars from zero, in percentage points.

import type { ComponentChildren } from "preact";
import { type AnswerRow, changeOf } from "../../domain/answer_rows";
import { full, points, rankMove, signed, three } from "../../domain/format";
import { divergingBar } from "../../domain/geometry";
import { ColumnHead } from "../../ui/ColumnHead";

interface Props {
  rows: AnswerRow[];
  /** Where the axis ends to both sides, 0 to 1. */
  end: number;
  isOld: boolean;
  ghost?: ReadonlyMap<number, number> | undefined;
  /** With the token's name, its move in rank and its part of the KL divergence. */
  isWhole?: boolean;
}

export function ChangesTable({ rows, end, isOld, ghost, isWhole = false }: Props) {
  return (
    <table
      class={`vene-rows vene-differences${isOld ? " vene-old" : ""}`}
      data-whole={isWhole || undefined}
    >
      <thead>
        <tr>
          {isWhole && <ColumnHead>token</ColumnHead>}
          <ColumnHead class="vene-bar-head" title="Change of probability, in percentage points">
            <span>
              <span>−{three(100 * end)}</span>
              {end < 1 && <span class="vene-bar-zoom">×{three(1 / end)}</span>}
              <span>+{three(100 * end)}</span>
            </span>
          </ColumnHead>
          {isWhole && (
            <>
              <ColumnHead class="vene-run">KL part</ColumnHead>
              <ColumnHead class="vene-rank">rank</ColumnHead>
            </>
          )}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <Row key={row.id} row={row} end={end} pointed={ghost?.get(row.id) ?? null}>
            {isWhole && (
              <>
                <td
                  class="vene-run vene-number"
                  title={row.kl === null ? "" : `${full(row.kl)} nats`}
                >
                  {row.kl === null ? "…" : signed(row.kl)}
                </td>
                <td class="vene-rank vene-number">
                  {row.rankBefore === null || row.rankAfter === null
                    ? "…"
                    : rankMove(row.rankBefore, row.rankAfter)}
                </td>
              </>
            )}
          </Row>
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  row: AnswerRow;
  end: number;
  /** Probability in the hovered tile's run. */
  pointed: number | null;
  children: ComponentChildren;
}

function Row({ row, end, pointed, children }: RowProps) {
  const change = changeOf(row);
  const isWhole = Boolean(children);
  return (
    <tr data-sign={(change ?? 0) < 0 ? "less" : "more"}>
      {isWhole && (
        <th scope="row">
          <span class="vene-token">{row.label}</span>
        </th>
      )}
      <td title={change === null ? undefined : `${full(change)}${isWhole ? "" : ranks(row)}`}>
        <span class="vene-visually-hidden vene-row-name vene-token">{row.label}</span>
        <span class="vene-bars">
          <Bar name="vene-bar" value={change ?? 0} end={end} />
          {pointed !== null && row.base !== null && (
            <Bar name="vene-ghost-bar" value={pointed - row.base} end={end} />
          )}
          <span class="vene-bar-value vene-number">{change === null ? "…" : points(change)}</span>
        </span>
      </td>
      {children}
    </tr>
  );
}

function Bar({ name, value, end }: { name: string; value: number; end: number }) {
  const { start, length } = divergingBar(value, end);
  return (
    <i
      class={name}
      style={{ insetInlineStart: `${100 * start}%`, inlineSize: `${100 * length}%` }}
    />
  );
}

function ranks({ rankBefore, rankAfter }: AnswerRow): string {
  return rankBefore === null || rankAfter === null ? "" : ` · rank ${rankBefore} → ${rankAfter}`;
}
