// Generate: what the model writes after the base prompt, without the slots and with them.
import { useSignal } from "@preact/signals";
import type { App } from "../../app/app";
import { actionOf, consume } from "../../app/keys";
import { inPercent } from "../../domain/format";
import type { GeneratedTexts, NewToken } from "../../kernel/wire";
import { CopyButton } from "../../ui/CopyButton";
import { Button, NumberField, Panel, PlainButton, Select } from "../../ui/controls";
import { createMap } from "../map/state";
import { createGeneration, type Run } from "./state";
import "./style.css";

/** A token of one of the texts. */
interface Spot {
  run: Run;
  step: number;
}

const ON = {
  prompt: "slots act on the prompt",
  every: "slots act on the prompt and every new token",
};

export function GenerationPanel({ app }: { app: App }) {
  const { shown, problem, whyOld } = app.use(createGeneration);
  /** The token that is pointed at or has the focus. */
  const hot = useSignal<Spot | null>(null);
  const texts = shown.value;
  const old = whyOld.value;
  return (
    <Panel name="Generate" area="generation" tools={<Tools app={app} />}>
      {problem.value && (
        <p class="vene-compare-error" role="alert">
          {problem.value}
        </p>
      )}
      {texts ? (
        <>
          <div
            class={`vene-texts${old ? " vene-old" : ""}`}
            data-one={texts.patched.length === 0 && texts.running !== "patched"}
          >
            {(["base", "patched"] as const).map((run) => (
              <Text key={run} app={app} texts={texts} run={run} hot={hot} />
            ))}
          </div>
          <p class="vene-note vene-texts-words">
            {(old ?? texts.note) && <strong>{old ?? texts.note} </strong>}
            {hot.value ? wordsOf(texts, hot.value) : difference(texts)}
          </p>
        </>
      ) : (
        !problem.value && (
          <p class="vene-hint">
            The model goes on after the base prompt, once as it is and once with the slots; each new
            token is the most likely one.
          </p>
        )
      )}
    </Panel>
  );
}

function Tools({ app }: { app: App }) {
  const { shown, count, on, choose, isRunning, run, stop } = app.use(createGeneration);
  const texts = shown.value;
  return (
    <>
      {!app.kernel.offline && (
        <>
          <span class="vene-texts-count">
            <NumberField
              name="Number of new tokens"
              value={count.value}
              min={1}
              step={1}
              onChoose={(value) => choose({ count: value ?? 1 })}
            />
            <span class="vene-note">new tokens</span>
          </span>
          <Select
            name="Where the slots act"
            value={on.value}
            options={[
              { value: "prompt", text: ON.prompt },
              { value: "every", text: ON.every },
            ]}
            onChoose={(value) => choose({ on: value as GeneratedTexts["on"] })}
          />
          {isRunning.value ? (
            <Button onClick={stop}>Stop</Button>
          ) : (
            <Button title="Write both texts, token by token" onClick={run}>
              Generate
            </Button>
          )}
        </>
      )}
      {texts && texts.base_text !== null && (
        <span class="vene-tools-end">
          <CopyButton name="Copy" title="Both texts, with the prompt" text={copied(texts)} />
        </span>
      )}
    </>
  );
}

interface TextProps {
  app: App;
  texts: GeneratedTexts;
  run: Run;
  hot: { value: Spot | null };
}

function Text({ app, texts, run, hot }: TextProps) {
  const stop = useSignal(0);
  const lens = app.use(createMap);
  const tokens = texts[run];
  const isWriting = texts.running === run;
  if (run === "patched" && tokens.length === 0 && !isWriting) return null;

  const leave = () => {
    hot.value = null;
  };

  function onKey(event: KeyboardEvent): void {
    const action = actionOf("tokens", event);
    if (!action || action === "put") return;
    const pieces = [...(event.currentTarget as HTMLElement).querySelectorAll("button")];
    const here = pieces.indexOf(event.target as HTMLButtonElement);
    const to = { left: here - 1, right: here + 1, first: 0, last: pieces.length - 1 }[action];
    pieces[to]?.focus();
    consume(event);
  }

  return (
    <div class="vene-text" data-run={run}>
      <span class="vene-note">{run === "base" ? run : `patched: ${ON[texts.on]}`}</span>
      <div
        class="vene-text-tokens"
        role="toolbar"
        aria-label={`New tokens, ${run}`}
        aria-busy={isWriting}
        onKeyDown={onKey}
        onPointerLeave={leave}
        onFocusOut={leave}
      >
        <span class="vene-dim">{texts.experiment.base}</span>
        {tokens.map((token, step) => (
          <PlainButton
            key={step}
            class="vene-bare vene-piece"
            style={`--vene-p: ${token.probability}`}
            data-differs={step === texts.differs}
            aria-label={`${token.label} ${inPercent(token.probability)}${step === texts.differs ? ", first difference" : ""}`}
            tabIndex={step === Math.min(stop.value, tokens.length - 1) ? 0 : -1}
            onPointerEnter={() => {
              hot.value = { run, step };
            }}
            onFocus={() => {
              stop.value = step;
              hot.value = { run, step };
            }}
            onClick={() => {
              if (!app.kernel.offline) lens.pick(token.id);
            }}
          >
            {token.text.replaceAll("\n", "↵\n")}
          </PlainButton>
        ))}
        {isWriting && <span class="vene-text-caret" aria-hidden="true" />}
      </div>
    </div>
  );
}

/** A token in words. */
function wordsOf(texts: GeneratedTexts, { run, step }: Spot): string {
  const token = texts[run][step];
  if (!token) return "";
  const best =
    token.rank === 1 ? "" : ` · most likely ${token.best} ${inPercent(token.best_probability)}`;
  return `${run}, new token ${step + 1}: ${said(token)} · rank ${token.rank}${best}`;
}

/** Where both texts part. */
function difference({ differs, base, patched, running, base_text }: GeneratedTexts): string {
  if (running) return `Writing ${running} …`;
  if (differs === null && base_text === null) return "";
  if (patched.length === 0) return "No slot is live, so there is one text.";
  if (differs === null) return `Both texts have the same ${base.length} new tokens.`;
  const words = [base[differs], patched[differs]].map((one) => (one ? said(one) : "the end"));
  return `≠ First difference at new token ${differs + 1}: ${words[0]} in base, ${words[1]} in patched`;
}

const said = ({ label, probability }: NewToken) => `${label} ${inPercent(probability)}`;

function copied({ experiment, base_text, patched_text }: GeneratedTexts): string {
  const lines = [`base: ${experiment.base}${base_text}`];
  if (patched_text !== null) lines.push(`patched: ${experiment.base}${patched_text}`);
  return `${lines.join("\n")}\n`;
}
