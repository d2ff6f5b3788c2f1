// The strongest paths in order, and what the marked heads carry alone.
import type { App } from "../../app/app";
import { full, signedLike, three } from "../../domain/format";
import { keyOfSender, metricWords, type Sender, senderWords, shareText } from "../../domain/paths";
import { ColumnHead } from "../../ui/ColumnHead";
import { Button } from "../../ui/controls";
import { createPaths } from "./state";

const MOST = 8;

/** Weaker ones, as a part of the strongest, are left out. */
const LEAST = 0.01;

export function Strongest({ app }: { app: App }) {
  const { order, shown, isOld } = app.use(createPaths);
  const grid = shown.value;
  const strongest = order.value[0]?.value ?? 0;
  return (
    grid && (
      <table class={`vene-table${isOld.value ? " vene-old" : ""}`}>
        <Heads names={["strongest", "effect", "share"]} />
        <tbody>
          {order.value
            .slice(0, MOST)
            .filter(({ value }) => Math.abs(value) > LEAST * Math.abs(strongest))
            .map(({ sender, value }) => (
              <tr key={keyOfSender(sender)}>
                <th scope="row">
                  {sender.head === null ? (
                    <i class="vene-path-box" />
                  ) : (
                    <Mark app={app} head={sender} />
                  )}
                  {senderWords(sender)}
                </th>
                <td class="vene-run" title={full(value)}>
                  {signedLike(value, strongest)}
                </td>
                <td class="vene-run">{shareText(value, grid)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    )
  );
}

/** The box that marks a head. */
export function Mark({ app, head }: { app: App; head: Sender }) {
  const { isMarked, mark } = app.use(createPaths);
  const { offline } = app.kernel;
  return (
    <input
      type="checkbox"
      class="vene-path-box"
      aria-label={`Mark ${senderWords(head)}`}
      title={offline ?? "One of the heads that run alone, and that the others run without"}
      checked={isMarked(head)}
      disabled={offline !== null}
      onChange={() => mark(head)}
    />
  );
}

const Heads = ({ names }: { names: string[] }) => (
  <thead>
    <tr>
      {names.map((name, n) => (
        <ColumnHead key={name} class={n ? "vene-run" : ""}>
          {name}
        </ColumnHead>
      ))}
    </tr>
  </thead>
);

/** The base with all heads, only the marked ones, all but these, none. */
export function Circuit({ app }: { app: App }) {
  const { circuit, marked, shown, mark, circuitNote, isOldCircuit } = app.use(createPaths);
  const [grid, found] = [shown.value, circuit.value];
  if (!grid || (app.kernel.offline && !found)) return null;
  const [, only] = found?.runs ?? [];
  const largest = Math.max(...(found?.runs ?? []).map(({ value }) => Math.abs(value)));
  return (
    <section class="vene-circuit" aria-label="Only these heads">
      {marked.value.length ? (
        <p>
          <strong>{marked.value.map((pair) => pair.join(".")).join(", ")}</strong>{" "}
          <Button refusal={app.kernel.offline} onClick={() => mark(null)}>
            Unmark
          </Button>
          <span class="vene-note">{circuitNote.value ?? (found ? "" : "running…")}</span>
        </p>
      ) : (
        <p class="vene-hint">Mark heads to run the base with only these, and with all but these.</p>
      )}
      {found && only && (
        <div class={isOldCircuit.value ? "vene-old" : ""}>
          <table class="vene-table">
            <Heads names={["heads kept", metricWords(grid), "none to all"]} />
            <tbody>
              {found.runs.map(({ heads_kept, value, faithfulness_normalised: part }) => (
                <tr key={heads_kept}>
                  <th scope="row">{heads_kept}</th>
                  <td class="vene-run" title={full(value)}>
                    {signedLike(value, largest)}
                  </td>
                  <td class="vene-run" title={full(part)}>
                    {number(part)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <p class="vene-note">
            Faithfulness {number(only.faithfulness_normalised)} from no heads to all,{" "}
            {number(only.faithfulness)} × the metric with all. In place of a head’s output stands
            that of {found.source}, at every token.
          </p>
        </div>
      )}
    </section>
  );
}

const number = (value: number | null) => (value === null ? "–" : three(value));
