// What went wrong, in the kernel's words, until the next good request or until it is dismissed.
import type { State } from "../state";
import { IconButton } from "./controls";
import { CrossIcon } from "./icons";

export function Alert({ state }: { state: State }) {
  const text = state.error.value;
  if (text === null) return null;
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
