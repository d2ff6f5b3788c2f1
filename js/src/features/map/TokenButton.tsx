// A next token that can be clicked: the map then shows it.
import type { App } from "../../app/app";
import { PlainButton } from "../../ui/controls";
import { createMap } from "./state";

interface Props {
  app: App;
  id: number;
  label: string;
  /** What else its title says. */
  more?: string;
}

export function TokenButton({ app, id, label, more }: Props) {
  const lens = app.use(createMap);
  const targets = lens.targets.value;
  const isShown = targets[lens.aim.value.target]?.token_id === id;
  const isHeld = !app.kernel.offline || targets.some(({ token_id }) => token_id === id);
  const canShow = lens.map.value !== null && isHeld;
  return (
    <PlainButton
      class="vene-token vene-token-button"
      aria-pressed={canShow ? isShown : undefined}
      title={`id ${id}${more ? ` · ${more}` : ""}${canShow ? " · click: the map’s token" : ""}`}
      disabled={!canShow}
      onClick={() => lens.pick(id)}
    >
      {label}
    </PlainButton>
  );
}
