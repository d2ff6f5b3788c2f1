// F: the plotnine figure of exactly this experiment, to keep.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import type { Figure } from "../../kernel/wire";
import { Button, Panel, Select } from "../../ui/controls";
import { DownloadIcon } from "../../ui/icons";
import { createNotices } from "../notices/state";
import { createStory } from "../story/state";
import type { Picture } from "./state";
import { createFigure } from "./state";
import { createTake, type Format } from "./take";
import "./style.css";

const KINDS: Record<Figure["kind"], string> = {
  result: "result",
  token_heatmap: "token heatmap",
  difference_panel: "difference panel",
  sweep_map: "sweep map",
  distribution_dots: "distribution dots",
};

export function FigurePanel({ app }: { app: App }) {
  const { picture: newest, kind: asked, choose } = app.use(createFigure);
  const [picture, kind] = [newest.value, asked.value];
  const url = useObjectUrl(picture);
  const isOld =
    picture !== null &&
    (picture.revision !== app.use(createStory).scene.value?.revision ||
      app.use(createExperiment).pending.value !== null ||
      picture.kind !== kind);
  const note = !isOld
    ? null
    : app.kernel.offline !== null
      ? "of the experiment that was saved"
      : app.use(createNotices).error.value === null && !app.kernel.isGone.value
        ? "drawing…"
        : "of the experiment before";
  const tools = (
    <span class="vene-tools-end vene-figure-tools">
      {note && <span class="vene-note">{note}</span>}
      {app.kernel.offline ? (
        <span class="vene-note">{KINDS[kind]}</span>
      ) : (
        <Select
          name="Kind of figure"
          value={kind}
          options={Object.entries(KINDS).map(([value, text]) => ({ value, text }))}
          onChoose={(value) => choose(value as Figure["kind"])}
        />
      )}
      {picture && <Files app={app} picture={picture} kind={kind} url={url} />}
    </span>
  );
  return (
    <Panel name="Figure" area="figure" tools={tools}>
      <FileNotice app={app} />
      {url && picture ? (
        <img
          class={`vene-figure${isOld ? " vene-old" : ""}`}
          src={url}
          alt={picture.alt}
          width={picture.width}
          height={picture.height}
        />
      ) : (
        <p class="vene-hint">The figure is drawn after the answer.</p>
      )}
    </Panel>
  );
}

const FILES: [Format, text: string, title: string][] = [
  ["png", "300 dpi", "PNG for print"],
  ["svg", "SVG", "Drawing for the web: hover a tile for its exact value"],
  ["pdf", "PDF", "Drawing for papers, its fonts embedded"],
  ["zip", "Everything", "One ZIP: PNG, SVG, PDF, the data unrounded, the code, and a caption"],
];

/** The picture that is shown can be kept without a kernel; the other files it draws. */
function Files(props: { app: App; picture: Picture; kind: Figure["kind"]; url: string | null }) {
  const { app, picture, kind, url } = props;
  const isBusy = app.use(createTake).said.value?.tone === "busy";
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would bring a frame of its own
    <span class="vene-files" role="group" aria-label="Download">
      {url && (
        <a
          class="vene-button"
          href={url}
          title="The picture as it is shown"
          download={`${picture.name}.png`}
        >
          <DownloadIcon /> PNG
        </a>
      )}
      {!app.kernel.offline &&
        FILES.map(([format, text, title]) => (
          <Button
            key={format}
            title={title}
            aria-disabled={isBusy}
            onClick={() => app.use(createTake).take(kind, format)}
          >
            {text}
          </Button>
        ))}
    </span>
  );
}

/** What became of the last file that was asked for. */
function FileNotice({ app }: { app: App }) {
  const said = app.use(createTake).said.value;
  return (
    <p class="vene-figure-said" data-tone={said?.tone} role="status">
      {said?.words}
    </p>
  );
}

/** An object URL of the picture's bytes, revoked when the picture changes or the view goes. */
function useObjectUrl(picture: Picture | null): string | null {
  const url = useSignal<string | null>(null);
  const bytes = picture?.png ?? null;
  useEffect(() => {
    const last = url.peek();
    url.value = ArrayBuffer.isView(bytes)
      ? URL.createObjectURL(new Blob([bytes as DataView<ArrayBuffer>], { type: "image/png" }))
      : null;
    // After the new one is set: without a picture the drawer would collapse for a moment.
    if (last) URL.revokeObjectURL(last);
  }, [bytes, url]);
  useEffect(
    () => () => {
      if (url.peek()) URL.revokeObjectURL(url.peek() as string);
    },
    [url],
  );
  return url.value;
}
