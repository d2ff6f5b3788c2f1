// Past experiments as chips in one line. Click returns, shift-click compares, a name keeps one.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { actionOf, consume } from "../../app/keys";
import { positionsOf, toPlain } from "../../domain/experiments";
import { blockWords, inPercent } from "../../domain/format";
import { isHeld } from "../../domain/held";
import { OLD, titleOf } from "../../domain/sides";
import type { PastEntry, Scene } from "../../kernel/wire";
import { Button, Panel, PlainButton } from "../../ui/controls";
import { NameField } from "../../ui/NameField";
import { onResize } from "../../ui/onResize";
import { isTouch } from "../../ui/touch";
import { createCompare } from "../compare/state";
import { createStory } from "../story/state";
import { createHistory } from "./state";
import "./style.css";

export function HistoryPanel({ app }: { app: App }) {
  const scene = app.use(createStory).scene.value;
  const { entries, current, refused } = app.use(createHistory);
  const { modelSince, refusal } = app.use(createExperiment);
  const isFixed = app.kernel.offline !== null;
  const strip = useRef<HTMLDivElement>(null);
  /** The chip that Tab reaches, as long as the one on the screen stays; else it is that one. */
  const focused = useSignal<{ number: number; here: number | null } | null>(null);
  const naming = useSignal<number | null>(null);
  const here = current.value?.number ?? null;
  const count = entries.value.length;
  const showHere = () => reveal(strip.current?.querySelector<HTMLElement>("[aria-current]"));
  // A chip's width changes with the prompts, the strip's with the window.
  useEffect(showHere, [here, count, scene]);
  useEffect(() => onResize(strip.current, showHere), []);

  const moved = focused.value?.here === here ? focused.value.number : null;
  const stop = entries.value.some((entry) => entry.number === moved)
    ? moved
    : (here ?? entries.value.at(-1)?.number);
  const named = entries.value.find((entry) => entry.number === naming.value);

  function go(to: Element | null | undefined): void {
    if (!isChip(to)) return;
    focused.value = { number: Number(to.dataset.number), here };
    to.focus();
    reveal(to);
  }

  function onKey(event: KeyboardEvent, entry: PastEntry): void {
    const chip = event.currentTarget as HTMLElement;
    const action = actionOf("history", event);
    if (!action) return;
    if (isFixed && (action === "compare" || action === "name")) return;
    if (action === "compare") app.use(createCompare).compareWith(entry);
    else if (action === "left") go(chip.previousElementSibling);
    else if (action === "right") go(chip.nextElementSibling);
    else if (action === "first") go(chip.parentElement?.querySelector(".vene-past"));
    else if (action === "last") go([...(chip.parentElement?.children ?? [])].findLast(isChip));
    else naming.value = entry.number;
    consume(event);
  }

  return (
    <Panel
      name="History"
      area="history"
      tools={
        <span class="vene-tools-end">
          {isFixed ? null : named ? (
            <NameField
              key={named.number}
              name={`Name of ${titleOf(named)}`}
              value={named.name ?? ""}
              placeholder="name"
              isKept
              onDone={(text, isKey) => {
                naming.value = null;
                if (text !== null) app.use(createHistory).name(named, text);
                if (isKey) go(strip.current?.querySelector(`[data-number="${named.number}"]`));
              }}
            />
          ) : (
            <Button
              disabled={here === null}
              title="Name the experiment on the screen: it then stays in the history (F2)"
              onClick={() => {
                naming.value = here;
              }}
            >
              {current.value?.name ? "Rename" : "Name"}
            </Button>
          )}
        </span>
      }
    >
      <div class="vene-history-chips" role="toolbar" aria-label="Past experiments" ref={strip}>
        {entries.value.map((entry) => (
          <Chip
            key={entry.number}
            entry={entry}
            place={placeOf(entry, scene)}
            isCurrent={entry.number === here}
            isOld={entry.revision < modelSince.value}
            refusal={refusal(toPlain(entry.experiment))}
            isStop={entry.number === stop}
            onPress={(event) => {
              focused.value = { number: entry.number, here };
              if (event.shiftKey && !isFixed) app.use(createCompare).compareWith(entry);
              else app.use(createExperiment).commit(toPlain(entry.experiment));
            }}
            onName={() => {
              if (!isFixed) naming.value = entry.number;
            }}
            onKey={(event) => onKey(event, entry)}
          />
        ))}
      </div>
      {refused.value === null ? (
        <p class="vene-history-words">
          {isTouch() ? "Tap" : "Click"} to return
          {isFixed || isTouch() ? "." : "; Shift-click to compare with now."}
        </p>
      ) : (
        <p class="vene-history-words vene-history-refused" role="alert">
          {refused.value}
        </p>
      )}
    </Panel>
  );
}

