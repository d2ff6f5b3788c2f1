// One step of a story: its title, its text, the question with its choices, and the way on.

import type { App } from "../../app/app";
import { backToScreen } from "../../ui/backToScreen";
import { Button, PlainButton } from "../../ui/controls";
import { createLecture } from "../lecture/state";
import { createStory } from "./state";
import "./style.css";

export function StoryPanel({ app }: { app: App }) {
  const story = app.use(createStory);
  const step = story.step.value;
  if (!step) return null;
  const [at, count] = [story.at.value, story.steps.value.length];
  return (
    <section class="vene-story" aria-label={`Step ${at + 1} of ${count}`}>
      <div class="vene-story-words">
        <h3 class="vene-story-title">{step.title}</h3>
        {step.text && <p class="vene-story-text">{step.text}</p>}
        {step.question && <p class="vene-story-question">{step.question}</p>}
        {step.choices.length > 0 && <Choices app={app} />}
        {!story.isThere.value && (
          <p class="vene-story-away">
            You have changed the experiment.{" "}
            <Button
              onClick={(event) => {
                backToScreen(event);
                story.walk(at);
              }}
            >
              Return to step {at + 1}
            </Button>
          </p>
        )}
      </div>
      <div class="vene-story-walk">
        <Go app={app} to={at - 1} isDisabled={at === 0} name="Previous step" keys="ArrowLeft">
          ←
        </Go>
        <span class="vene-story-count vene-number">
          {at + 1} / {count}
        </span>
        <Go app={app} to={at + 1} isDisabled={at === count - 1} name="Next step" keys="ArrowRight">
          →
        </Go>
      </div>
    </section>
  );
}

interface GoProps {
  app: App;
  to: number;
  isDisabled: boolean;
  name: string;
  keys: string;
  children: string;
}

function Go({ app, to, isDisabled, name, keys, children }: GoProps) {
  return (
    <Button
      aria-label={name}
      aria-keyshortcuts={keys}
      title={`${name} (${children})`}
      // Not `disabled`, which would drop the focus at the end of the story.
      aria-disabled={isDisabled}
      onClick={(event) => {
        backToScreen(event);
        if (!isDisabled) app.use(createStory).walk(to);
      }}
    >
      {children}
    </Button>
  );
}

/** The sign of a choice takes the place of its letter, so that marking one moves nothing. */
function Choices({ app }: { app: App }) {
  const { step: stepSignal, isThere } = app.use(createStory);
  const { choice, isMarked, isCovered, isOn, choose } = app.use(createLecture);
  const step = stepSignal.value;
  const isOpen = isThere.value && (!isOn.value || isCovered.value);
  return (
    <ol class="vene-choices" aria-label="Answers">
      {step?.choices.map((text, index) => {
        const isChosen = choice.value === index;
        const isRight = isMarked.value && step.answer === index;
        const isWrong = isMarked.value && isChosen && step.answer !== null && !isRight;
        const verdict = isRight ? "right" : isWrong ? "wrong" : undefined;
        return (
          <li key={text}>
            <PlainButton
              class="vene-choice"
              data-verdict={verdict}
              aria-pressed={isChosen}
              aria-disabled={!isOpen}
              onClick={(event) => {
                backToScreen(event);
                choose(index);
              }}
            >
              <kbd class="vene-choice-key" aria-label={verdict}>
                {isRight ? "✓" : isWrong ? "✗" : letterOf(index)}
              </kbd>
              {text}
            </PlainButton>
          </li>
        );
      })}
    </ol>
  );
}

const letterOf = (index: number) => String.fromCharCode(65 + index);
