// Opens and closes the list of clicks and keys.
import type { App } from "../../app/app";
import { IconButton } from "../../ui/controls";
import { createHelp } from "./state";

export function HelpButton({ app }: { app: App }) {
  const { isOpen, toggle } = app.use(createHelp);
  return (
    <IconButton
      name="Clicks and keys"
      title="Clicks and keys (?)"
      isPressed={isOpen.value}
      onPress={toggle}
    >
      ?
    </IconButton>
  );
}
