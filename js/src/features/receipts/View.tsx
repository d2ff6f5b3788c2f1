// What every slot did, side by side.

import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { site } from "../../domain/format";
import { ColumnHead } from "../../ui/ColumnHead";
import { Panel } from "../../ui/controls";
import { createAnswer } from "../answer/state";
import { marksOf, measured, Outcome } from "../slots/Receipt";
import { createStory } from "../story/state";
import "./style.css";

export function ReceiptsPanel({ app }: { app: App }) {
  const { receipts, label } = app.use(createAnswer);
  const { now, pending } = app.use(createExperiment);
  const scene = app.use(createStory).scene.value;
  const slots = now.value?.slots ?? [];
  return (
    <Panel name="Receipts" area="receipts" isBare>
      {slots.length === 0 ? (
        <p class="vene-hint">
          A receipt proves what a slot did: whether it fired, how large its change was, and that the
          rest of the tensor stayed as it was. There are no slots yet.
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
        <div class="vene-scroll" tabIndex={0}>
          <table class="vene-table">
            <thead>
              <tr>
                {["slot", "site", "what it did", "measured"].map((name) => (
                  <ColumnHead key={name}>{name}</ColumnHead>
                ))}
              </tr>
            </thead>
            <tbody>
              {slots.map((slot, index) => {
                const receipt = receipts.value.find((one) => one.index === index);
                const info = pending.value ? undefined : scene?.slots[index];
                const marks = marksOf(slot, receipt, label.value);
                return (
                  <tr key={index}>
                    <th scope="row">{index}</th>
                    <td>{site(slot.layer, slot.component, slot.head)}</td>
                    <td class="vene-receipt-line" data-outcome={marks.kind}>
                      <Outcome {...marks} />
                    </td>
                    <td class="vene-number vene-dim">
                      {receipt &&
                        !slot.skip &&
                        measured(receipt, info).map(([text, title], n) => (
                          <span key={text} title={title}>
                            {n > 0 && " · "}
                            {text}
                          </span>
                        ))}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
