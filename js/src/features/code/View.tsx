// The script that reproduces the result, to copy; lines that the last change made are marked.

import type { App } from "../../app/app";
import { CopyButton } from "../../ui/CopyButton";
import { Panel, Select } from "../../ui/controls";
import { createAnswer } from "../answer/state";
import { createCode, FACES, type Face } from "./state";
import "./style.css";

export function CodePanel({ app }: { app: App }) {
  const code = app.use(createCode);
  const script = code.script.value;
  const question = code.question.value;
  const isOld = app.use(createAnswer).label.value !== "exact";
  return (
    <Panel
      name="Code"
      area="code"
      tools={
        <span class="vene-tools-end">
          {isOld && script && <span class="vene-note">of the last exact result</span>}
          <Select
            name="Names of"
            value={code.face.value}
            options={Object.entries(FACES).map(([value, text]) => ({ value, text }))}
            onChoose={(value) => {
              code.face.value = value as Face;
            }}
          />
          {script?.text && <CopyButton text={script.text} name="Copy" />}
        </span>
      }
    >
      {script?.text ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
        <pre class={`vene-code${isOld ? " vene-old" : ""}`} tabIndex={0}>
          {code.lines.value.map((line, n) => (
            <code key={n} class={line.isChanged ? "vene-code-changed" : undefined}>
              {line.text}
              {"\n"}
            </code>
          ))}
        </pre>
      ) : (
        <p class="vene-hint">{script?.why ?? "The code is written with the first answer."}</p>
      )}
      {script?.text && question && (
        <div class="vene-ask">
          <span class="vene-note">Ask more:</span>
          <Select
            name="Ask more"
            value={question.name}
            options={code.questions.value.map(({ name }) => ({ value: name, text: name }))}
            onChoose={(value) => {
              code.asked.value = value;
            }}
          />
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys */}
          <code class="vene-ask-line" tabIndex={0}>
            {question.code}
          </code>
          <CopyButton text={question.code} name="Copy line" />
        </div>
      )}
    </Panel>
  );
}