interface ChipProps {
  entry: PastEntry;
  /** Where it acts: `L0 ␣Spain +1`. */
  place: string;
  isCurrent: boolean;
  /** Whether its result is of an older state of the model. */
  isOld: boolean;
  /** Why it cannot be returned to. */
  refusal: string | null;
  /** Whether Tab stops here. */
  isStop: boolean;
  onPress(event: MouseEvent): void;
  onName(): void;
  onKey(event: KeyboardEvent): void;
}

function Chip(props: ChipProps) {
  const { entry, place, isCurrent, isOld, refusal, isStop, onPress, onName, onKey } = props;
  const experiment = toPlain(entry.experiment);
  const count = experiment.slots.length;
  const slots = count === 1 ? "1 slot" : `${count || "no"} slots`;
  const p = inPercent(entry.probability);
  const old = isOld ? OLD : "";
  const [name, answer] = [entry.name ?? place, `${entry.label.replace(/^␣/, "")} ${p}`];
  const number = entry.name === null ? `#${entry.number}: ` : "";
  return (
    <PlainButton
      class="vene-past"
      data-number={entry.number}
      aria-current={isCurrent || undefined}
      data-old={isOld || undefined}
      aria-label={`${number}${name} ${answer}, ${slots}${old && `, ${old}`}`}
      title={`${titleOf(entry)} · ${slots} · ${entry.experiment.base}\n${entry.sentence}${old && ` (${old})`}\n${refusal ?? "Click to return, Shift-click to compare, F2 to name."}`}
      // Not `disabled`: the arrows go over it, and its title is read.
      aria-disabled={refusal !== null || undefined}
      tabIndex={isStop ? 0 : -1}
      onClick={onPress}
      onDblClick={onName}
      onKeyDown={onKey}
    >
      <span class="vene-past-name">{name}</span> <span class="vene-past-answer">{answer}</span>
    </PlainButton>
  );
}

function isChip(element: Element | null | undefined): element is HTMLElement {
  return element?.classList.contains("vene-past") ?? false;
}

/**
 * Where an experiment acts, in few characters: its first live slot, and how many more there are. Held
 * ones, which many experiments share, come last.
 */
function placeOf(entry: PastEntry, scene: Scene | null): string {
  const { base, slots } = toPlain(entry.experiment);
  const live = slots.filter((slot) => !slot.skip);
  const [first, ...more] = [...live.filter(({ hold }) => !hold), ...live.filter(isHeld)];
  if (!first) return "base";
  const [position = 0] = positionsOf(first);
  const isHere = scene !== null && scene.experiment.base === base;
  const token = (isHere && scene.base[position]?.label) || `#${position}`;
  return `${blockWords(first)} ${token}${more.length > 0 ? ` +${more.length}` : ""}`;
}

/** Scrolls the strip, and nothing around it, until a chip is in sight. */
function reveal(chip: HTMLElement | null | undefined): void {
  const strip = chip?.parentElement;
  if (!chip || !strip) return;
  // At its end the strip fades out over 24 pixels.
  const [start, end] = [chip.offsetLeft - 8, chip.offsetLeft + chip.offsetWidth + 24];
  if (start < strip.scrollLeft) strip.scrollLeft = start;
  else if (end > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = end - strip.clientWidth;
}
