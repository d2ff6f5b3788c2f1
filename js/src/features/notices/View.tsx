// What went wrong, in the kernel's words, until the next good request or until it is dismissed.
import type { App } from "../../app/app";
import { IconButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";
import { createNotices } from "./state";
import "./style.css";

export function Notices({ app }: { app: App }) {
  const { error, note, dismiss, dismissNote } = app.use(createNotices);
  if (error.value) return <Notice key="error" text={error.value} onDismiss={dismiss} />;
  if (!note.value) return null;
  return <Notice key="note" text={note.value} isNote onDismiss={dismissNote} />;
}

/** A note is what the user should know besides: that the model has changed, or the kernel is gone. */
function Notice(props: { text: string; isNote?: boolean; onDismiss(): void }) {
  const { text, isNote = false, onDismiss } = props;
  return (
    <div
      data-passing
      class={`vene-alert${isNote ? " vene-alert-note" : ""}`}
      role={isNote ? "status" : "alert"}
    >
      <span class="vene-alert-mark" aria-hidden="true">
        {isNote ? "i" : "!"}
      </span>
      <p class="vene-alert-text">{text}</p>
      <IconButton name="Dismiss" onPress={onDismiss}>
        <CrossIcon />
      </IconButton>
    </div>
  );
}
