// What stands where the answer will be, until it is revealed.

import type { App } from "../../app/app";
import { backToScreen } from "../../ui/backToScreen";
import { Button } from "../../ui/controls";
import { createAnswer } from "../answer/state";
import { createStory } from "../story/state";
import { createLecture } from "./state";

export function Curtain({ app }: { app: App }) {
  const { isThere, step } = app.use(createStory);
  const { label } = app.use(createAnswer);
  const asks = isThere.value && step.value?.question ? "Your guess?" : null;
  const isKnown = label.value === "exact" || label.value === "preview";
  return (
    <section class="vene-curtain" aria-label="Covered answer">
      <p class="vene-curtain-ask">{asks ?? "What will the model say next?"}</p>
      <Button
        look="vene-primary vene-reveal"
        aria-keyshortcuts="Space"
        onClick={(event) => {
          backToScreen(event);
          app.use(createLecture).reveal();
        }}
      >
        Reveal
      </Button>
      <p class="vene-hint">{isKnown ? "\u00a0" : "The answer is being computed."}</p>
    </section>
  );
}
