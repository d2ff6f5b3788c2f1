// What stands where the answer will be, until it is revealed.
import type { App } from "../../app/app";
import { backToScreen } from "../../ui/backToScreen";
import { createAnswer } from "../answer/state";
import { createStory } from "../story/state";
import { createLecture } from "./state";

export function Curtain({ app }: { app: App }) {
  const story = app.use(createStory);
  const asks = story.isThere.value && story.step.value?.question ? "Your guess?" : null;
  const isKnown =
    app.use(createAnswer).label.value === "exact" ||
    app.use(createAnswer).label.value === "preview";
  return (
    <section class="vene-curtain" aria-label="Covered answer">
      <p class="vene-curtain-ask">{asks ?? "What will the model say next?"}</p>
      <button
        type="button"
        class="vene-button vene-reveal"
        aria-keyshortcuts="Space"
        onClick={(event) => {
          backToScreen(event);
          app.use(createLecture).reveal();
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
