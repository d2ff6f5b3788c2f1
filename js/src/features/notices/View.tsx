// What went wrong, in the kernel's words, until the next good request or until it is dismissed.
import type { App } from "../../app/app";
import { IconButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";
import { createNotices } from "./state";
import "./style.css";

export function Notices({ app }: { app: App }) {
  const text = app.use(createNotices).error.value;
  if (text === null) return <Note app={app} />;
  return (
    <div class="vene-alert" role="alert">
      <span class="vene-alert-mark" aria-hidden="true">
        !
      </span>
      <p class="vene-alert-text">{text}</p>
      <IconButton name="Dismiss" onPress={app.use(createNotices).dismiss}>
        <CrossIcon />
      </IconButton>
    </div>
  );
}

/** What the user should know besides: that the model has changed. */
function Note({ app }: { app: App }) {
  const text = app.use(createNotices).note.value;
  if (text === null) return null;
  return (
    <div class="vene-alert vene-alert-note" role="status">
      <span class="vene-alert-mark" aria-hidden="true">
        i
      </span>
      <p class="vene-alert-text">{text}</p>
      <IconButton name="Dismiss" onPress={app.use(createNotices).dismissNote}>
        <CrossIcon />
      </IconButton>
    </div>
  );
}
