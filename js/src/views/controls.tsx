// The controls that several panels share: a select and a button that is only an icon.
import type { ComponentChildren } from "preact";

export interface Option {
  value: string;
  text: string;
}

interface SelectProps {
  /** Accessible name. */
  name: string;
  value: string;
  options: Option[];
  onChoose(value: string): void;
  title?: string | undefined;
}

export function Select({ name, value, options, onChoose, title }: SelectProps) {
  return (
    <select
      class="vene-select"
      aria-label={name}
      title={title}
      value={value}
      onChange={(event) => {
        const wanted = event.currentTarget.value;
        // What the select shows is the state's to say; a refused choice falls back by itself.
        event.currentTarget.value = value;
        if (wanted !== value) onChoose(wanted);
      }}
    >
      {options.map((option) => (
        <option key={option.value} value={option.value} selected={option.value === value}>
          {option.text}
        </option>
      ))}
    </select>
  );
}

interface IconButtonProps {
  name: string;
  onPress(): void;
  children: ComponentChildren;
  isDisabled?: boolean;
  isPressed?: boolean;
  title?: string;
}

export function IconButton({
  name,
  onPress,
  children,
  isDisabled,
  isPressed,
  title,
}: IconButtonProps) {
  return (
    <button
      type="button"
      class="vene-icon-button"
      aria-label={name}
      aria-pressed={isPressed}
      title={title ?? name}
      disabled={isDisabled}
      onClick={onPress}
    >
      {children}
    </button>
  );
}

export function Panel(props: {
  name: string;
  area: string;
  tools?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class={`vene-panel vene-panel-${props.area}`} aria-label={props.name}>
      <div class="vene-panel-head">
        <h3 class="vene-panel-name">{props.name}</h3>
        {props.tools}
      </div>
      {props.children}
    </section>
  );
}
