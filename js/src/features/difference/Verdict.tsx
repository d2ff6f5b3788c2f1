// Grouped against ungrouped in one line: a sign, the kernel's words, the numbers in the title.
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { full } from "../../domain/format";
import type { Verdict } from "../../kernel/wire";
import { createAnswer } from "../answer/state";

const SIGNS: Record<Verdict["verdict"], string> = {
  "bit-equal": "=",
  allclose: "≈",
  different: "≠",
};

/** Keeps its line when there is nothing to say. */
export function VerdictPanel({ app }: { app: App }) {
  const { shown, isOld } = app.use(createAnswer);
  const live = app.use(createExperiment).now.value?.slots.filter((slot) => !slot.skip) ?? [];
  const isUngrouped = live.length > 1 && live.every((slot) => slot.group === null);
  const [verdict] = shown.value?.verdicts ?? [];
  return (
    <div class="vene-verdicts">
      {verdict ? (
        <VerdictLine verdict={verdict} isOld={isOld.value} />
      ) : (
        isUngrouped && (
          <p class="vene-hint">
            Group the slots to compare one shared source run with separate ones.
          </p>
        )
      )}
    </div>
  );
}

export function VerdictLine({ verdict, isOld }: { verdict: Verdict; isOld: boolean }) {
  const { left, right, words, max_abs, tolerance, first_divergence, scope } = verdict;
  const where =
    first_divergence === null
      ? "identical throughout"
      : `first differs at layer ${first_divergence}`;
  return (
    <p
      class={`vene-verdict${isOld ? " vene-old" : ""}`}
      data-verdict={verdict.verdict}
      title={`max |Δ logit| ${full(max_abs)} · tolerance ${tolerance} · ${where} · ${scope}`}
    >
      <span class="vene-verdict-sign" aria-hidden="true">
        {SIGNS[verdict.verdict]}
      </span>
      <span class="vene-verdict-words">
        <b>
          {left} vs {right}
        </b>{" "}
        {words}
      </span>
    </p>
  );
}
