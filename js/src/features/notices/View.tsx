// What went wrong, in the kernel's words, until the next good request or until it is dismissed.
import type { State } from "../../app/state";
import { IconButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";

export function Alert({ state }: { state: State }) {
  const text = state.error.value;
  if (text === null) return <Note state={state} />;
  return (
    <div class="vene-alert" role="alert">
      <span class="vene-alert-mark" aria-hidden="true">
        !
      </span>
      <p class="vene-alert-text">{text}</p>
      <IconButton name="Dismiss" onPress={state.dismiss}>
        <CrossIcon />
      </IconButton>
    </div>
  );
}

/** What the user should know besides: that the model has changed. */
function Note({ state }: { state: State }) {
  const text = state.note.value;
  if (text === null) return null;
  return (
    <div class="vene-alert vene-alert-note" role="status">
      <span class="vene-alert-mark" aria-hidden="true">
        i
      </span>
      <p class="vene-alert-text">{text}</p>
      <IconButton name="Dismiss" onPress={state.dismissNote}>
        <CrossIcon />
      </IconButton>
    </div>
  );
}
