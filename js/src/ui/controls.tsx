// The controls that several panels share: a select, an icon's button, fields, a slider, a panel.
import type { ButtonHTMLAttributes, ComponentChildren, JSX } from "preact";

export interface Option {
  value: string;
  text: string;
  title?: string;
  /** Options of one group stand together, under its name. */
  group?: string;
  /** It only says something. */
  isDisabled?: boolean;
}

export interface SelectProps {
  /** Accessible name. */
  name: string;
  value: string;
  options: Option[];
  onChoose(value: string): void;
  title?: string | undefined;
  /** Why a value cannot be chosen: it is left out then, and the select is fixed if no other is left. */
  refusal?(value: string): string | null;
}

export function Select({ name, value, options: all, onChoose, title, refusal }: SelectProps) {
  const whyNot = (option: Option) => (option.value === value ? null : refusal?.(option.value));
  const options = all.filter((option) => !whyNot(option));
  const fixed = options.length < 2 ? all.map(whyNot).find(Boolean) : null;
  return (
    <select
      class="vene-select"
      aria-label={name}
      disabled={fixed != null}
      // Its text may be cut.
      title={fixed ?? title ?? options.find((option) => option.value === value)?.text}
      value={value}
      onChange={(event) => {
        const wanted = event.currentTarget.value;
        // What the select shows is the state's to say; a refused choice falls back by itself.
        event.currentTarget.value = value;
        if (wanted !== value) onChoose(wanted);
      }}
    >
      {grouped(options).map(([group, members]) => {
        const items = members.map((option) => (
          <option
            key={option.value}
            value={option.value}
            title={option.title}
            disabled={option.isDisabled}
            selected={option.value === value}
          >
            {option.text}
          </option>
        ));
        return group === undefined ? (
          items
        ) : (
          <optgroup key={group} label={group}>
            {items}
          </optgroup>
        );
      })}
    </select>
  );
}

/** Options by their group, in order. */
function grouped(options: Option[]): [string | undefined, Option[]][] {
  const found: [string | undefined, Option[]][] = [];
  for (const option of options) {
    const last = found.at(-1);
    if (last && last[0] === option.group) last[1].push(option);
    else found.push([option.group, [option]]);
  }
  return found;
}

/** A button that submits nothing; its looks are its class's. */
export const PlainButton = (props: JSX.IntrinsicElements["button"]) => (
  <button type="button" {...props} />
);

interface ButtonProps extends Omit<ButtonHTMLAttributes, "class" | "type"> {
  /** A class beside `vene-button`. */
  look?: string;
  /** Why it cannot be pressed. */
  refusal?: string | null | undefined;
}

/** A button with words on it. */
export function Button({ look, refusal, ...rest }: ButtonProps) {
  return (
    <PlainButton
      {...rest}
      class={`vene-button ${look ?? ""}`}
      title={refusal ?? rest.title}
      disabled={rest.disabled || refusal != null}
    />
  );
}

interface IconButtonProps {
  name: string;
  onPress(): void;
  children: ComponentChildren;
  isDisabled?: boolean;
  /** Why it cannot be pressed. */
  refusal?: string | null;
  isPressed?: boolean;
  isExpanded?: boolean;
  title?: string;
}

export function IconButton({
  name,
  onPress,
  children,
  isDisabled,
  refusal,
  isPressed,
  isExpanded,
  title,
}: IconButtonProps) {
  return (
    <PlainButton
      class="vene-icon-button"
      aria-label={name}
      aria-pressed={isPressed}
      aria-expanded={isExpanded}
      title={refusal ?? title ?? name}
      disabled={isDisabled || refusal != null}
      onClick={onPress}
    >
      {children}
    </PlainButton>
  );
}

interface FieldProps<Value> {
  /** Accessible name. */
  name: string;
  value: Value;
  /** Why it cannot be changed. */
  refusal?: string | null;
  onChoose(value: Value): void;
}

interface NumberProps {
  name: string;
  /** As text where a number would lose digits. */
  value: number | string | null;
  min?: number;
  step: number | "any";
  /** Why it cannot be changed. */
  refusal?: string | null;
  onChoose(value: number | null, text: string): void;
}

/** Gives its number when it is left or Enter is pressed; null when it is empty. */
export function NumberField({ name, value, min, step, refusal, onChoose }: NumberProps) {
  return (
    <input
      class="vene-field vene-field-number"
      type="number"
      aria-label={name}
      min={min}
      step={step}
      disabled={refusal != null}
      title={refusal ?? undefined}
      value={value ?? ""}
      onChange={(event) => {
        const field = event.currentTarget;
        const text = field.value;
        const wanted = text === "" ? null : Number(text);
        field.value = String(value ?? "");
        if (wanted !== value && !Number.isNaN(wanted)) onChoose(wanted, text);
      }}
    />
  );
}

interface SliderProps extends FieldProps<number> {
  min: number;
  max: number;
  step: number;
  title?: string;
  /** The value while it is dragged; null when it is let go. */
  onHold?(value: number | null): void;
}

export function Slider(props: SliderProps) {
  const { name, value, min, max, step, title, refusal, onHold, onChoose } = props;
  return (
    <input
      class="vene-slider"
      type="range"
      aria-label={name}
      title={refusal ?? title ?? String(value)}
      min={min}
      max={max}
      step={step}
      disabled={refusal != null}
      value={value}
      onInput={(event) => onHold?.(Number(event.currentTarget.value))}
      onChange={(event) => {
        onHold?.(null);
        onChoose(Number(event.currentTarget.value));
      }}
    />
  );
}

interface TextProps extends FieldProps<string> {
  placeholder?: string;
  title?: string;
  /** Several lines; Enter then makes a new one. */
  isLong?: boolean;
}

/** Gives its text when it is left or, on one line, Enter is pressed. */
export function TextField(props: TextProps) {
  const { name, value, placeholder, title, isLong, refusal, onChoose } = props;
  const shared = {
    "aria-label": name,
    title: refusal ?? title,
    placeholder,
    spellcheck: false,
    disabled: refusal != null,
    value,
    onChange: (event: { currentTarget: { value: string } }) => {
      const wanted = event.currentTarget.value;
      event.currentTarget.value = value;
      if (wanted !== value) onChoose(wanted);
    },
  };
  return isLong ? (
    <textarea class="vene-field vene-field-long" rows={2} {...shared} />
  ) : (
    <input class="vene-field vene-field-text" type="text" {...shared} />
  );
}

export function Panel(props: {
  name: string;
  area: string;
  tools?: ComponentChildren;
  /** Without a head: what it shows needs no title. */
  isBare?: boolean;
  children: ComponentChildren;
}) {
  const { name, area, tools, isBare = false, children } = props;
  return (
    <section class={`vene-panel vene-panel-${area}`} data-panel={area} aria-label={name}>
      {!isBare && (
        <div class="vene-panel-head">
          <h3 class="vene-panel-name">{name}</h3>
          {tools}
        </div>
      )}
      {children}
    </section>
  );
}
