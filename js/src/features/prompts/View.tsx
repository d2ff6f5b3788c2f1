// The prompts: the base, its sources, and which source token goes into which base token.

import { useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { freshSource, type Plain, setBase, setPrompt } from "../../domain/experiments";
import {
  exchange,
  follow,
  idsOf,
  readersOf,
  removeSource,
  renameSource,
  whyNotSource,
} from "../../domain/prompts";
import { namesOf, promptOf, tokensOf } from "../../domain/sources";
import type { Scene, TokenInfo } from "../../kernel/wire";
import { Button, IconButton } from "../../ui/controls";
import { CrossIcon, PlusIcon, SwapIcon } from "../../ui/icons";
import { createAnswer } from "../answer/state";
import { BaseChips } from "./BaseChips";
import { createCarry, unpair } from "./carry";
import { Prompt } from "./Prompt";
import { PromptField } from "./PromptField";
import { createPairing } from "./pairing";
import { SourceChips } from "./SourceChips";
import { useEntry } from "./useEntry";

interface Props {
  app: App;
  scene: Scene;
  experiment: Plain;
}

export function Prompts({ app, scene, experiment }: Props) {
  const carry = app.use(createCarry);
  const { now: newest, kinds: all, commit } = app.use(createExperiment);
  const kinds = all.value;
  const names = namesOf(experiment.sources);
  const isBaseSplit = experiment.base === scene.experiment.base;
  const base = isBaseSplit ? scene.base : null;
  const splitTokens = (name: string) =>
    promptOf(experiment.sources, name) === promptOf(scene.experiment.sources ?? [], name)
      ? (tokensOf(scene.sources, name) ?? null)
      : null;
  /** What a prompt's plain run predicts, once it has run. */
  const predictionOf = (role: string, name = "base") =>
    app.use(createAnswer).last.value?.runs.find((run) => run.role === role && run.name === name)
      ?.top[0];
  /** Pairs are told where they are not one to one. */
  const pairsOf = (name: string, tokens: TokenInfo[]) =>
    base && (tokens.length !== base.length || app.use(createPairing).isByHand(name))
      ? app.use(createPairing).of(name)
      : null;
  const hasCaptions = names.some((name) => pairsOf(name, splitTokens(name) ?? []) !== null);

  const fresh = useRef("");
  const entry = useEntry(app, {
    current: () => promptOf(newest.peek()?.sources ?? [], fresh.current),
    commit: (text) => {
      const now = newest.peek() ?? experiment;
      fresh.current = freshSource(now, text);
      commit(setPrompt(now, fresh.current, text));
    },
  });
  const add = !entry.isOpen.value && !app.kernel.offline && (
    <Button
      look="vene-add-source"
      title="Add a source prompt"
      onClick={() => {
        fresh.current = "";
        entry.open();
      }}
    >
      <PlusIcon /> {names.length === 0 ? "Add a source prompt" : "source"}
    </Button>
  );

  function edit(source: string | null, text: string, tokens: TokenInfo[] | null): void {
    const now = newest.peek() ?? experiment;
    const before = source === null ? base : splitTokens(source);
    const moved = tokens && before ? follow(now, source, idsOf(before), idsOf(tokens), kinds) : now;
    commit(source === null ? setBase(moved, text) : setPrompt(moved, source, text));
  }

  function swap(name: string): void {
    const now = newest.peek() ?? experiment;
    const [one, other] = [base, splitTokens(name)];
    if (one && other) commit(exchange(now, name, idsOf(one), idsOf(other), kinds));
  }

  return (
    <div class="vene-prompts">
      <Prompt
        app={app}
        source={null}
        text={experiment.base}
        tokens={base}
        against={null}
        prediction={predictionOf("base")}
        chips={(tokens) => <BaseChips tokens={tokens} carry={carry} hasCaptions={hasCaptions} />}
        onCommit={(text, tokens) => edit(null, text, tokens)}
      />
      {names.map((name) => (
        <Prompt
          key={name}
          app={app}
          source={name}
          text={promptOf(experiment.sources, name) ?? ""}
          tokens={splitTokens(name)}
          against={base}
          prediction={predictionOf("source", name)}
          chips={(tokens) => (
            <SourceChips
              name={name}
              tokens={tokens}
              against={base}
              carry={carry}
              pairs={pairsOf(name, tokens)}
              refusal={app.kernel.offline}
            />
          )}
          onCommit={(text, tokens) => edit(name, text, tokens)}
          whyNot={(wanted) => whyNotSource(experiment, name, wanted)}
          onRename={(wanted) => commit(renameSource(experiment, name, wanted))}
          note={
            <PairNote
              app={app}
              name={name}
              isUneven={!app.kernel.offline && splitTokens(name)?.length !== base?.length}
            />
          }
        >
          <IconButton
            name={`Swap base and ${name}`}
            title="Swap base and source: what was restored is corrupted, and the other way round"
            isDisabled={base === null || splitTokens(name) === null}
            onPress={() => swap(name)}
          >
            <SwapIcon />
          </IconButton>
          <RemoveSource
            name={name}
            readers={readersOf(experiment, name, kinds).length}
            onPress={() => commit(removeSource(experiment, name, kinds))}
          />
          {name === names.at(-1) && add}
        </Prompt>
      ))}
      {names.length === 0 && add}
      {entry.isOpen.value && (
        <div class="vene-prompt">
          <span class="vene-prompt-name">new source</span>
          <PromptField
            app={app}
            entry={entry}
            name="New source"
            text=""
            tokens={null}
            against={base}
          />
        </div>
      )}
      {carry.held.value && (
        <p class="vene-note vene-carry" aria-live="assertive">
          {carry.held.value.label} is picked up: choose a base token with arrows and Enter or a
          click; Escape puts it back.
        </p>
      )}
    </div>
  );
}

function RemoveSource(props: { name: string; readers: number; onPress(): void }) {
  const { name, readers, onPress } = props;
  const slots = readers === 1 ? "1 slot that reads it" : `${readers} slots that read it`;
  const title = `Remove source ${name}${readers > 0 ? ` with ${slots}` : ""}`;
  return (
    <Button look="vene-quiet-button" aria-label={title} title={title} onClick={onPress}>
      <CrossIcon />
    </Button>
  );
}

/** How tokens are paired where that is not plain: by hand, or in prompts of other lengths. */
function PairNote({ app, name, isUneven }: { app: App; name: string; isUneven: boolean }) {
  const isByHand = app.use(createPairing).isByHand(name);
  if (!isByHand && !isUneven) return null;
  return (
    <span class="vene-prompt-note">
      <span class="vene-note">
        {isByHand
          ? "Paired by hand: the map and slots at that token copy as the arrows say."
          : "Tokens that differ are paired in order. Drag one to change that."}
      </span>
      {isByHand && (
        <Button
          look="vene-quiet-button"
          aria-label={`Pair ${name} as suggested`}
          onClick={() => unpair(app, name)}
        >
          As suggested
        </Button>
      )}
    </span>
  );
}
