// The result in one plain sentence, seen at once and spoken when it is exact.
import type { App } from "../../app/app";
import { createLecture } from "../lecture/state";
import { createAnswer } from "./state";

export function Sentence({ app }: { app: App }) {
  const { label, shown } = app.use(createAnswer);
  const isOld = label.value === "busy" || label.value === "none";
  const text = shown.value?.sentence ?? "The first answer is being computed.";
  const [what, numbers] = parts(text);
  return (
    <p class={`vene-sentence${isOld ? " vene-old" : ""}`} title={text}>
      <span class="vene-sentence-what">
        {what}
        {numbers && <span class="vene-sentence-colon">: </span>}
      </span>
      {numbers && <span class="vene-sentence-numbers">{numbers}</span>}
    </p>
  );
}

/** What happened, and the numbers after its colon. */
function parts(text: string): [string, string] {
  const at = text.search(/: (?=[“\d<>])/);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 2)];
}

/** The same for screen readers: every exact answer once, previews and covered answers never. */
export function Spoken({ app }: { app: App }) {
  const { label, shown } = app.use(createAnswer);
  const isSaid = label.value === "exact" && !app.use(createLecture).isCovered.value;
  return (
    <p class="vene-visually-hidden" role="status" aria-live="polite">
      {isSaid && shown.value?.sentence}
    </p>
  );
}
