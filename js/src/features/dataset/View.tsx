// A data set on the screen: its map of means beside the pairs behind one tile.
import type { App } from "../../app/app";
import { componentWords } from "../../domain/format";
import { Button, Panel, Select } from "../../ui/controls";
import { Cancel } from "../header/Status";
import { HelpButton } from "../help/HelpButton";
import { Notices } from "../notices/View";
import { MeanMap } from "./MeanMap";
import { Pairs, Words } from "./Pairs";
import { createDataSet } from "./state";
import "./style.css";

export function DataSetView({ app }: { app: App }) {
  const data = app.use(createDataSet);
  const set = data.set.value;
  if (!set) return null;
  const heads = data.isByHead.value ? [] : set.heads.filter((head) => head !== null);
  return (
    <div class="vene-view vene-data-set">
      <Head app={app} />
      <div class="vene-main">
        <Panel
          name="Map"
          area="map"
          tools={
            <>
              <span class="vene-note" title={`${set.metric.formula}\n${set.metric.about}`}>
                {data.own.value === null ? "mean " : ""}
                {set.metric.title} · {componentWords(set.component)}
                {set.operator === "patch" ? "" : ` · ${set.operator}`}
              </span>
              {heads.length > 1 && (
                <Select
                  name="Head of the map"
                  value={String(data.head.value ?? heads[0])}
                  options={heads.map((head) => ({ value: String(head), text: `head ${head}` }))}
                  onChoose={(head) => {
                    data.head.value = Number(head);
                  }}
                />
              )}
            </>
          }
        >
          <MeanMap app={app} set={set} />
        </Panel>
        <div class="vene-result">
          <Pairs app={app} set={set} />
          <Notices app={app} />
        </div>
      </div>
    </div>
  );
}

/** What was averaged over what, or how far it is; on a saved page the pair whose map is shown. */
function Head({ app }: { app: App }) {
  const data = app.use(createDataSet);
  const [set, progress] = [data.set.value, data.progress.value];
  const pair = set?.shown[data.own.value ?? -1];
  return (
    <section class="vene-header" data-panel="data-set" aria-label="Data set">
      {pair ? (
        <div class="vene-data-facts">
          <Back app={app} /> pair {pair.number}: <Words pair={pair} />
          <span class="vene-dim">
            {" "}
            · its {set?.metric.title} in every tile; a saved page cannot run it
          </span>
        </div>
      ) : (
        <p class="vene-data-facts" title={set?.facts}>
          {progress ? (
            <>
              <progress
                class="vene-progress"
                value={progress.share}
                aria-label="Pairs that have run"
              />{" "}
              {progress.words}
            </>
          ) : (
            set?.facts
          )}
          {set?.note && <span class="vene-data-note"> {set.note}</span>}
        </p>
      )}
      <div class="vene-header-tools">
        <Cancel app={app} />
        <HelpButton app={app} />
      </div>
    </section>
  );
}

/** From a pair back to the data set that it is of. */
export function Back({ app }: { app: App }) {
  const data = app.use(createDataSet);
  const set = data.set.value;
  if (!set || (data.isShown.value && data.own.value === null)) return null;
  return (
    <span class="vene-data-back">
      <Button title="Back to the map of all pairs" onClick={data.back}>
        ← {set.pairs.toLocaleString("en")} pairs
      </Button>
    </span>
  );
}
