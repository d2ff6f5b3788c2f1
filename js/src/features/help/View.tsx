// What keys and clicks do, listed on demand: the keys from the table that the handlers use.
import type { App } from "../../app/app";
import { IconButton } from "../../ui/controls";
import { CrossIcon } from "../../ui/icons";
import { createHelp } from "./state";
import "./style.css";
import { type Row, type Scope, shownKeys, TABLE } from "../../app/keys";

const NAMES: Record<Scope, string> = {
  everywhere: "Everywhere",
  map: "On the map",
  attention: "On attention patterns",
  paths: "On paths",
  pairs: "On a data set",
  tokens: "On a prompt’s tokens",
  slots: "On the slots",
  history: "In the history",
  compare: "In the comparison and in a slot’s details",
  drawer: "On the drawer’s tabs",
  story: "In a story",
  lecture: "In lecture mode",
};

const CLICKS = [
  ["Click", "this tile alone is the experiment"],
  ["Shift-click", "add the tile to the group, or take it out"],
  ["Alt-click", "add the tile in a new group"],
  ["Drag", "paint tiles into one group"],
  ["Click a row’s or column’s name", "pin it"],
  ["Double-click a prompt", "edit it; Enter runs it, Escape leaves it"],
  ["Click the past", "go back to it; Shift-click compares it"],
] as const;

export function Help({ app }: { app: App }) {
  return (
    <section data-passing class="vene-help" role="dialog" aria-label="Clicks and keys">
      <div class="vene-help-close">
        <IconButton
          name="Close this list"
          title="Close (Escape)"
          onPress={app.use(createHelp).toggle}
        >
          <CrossIcon />
        </IconButton>
      </div>
      <div class="vene-help-columns">
        {(Object.keys(TABLE) as Scope[]).map((scope) => (
          <div class="vene-help-group" key={scope}>
            <h3 class="vene-help-name">{NAMES[scope]}</h3>
            <dl>
              {Object.entries<Row>(TABLE[scope]).map(([action, row]) => (
                <div key={action}>
                  <dt>
                    {shownKeys(row).map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </dt>
                  <dd>{row.says}</dd>
                </div>
              ))}
            </dl>
          </div>
        ))}
        <div class="vene-help-group">
          <h3 class="vene-help-name">Pointer</h3>
          <dl>
            {CLICKS.map(([gesture, meaning]) => (
              <div key={gesture}>
                <dt>{gesture}</dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </div>
      </div>
    </section>
  );
}
