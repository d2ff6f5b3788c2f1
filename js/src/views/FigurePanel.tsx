// F: the plotnine figure of exactly this experiment, to keep.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Picture } from "../kernel";
import type { State } from "../state";
import type { Figure } from "../wire";
import { Panel, Select } from "./controls";
import { DownloadIcon } from "./icons";

const KINDS: Record<Figure["kind"], string> = {
  result: "result",
  token_heatmap: "token heatmap",
  difference_panel: "difference panel",
  sweep_map: "sweep map",
  distribution_dots: "distribution dots",
};

export function FigurePanel({ state }: { state: State }) {
  const picture = state.picture.value;
  const kind = state.wantedFigure.value?.kind ?? picture?.kind ?? "result";
  const url = useObjectUrl(picture);
  const isOld =
    picture !== null &&
    (picture.revision !== state.scene.value?.revision ||
      state.pending.value !== null ||
      picture.kind !== kind);
  const tools = (
    <span class="vene-tools-end">
      {isOld && (
        <span class="vene-note">
          {state.isOffline
            ? "of the experiment that was saved"
            : state.error.value === null
              ? "drawing…"
              : "of the experiment before"}
        </span>
      )}
      <Select
        name="Kind of figure"
        value={kind}
        options={Object.entries(KINDS).map(([value, text]) => ({ value, text }))}
        onChoose={(value) => state.chooseFigure(value as Figure["kind"])}
      />
      {url && picture && (
        <a
          class="vene-button"
          href={url}
          download={`vene-${picture.kind.replaceAll("_", "-")}-${picture.revision}.png`}
        >
          <DownloadIcon /> PNG
        </a>
      )}
    </span>
  );
  return (
    <Panel name="Figure" area="figure" tools={tools}>
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

/** An object URL of the picture's bytes, revoked when the picture changes or the view goes. */
function useObjectUrl(picture: Picture | null): string | null {
  const url = useSignal<string | null>(null);
  const bytes = picture?.png ?? null;
  useEffect(() => {
    if (!ArrayBuffer.isView(bytes)) return;
    const made = URL.createObjectURL(
      new Blob([bytes as DataView<ArrayBuffer>], { type: "image/png" }),
    );
    url.value = made;
    return () => {
      URL.revokeObjectURL(made);
      url.value = null;
    };
  }, [bytes, url]);
  return url.value;
}
