// Any two runs side by side: what each makes likely, what moved between them, and the exact verdict.
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf } from "../../app/keys";
import { milliseconds, precise } from "../../domain/format";
import { IconButton, Panel, Select } from "../../ui/controls";
import { CrossIcon, SwapIcon } from "../../ui/icons";
import { DotCell } from "../answer/View";
import { VerdictStrip } from "../difference/VerdictStrip";
import { DifferenceTable } from "../difference/View";
import type { Compare, ContrastLabel } from "./state";
import { createCompare } from "./state";
import "./style.css";

const SHORT = 8;
const SIDES = ["left", "right"] as const;

const ABOUT: Record<ContrastLabel, string> = {
  exact: "Both sides ran for this comparison: in full, alone, at batch size 1.",
  preview: "What the screen knows of both sides already; the verdict needs both to run in full.",
  busy: "Both sides are running in full; what is shown belongs to the pair before.",
  none: "There is no comparison of these sides; what is shown belongs to the pair before.",
};

export function ComparePanel({ app }: { app: App }) {
  const compare = app.use(createCompare);
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => panel.current?.scrollIntoView?.({ block: "nearest" }), []);
  const shown = compare.shown.value;
  const label = compare.label.value;
  const isOld = label === "busy" || label === "none";

  function close(): void {
    const root = panel.current?.closest(".vene-root");
    compare.isOpen.value = false;
    root?.querySelector<HTMLElement>("[data-opens=compare]")?.focus();
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes; the cross does so too
    <div
      ref={panel}
      class="vene-compare"
      onKeyDown={(event) => {
        if (actionOf("compare", event) !== "close") return;
        event.preventDefault();
        event.stopPropagation();
        close();
      }}
    >
      <Panel name="Compare" area="compare" tools={<Tools compare={compare} onClose={close} />}>
        {compare.error.value !== null && (
          <p class="vene-compare-error" role="alert">
            <span>{compare.error.value}</span>
            <button type="button" class="vene-button" onClick={compare.again}>
              Run again
            </button>
          </p>
        )}
        {shown ? (
          <div class={`vene-compare-body${isOld ? " vene-old" : ""}`}>
            <div class="vene-scroll">
              <table class="vene-table vene-tokens">
                <thead>
                  <tr>
                    <th scope="col">token</th>
                    {SIDES.map((which) => (
                      <th scope="col" key={which} class="vene-run" data-role={which}>
                        <i class="vene-dot vene-dot-key" aria-hidden="true" />
                        {shown[which]}, %
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {shown.tokens.slice(0, SHORT).map((row) => (
                    <tr key={row.id}>
                      <th scope="row" title={`id ${row.id}`}>
                        <span class="vene-token">{row.label}</span>
                      </th>
                      {SIDES.map((which, n) => (
                        <DotCell
                          key={which}
                          role={which}
                          p={row.probabilities[n] ?? null}
                          reference={n === 0 ? null : (row.probabilities[0] ?? null)}
                        />
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            <div class="vene-compare-change">
              <DifferenceTable
                rows={shown.differences.slice(0, SHORT)}
                route="left → right"
                hasKl
              />
            </div>
          </div>
        ) : (
          compare.error.value === null && <p class="vene-hint">Both sides are running in full.</p>
        )}
        <div role="status">
          {shown?.verdict ? (
            <VerdictStrip verdicts={[shown.verdict]} isOld={isOld} />
          ) : (
            label === "preview" &&
            compare.error.value === null && (
              <p class="vene-hint">
                {compare.isWaiting.value
                  ? "The verdict needs both sides to run in full; the kernel has not answered yet."
                  : "The verdict needs both sides to run in full: they are running."}
              </p>
            )
          )}
        </div>
      </Panel>
    </div>
  );
}

function Tools({ compare, onClose }: { compare: Compare; onClose(): void }) {
  const label = compare.label.value;
  const shown = compare.shown.value;
  const sides = compare.sides.value;
  const isPast = (key: string) => key.startsWith("past:");
  // The newest of the history first: a menu is read from its top.
  const options = [
    ...sides.filter((side) => !isPast(side.key)),
    ...sides.filter((side) => isPast(side.key)).reverse(),
  ].map(({ key, title, note }) => ({ value: key, text: note ? `${title} · ${note}` : title }));
  const parts: string[] = [label === "busy" ? "running" : label === "none" ? "no result" : label];
  if (label === "exact" && shown?.milliseconds != null)
    parts.push(milliseconds(shown.milliseconds));
  if (label !== "exact" && compare.isWaiting.value) parts.push("waiting for the kernel");
  if (label === "exact" && shown?.kl != null)
    parts.push(`KL(right ‖ left) ${precise(shown.kl)} nats`);
  return (
    <>
      <div class="vene-compare-sides">
        <Select
          name="Left side"
          value={compare.left.value?.key ?? ""}
          options={options}
          onChoose={(key) => compare.choose("left", key)}
        />
        <IconButton name="Swap sides" title="Swap sides" onPress={compare.swap}>
          <SwapIcon />
        </IconButton>
        <Select
          name="Right side"
          value={compare.right.value?.key ?? ""}
          options={options}
          onChoose={(key) => compare.choose("right", key)}
        />
      </div>
      <span class="vene-status" data-label={label} title={ABOUT[label]}>
        <i class="vene-status-mark" aria-hidden="true" />
        {parts.join(" · ")}
      </span>
      <span class="vene-tools-end">
        <IconButton name="Close the comparison" title="Close (Escape)" onPress={onClose}>
          <CrossIcon />
        </IconButton>
      </span>
    </>
  );
}
