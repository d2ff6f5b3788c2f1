// How two exact runs compare: a sign, the kernel's words, and the numbers behind them.
import { precise } from "../../domain/format";
import type { Verdict } from "../../kernel/wire";

const SIGNS: Record<Verdict["verdict"], string> = {
  "bit-equal": "=",
  allclose: "≈",
  different: "≠",
};

export function VerdictStrip({ verdicts, isOld }: { verdicts: Verdict[]; isOld: boolean }) {
  return (
    <>
      {verdicts.map((verdict) => (
        <div
          key={`${verdict.left} ${verdict.right}`}
          class={`vene-verdict${isOld ? " vene-old" : ""}`}
          data-verdict={verdict.verdict}
        >
          <span class="vene-verdict-sign" aria-hidden="true">
            {SIGNS[verdict.verdict]}
          </span>
          <span class="vene-verdict-body">
            <span class="vene-strong">
              {verdict.left} vs {verdict.right}: {verdict.verdict}
            </span>
            <span>{verdict.words}</span>
            <span class="vene-dim vene-number">
              max |Δ logit| {precise(verdict.max_abs)} · tolerance {precise(verdict.tolerance)} ·{" "}
              {verdict.first_divergence === null
                ? "never part"
                : `part at layer ${verdict.first_divergence}`}{" "}
              · {verdict.scope}
            </span>
          </span>
        </div>
      ))}
    </>
  );
}
