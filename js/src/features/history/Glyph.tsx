// A layer × token map the size of a word: where an experiment acts.
const [WIDTH, HEIGHT] = [30, 24];

/** One place; an open one is skipped. */
export interface Mark {
  layer: number;
  position: number;
  isOpen: boolean;
}

export function Glyph(props: { layers: number; tokens: number; marks: readonly Mark[] }) {
  const [across, down] = [(WIDTH - 4) / props.tokens, (HEIGHT - 4) / props.layers];
  const [width, height] = [
    Math.min(8, Math.max(3, across - 1)),
    Math.min(6, Math.max(3, down - 1)),
  ];
  return (
    <svg class="vene-glyph" width={WIDTH} height={HEIGHT} aria-hidden="true">
      <rect class="vene-glyph-frame" x="0.5" y="0.5" width={WIDTH - 1} height={HEIGHT - 1} rx="2" />
      {props.marks.map((mark, n) => (
        <rect
          key={n}
          class="vene-glyph-mark"
          data-open={mark.isOpen || undefined}
          x={2 + (mark.position + 0.5) * across - width / 2}
          y={HEIGHT - 2 - (mark.layer + 0.5) * down - height / 2}
          {...{ width, height }}
        />
      ))}
    </svg>
  );
}
