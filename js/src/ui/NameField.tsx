// A short text field that stands where a name stood: Enter takes it, Escape leaves it.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  /** Accessible name. */
  name: string;
  value: string;
  /** Why this value will not do; null when it will. */
  whyNot(value: string): string | null;
  /** Null when nothing is to change. */
  onDone(value: string | null): void;
}

export function NameField({ name, value, whyNot, onDone }: Props) {
  const problem = useSignal<string | null>(null);
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  return (
    <span class="vene-name-field">
      <input
        ref={field}
        class="vene-field vene-field-text"
        type="text"
        aria-label={name}
        aria-invalid={problem.value !== null}
        title="Enter takes it, Escape leaves it as it was"
        spellcheck={false}
        defaultValue={value}
        onInput={() => {
          problem.value = null;
        }}
        onKeyDown={(event) => {
          event.stopPropagation();
          const wanted = event.currentTarget.value.trim();
          if (event.key === "Escape") onDone(null);
          if (event.key !== "Enter") return;
          problem.value = whyNot(wanted);
          if (problem.value === null) onDone(wanted === value ? null : wanted);
        }}
        onBlur={() => onDone(null)}
      />
      {problem.value !== null && (
        <span class="vene-field-error" role="alert">
          {problem.value}
        </span>
      )}
    </span>
  );
}
