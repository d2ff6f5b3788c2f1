// What stands where the answer will be, until it is revealed.
import type { State } from "../../app/state";
import { backToScreen } from "../../ui/backToScreen";

export function Curtain({ state }: { state: State }) {
  const { story } = state;
  const asks = story.isThere.value && story.step.value?.question ? "Your guess?" : null;
  const isKnown = state.label.value === "exact" || state.label.value === "preview";
  return (
    <section class="vene-curtain" aria-label="Covered answer">
      <p class="vene-curtain-ask">{asks ?? "What will the model say next?"}</p>
      <button
        type="button"
        class="vene-button vene-reveal"
        aria-keyshortcuts="Space"
        onClick={(event) => {
          backToScreen(event);
          state.lecture.reveal();
        }}
      >
        Reveal
      </button>
      <p class="vene-hint">
        {isKnown ? "Predict first. Space reveals." : "The answer is being computed."}
      </p>
    </section>
  );
}
