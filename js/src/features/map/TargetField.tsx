// A token that the map's metric speaks of: from the menu, or typed as it is shown, or by its id.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { consume } from "../../app/keys";
import { Select } from "../../ui/controls";
import type { Role } from "./state";
import { createMap } from "./state";

const TYPE = "type";

interface Props {
  app: App;
  which: Role;
  name: string;
}

export function TargetField({ app, which, name }: Props) {
  const lens = app.use(createMap);
  const isTyping = useSignal(false);
  const asked = lens.asked.value?.role === which ? lens.asked.value : null;
  const targets = lens.targets.value;
  if (targets.length === 0) return null;
  const close = () => {
    isTyping.value = false;
    lens.forget();
  };
  return (
    <span class="vene-target">
      {isTyping.value || asked ? (
        <Typed
          name={name}
          text={asked?.text ?? ""}
          error={asked?.error ?? null}
          isWaiting={asked?.error === null}
          onDone={(text) => {
            isTyping.value = false;
            lens.ask(which, text);
          }}
          onLeave={close}
        />
      ) : (
        <Select
          name={name}
          value={String(targets[lens.aim.value[which]]?.token_id)}
          options={[
            ...targets.map(({ token_id, label }) => ({
              value: String(token_id),
              text: label,
              title: `id ${token_id}`,
            })),
            ...(!app.kernel.offline ? [{ value: TYPE, text: "type a token…" }] : []),
          ]}
          onChoose={(value) => {
            if (value === TYPE) isTyping.value = true;
            else lens.choose(which, Number(value));
          }}
        />
      )}
    </span>
  );
}

interface TypedProps {
  name: string;
  text: string;
  error: string | null;
  isWaiting: boolean;
  onDone(text: string): void;
  onLeave(): void;
}

function Typed({ name, text, error, isWaiting, onDone, onLeave }: TypedProps) {
  const field = useRef<HTMLInputElement>(null);
  // At once: the next key typed must not go to the notebook.
  useLayoutEffect(() => field.current?.focus(), []);
  return (
    <span class="vene-target-typed">
      <input
        ref={field}
        class="vene-field vene-target-input"
        type="text"
        aria-label={`${name}, typed`}
        aria-invalid={error !== null}
        placeholder="␣text or id"
        title="The token’s text, its leading space included, or its id. Enter takes it, Escape leaves."
        spellcheck={false}
        autocomplete="off"
        defaultValue={text}
        onInput={(event) => {
          const { value, selectionStart } = event.currentTarget;
          if (!value.includes(" ")) return;
          event.currentTarget.value = value.replaceAll(" ", "␣");
          event.currentTarget.setSelectionRange(selectionStart, selectionStart);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") onLeave();
          else if (event.key === "Enter" && event.currentTarget.value)
            onDone(event.currentTarget.value);
          else return;
          consume(event);
        }}
        onBlur={(event) => {
          if (event.currentTarget.value === "") onLeave();
        }}
      />
      {(error || isWaiting) && (
        <span
          key={error}
          class={`vene-popover vene-target-error${error ? "" : " vene-dim"}`}
          role={error ? "alert" : "status"}
        >
          {error ?? "asking the kernel…"}
        </span>
      )}
    </span>
  );
}
