// Any two runs side by side: what each makes likely, what moved between them, and the exact verdict.
import { useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { answerRows, axisEnd, changeEnd } from "../../domain/answer_rows";
import { milliseconds, three } from "../../domain/format";
import { Button, IconButton, Panel, Select } from "../../ui/controls";
import { SwapIcon } from "../../ui/icons";
import { RowsTable } from "../answer/RowsTable";
import { ChangesTable } from "../difference/ChangesTable";
import { VerdictLine } from "../difference/Verdict";
import { ABOUT as ANSWER, StatusLine } from "../header/Status";
import type { Compare, Contrasted, ContrastLabel } from "./state";
import { createCompare } from "./state";
import "./style.css";

const SHORT = 8;

const ABOUT: Record<ContrastLabel, string> = {
  ...ANSWER,
  preview: "What the screen knows of both sides already; the verdict needs both to run in full.",
};

export function ComparePanel({ app }: { app: App }) {
  const compare = app.use(createCompare);
  const panel = useRef<HTMLDivElement>(null);
  const shown = compare.shown.value;
  const label = compare.label.value;
  const isOld = label === "busy" || label === "none";
  const rows = shown ? compareRows(shown).slice(0, SHORT) : [];

  function close(): void {
    const root = panel.current?.closest(".vene-root");
    compare.close();
    root?.querySelector<HTMLElement>("[data-opens=compare]")?.focus();
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes; the cross does so too
    <div
      ref={panel}
      class="vene-compare"
      onKeyDown={(event) => {
        if (actionOf("compare", event) !== "close") return;
        consume(event);
        close();
      }}
    >
      <Panel name="Compare" area="compare" tools={<Tools compare={compare} />}>
        {compare.error.value && (
          <p class="vene-compare-error" role="alert">
            <span>{compare.error.value}</span>
            <Button onClick={compare.again}>Run again</Button>
          </p>
        )}
        {shown ? (
          <div class={`vene-compare-body${isOld ? " vene-old" : ""}`}>
            <RowsTable
              rows={rows}
              columns={[
                { name: shown.left, of: "base" },
                { name: shown.right, of: "now" },
              ]}
              end={axisEnd(rows, null)}
              isOld={isOld}
              token={({ label }) => <span class="vene-token">{label}</span>}
            />
            <ChangesTable rows={rows} end={changeEnd(rows)} isOld={isOld} isWhole />
          </div>
        ) : (
          !compare.error.value && <p class="vene-hint">Both sides are running in full.</p>
        )}
        <div role="status">
          {shown?.verdict ? (
            <VerdictLine verdict={shown.verdict} isOld={isOld} />
          ) : (
            label === "preview" &&
            !app.kernel.isGone.value &&
            !compare.error.value && (
              <p class="vene-hint">
                {app.kernel.offline ??
                  `The verdict needs both sides to run in full${compare.isWaiting.value ? "; the kernel has not answered yet." : ": they are running."}`}
              </p>
            )
          )}
        </div>
      </Panel>
    </div>
  );
}

function Tools({ compare }: { compare: Compare }) {
  const label = compare.label.value;
  const shown = compare.shown.value;
  const sides = compare.sides.value;
  const isPast = (key: string) => key.startsWith("past:");
  // The newest of the history first: a menu is read from its top.
  const options = [
    ...sides.filter((side) => !isPast(side.key)),
    ...sides.filter((side) => isPast(side.key)).reverse(),
  ].map(({ key, title, note }) => ({ value: key, text: note ? `${title} · ${note}` : title }));
  const parts: string[] = [];
  if (label === "exact" && shown?.milliseconds != null)
    parts.push(milliseconds(shown.milliseconds));
  if (label !== "exact" && compare.isWaiting.value) parts.push("waiting for the kernel");
  if (label === "exact" && shown?.kl != null)
    parts.push(`KL(right ‖ left) ${three(shown.kl)} nats`);
  return (
    <>
      <div class="vene-compare-sides">
        <Select
          name="Left side"
          value={compare.left.value?.key ?? ""}
          options={options}
          onChoose={(key) => compare.choose("left", key)}
        />
        <IconButton name="Swap sides" onPress={compare.swap}>
          <SwapIcon />
        </IconButton>
        <Select
          name="Right side"
          value={compare.right.value?.key ?? ""}
          options={options}
          onChoose={(key) => compare.choose("right", key)}
        />
      </div>
      <StatusLine label={label} parts={parts} title={ABOUT[label]} />
    </>
  );
}

/** Both sides as the rows of an answer: from left to right. */
function compareRows({ left, right, tokens, differences }: Contrasted) {
  const runs = [
    { role: "base" as const, name: left, sourceRuns: null },
    { role: "intervened" as const, name: right, sourceRuns: null },
  ];
  return answerRows({ runs, tokens, differences, verdicts: [], sentence: "" }, null).rows;
}
