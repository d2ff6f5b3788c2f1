// The drawer below the screen: one tab open at a time, and in sight when it is opened.
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import type { Tab } from "../../app/tabs";
import { IconButton, PlainButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";
import { createSlots } from "../slots/state";

import { createDrawer } from "./state";
import "./style.css";

export function Drawer({ app, tabs: all }: { app: App; tabs: readonly Tab[] }) {
  const tabs = all.filter(({ isKept }) => !app.kernel.offline || (isKept?.(app) ?? true));
  const drawer = app.use(createDrawer);
  const panel = useRef<HTMLElement>(null);
  const { shown } = drawer;
  const { closeDetails } = app.use(createSlots);
  const asked = shown.value;
  const before = useRef(asked);
  useEffect(() => {
    if (asked !== before.current) panel.current?.scrollIntoView?.({ block: "nearest" });
    before.current = asked;
  }, [asked]);
  const open = tabs.find(({ name }) => name === drawer.tab.value);
  const stop = open?.name ?? tabs[0]?.name;

  function move(event: KeyboardEvent, by: number): void {
    const from = tabs.findIndex(({ name }) => name === stop);
    const next = tabs[(from + by + tabs.length) % tabs.length];
    if (!next) return;
    drawer.open(next.name);
    const list = (event.currentTarget as HTMLElement).parentElement;
    list?.querySelector<HTMLElement>(`[data-opens="${next.name}"]`)?.focus();
    consume(event);
  }

  function close(): void {
    drawer.close();
    panel.current?.querySelector<HTMLElement>("[role=tab][tabindex='0']")?.focus();
  }

  return (
    <section
      class="vene-drawer"
      data-panel="drawer"
      data-tab={open?.name}
      aria-label="Drawer"
      // A slot's details lie over the drawer: what has the focus is not left below them.
      onFocusIn={closeDetails}
      ref={panel}
    >
      <div class="vene-tabs" role="tablist" aria-label="Figure, code and tables">
        {tabs.map(({ name, title }) => (
          <PlainButton
            key={name}
            class="vene-tab"
            role="tab"
            data-opens={name}
            aria-selected={name === open?.name}
            aria-expanded={name === open?.name}
            tabIndex={name === stop ? 0 : -1}
            onClick={() => drawer.open(name)}
            onKeyDown={(event) => {
              const action = actionOf("drawer", event);
              if (action) move(event, action === "next" ? 1 : -1);
            }}
          >
            {title}
          </PlainButton>
        ))}
      </div>
      {open && (
        <>
          <span class="vene-drawer-close">
            <IconButton name="Close the drawer" onPress={close}>
              <CrossIcon />
            </IconButton>
          </span>
          <div class="vene-tab-panel" role="tabpanel" aria-label={open.title}>
            <open.View app={app} />
          </div>
        </>
      )}
    </section>
  );
}
