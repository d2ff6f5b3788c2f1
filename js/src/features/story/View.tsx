// One step of a story: its title, its text, the question with its choices, and the way on.
import type { App } from "../../app/app";
import { backToScreen } from "../../ui/backToScreen";
import { createLecture } from "../lecture/state";
import { createStory } from "./state";

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
            The screen has left this step.{" "}
            <button
              type="button"
              class="vene-button"
              onClick={(event) => {
                backToScreen(event);
                app.use(createStory).walk(at);
              }}
            >
              Back to the step
            </button>
          </p>
        )}
      </div>
      <div class="vene-story-walk">
        <Go app={app} to={at - 1} isDisabled={at === 0} name="Step before" keys="ArrowLeft">
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
    <button
      type="button"
      class="vene-button"
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
    </button>
  );
}

function Choices({ app }: { app: App }) {
  const step = app.use(createStory).step.value;
  const { choice, isMarked, isCovered, isOn } = app.use(createLecture);
  const isOpen = !isOn.value || isCovered.value;
  return (
    <ol class="vene-choices" aria-label="Answers">
      {step?.choices.map((text, index) => {
        const isChosen = choice.value === index;
        const isRight = isMarked.value && step.answer === index;
        const isWrong = isMarked.value && isChosen && step.answer !== null && !isRight;
        return (
          <li key={text}>
            <button
              type="button"
              class="vene-choice"
              data-verdict={isRight ? "right" : isWrong ? "wrong" : undefined}
              aria-pressed={isChosen}
              aria-disabled={!isOpen}
              onClick={(event) => {
                backToScreen(event);
                app.use(createLecture).choose(index);
              }}
            >
              <kbd class="vene-choice-key">{index + 1}</kbd>
              {text}
              {isRight && <span class="vene-choice-mark">✓ right</span>}
              {isWrong && <span class="vene-choice-mark">✗ not this</span>}
              {isChosen && !isMarked.value && <span class="vene-choice-mark">chosen</span>}
            </button>
          </li>
        );
      })}
    </ol>
  );
}
