// What clicks and keys do, listed on demand.
const GESTURES = [
  ["Click · Enter", "this tile alone is the experiment"],
  ["Shift-click · Shift-Enter", "add the tile to the group, or take it out"],
  ["Alt-click", "add the tile in a new group"],
  ["Arrows, Home, End, Page keys", "move on the map"],
  ["Space", "skip the slot at the tile, or wake it"],
  ["L", "slots of the tile’s group share weights, or part"],
  ["1 … 9", "choose a subspace of the slot at the tile"],
  ["G · U", "group all slots · ungroup them"],
  ["C", "compare any two runs"],
  ["Click, Shift-click in the history", "go back · compare with the present; F2 names it"],
  ["Ctrl-Z · Ctrl-Y", "undo · redo"],
  ["Double-click a prompt", "edit it; Enter runs it, Escape leaves it"],
  ["Escape", "clear the readout"],
  ["?", "open or close this list"],
] as const;

export function Help() {
  return (
    <dl class="vene-help">
      {GESTURES.map(([keys, meaning]) => (
        <div key={keys}>
          <dt>{keys}</dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}
