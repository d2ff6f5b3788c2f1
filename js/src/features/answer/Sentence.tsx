// The result in one plain sentence, seen at once and heard when it is exact.
import type { State } from "../../app/state";

export function Sentence({ state }: { state: State }) {
  const isOld = state.label.value === "busy" || state.label.value === "none";
  return (
    <p class={`vene-sentence${isOld ? " vene-old" : ""}`}>
      {state.shown.value?.sentence ?? "The first answer is being computed."}
    </p>
  );
}

/** The same for screen readers: every exact answer once, previews and covered answers never. */
export function Heard({ state }: { state: State }) {
  const isSaid = state.label.value === "exact" && !state.lecture.isCovered.value;
  return (
    <p class="vene-heard" role="status" aria-live="polite">
      {isSaid && state.shown.value?.sentence}
    </p>
  );
}
