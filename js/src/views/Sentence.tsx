// The result in one plain sentence, spoken by screen readers when it changes.
import type { State } from "../state";

export function Sentence({ state }: { state: State }) {
  const isOld = state.label.value === "busy" || state.label.value === "none";
  return (
    <p class={`vene-sentence${isOld ? " vene-old" : ""}`} role="status" aria-live="polite">
      {state.shown.value?.sentence ?? "The first answer is being computed."}
    </p>
  );
}
