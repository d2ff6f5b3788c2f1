// The result in one plain sentence, seen at once and heard when it is exact.
import type { App } from "../../app/app";
import { createLecture } from "../lecture/state";
import { createAnswer } from "./state";

export function Sentence({ app }: { app: App }) {
  const isOld =
    app.use(createAnswer).label.value === "busy" || app.use(createAnswer).label.value === "none";
  return (
    <p class={`vene-sentence${isOld ? " vene-old" : ""}`}>
      {app.use(createAnswer).shown.value?.sentence ?? "The first answer is being computed."}
    </p>
  );
}

/** The same for screen readers: every exact answer once, previews and covered answers never. */
export function Heard({ app }: { app: App }) {
  const isSaid =
    app.use(createAnswer).label.value === "exact" && !app.use(createLecture).isCovered.value;
  return (
    <p class="vene-heard" role="status" aria-live="polite">
      {isSaid && app.use(createAnswer).shown.value?.sentence}
    </p>
  );
}
