// Whether the list of clicks and keys is open.
import { signal } from "@preact/signals";

export function createHelp() {
  const isOpen = signal(false);
  return {
    isOpen,
    toggle(): void {
      isOpen.value = !isOpen.peek();
    },
  };
}
