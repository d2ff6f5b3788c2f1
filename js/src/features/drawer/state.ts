// Which tab of the drawer is open.
import { signal } from "@preact/signals";

/** Names of the tabs, as `app/tabs.ts` lists them. */
export function createDrawer() {
  const tab = signal<string | null>("figure");
  /** Counts requests to see the drawer: it then scrolls into view. */
  const shown = signal(0);
  return {
    tab,
    shown,
    open(name: string): void {
      tab.value = name;
      shown.value++;
    },
    /** Opens a tab, or closes the drawer when it is open already. */
    toggle(name: string): void {
      if (tab.peek() === name) tab.value = null;
      else this.open(name);
    },
    close(): void {
      tab.value = null;
    },
  };
}
