// A short text field that stands where a name stood: Enter takes it, Escape leaves it.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  /** Accessible name. */
  name: string;
  value: string;
  placeholder?: string;
  /** Why this value will not do; null when it will. */
  whyNot?(value: string): string | null;
  /** Whether it is taken too when the field is left otherwise than by Escape. */
  isKept?: boolean;
  /** Null when nothing is to change; and whether a key ended it, so that the focus has to go on. */
  onDone(value: string | null, isKey: boolean): void;
}

export function NameField({ name, value, placeholder, whyNot, isKept, onDone }: Props) {
  const problem = useSignal<string | null>(null);
  const field = useRef<HTMLInputElement>(null);
  // A field that goes away is left as well, which would end it twice.
  const isDone = useRef(false);
  // Before the screen is painted, so that no key goes to what stood here.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  function end(text: string | null, isKey: boolean): void {
    const wanted = text?.trim() ?? null;
    problem.value = (wanted !== null && whyNot?.(wanted)) || null;
    if (problem.value !== null || isDone.current) return;
    isDone.current = true;
    onDone(wanted === value ? null : wanted, isKey);
  }
  return (
    <span class="vene-name-field">
      <input
        ref={field}
        class="vene-field vene-field-text"
        type="text"
        maxLength={80}
        aria-label={name}
        aria-invalid={problem.value !== null}
        title="Enter takes it, Escape leaves it as it was"
        placeholder={placeholder}
        spellcheck={false}
        defaultValue={value}
        onInput={() => {
          problem.value = null;
        }}
        onKeyDown={(event) => {
          event.stopPropagation();
          const { key, currentTarget } = event;
          if (key !== "Enter" && key !== "Escape") return;
          event.preventDefault(); // or the rest of the key press goes to what gets the focus
          end(key === "Enter" ? currentTarget.value : null, true);
        }}
        onBlur={(event) => end(isKept ? event.currentTarget.value : null, false)}
      />
      {problem.value !== null && (
        <span class="vene-field-error" role="alert">
          {problem.value}
        </span>
      )}
    </span>
  );
}
