// Three bars for the back row: the tokens that changed most, and a line where the base had them.
import type { App } from "../../app/app";
import { axisEnd, split } from "../../domain/answer_rows";
import { inPercent, percent } from "../../domain/format";
import { createRows } from "../answer/rows";
import { createAnswer } from "../answer/state";

const COUNT = 3;

export function Bars({ app }: { app: App }) {
  const { all } = app.use(createRows);
  const { isOld, label } = app.use(createAnswer);
  const [rows] = split(all.value.rows, COUNT);
  const end = axisEnd(rows, null);
  const hasResult = all.value.result !== null;
  return (
    <section
      class={`vene-three${isOld.value ? " vene-old" : ""}`}
      data-panel="answer"
      data-label={label.value}
      aria-label="Answer"
    >
      {rows.map(({ id, label: token, base, now }) => {
        const p = hasResult ? now : base;
        const part = (value: number) => `${100 * Math.min(1, value / end)}%`;
        return (
          <p key={id} data-sign={(now ?? 0) < (base ?? 0) ? "less" : "more"}>
            <span class="vene-three-token">{token}</span>
            <span class="vene-three-bar" aria-hidden="true">
              <i style={{ inlineSize: part(p ?? 0) }} />
              {hasResult && base !== null && <b style={{ insetInlineStart: part(base) }} />}
            </span>
            <span class="vene-number">{p === null ? "…" : percent(p)}</span>
          </p>
        );
      })}
      <p class="vene-three-words">
        next token, %{end < 1 && `, bars end at ${inPercent(end)}`}
        {hasResult && " · the line marks the base"}
      </p>
    </section>
  );
}
