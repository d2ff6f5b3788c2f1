// B: the map with what belongs to it: menus, legend, readout, pins.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { App } from "../../app/app";
import { Panel } from "../../ui/controls";
import { onResize } from "../../ui/onResize";
import { createStory } from "../story/state";
import { MapGrid } from "./MapGrid";
import { MapTools } from "./MapTools";
import { PinStrip } from "./PinStrip";
import { Readout } from "./Readout";
import { createMap } from "./state";
import "./tools.css";
import "./style.css";
import "./foot.css";

export function MapPanel({ app }: { app: App }) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useSignal(600);
  useEffect(
    () =>
      onResize(frame.current, ([entry]) => {
        if (entry) width.value = Math.round(entry.contentRect.width);
      }),
    [width],
  );
  const [scene, metric] = [app.use(createStory).scene.value, app.use(createMap).metric.value];
  if (!scene || !metric) return null;
  return (
    <Panel name="Map" area="map" tools={<MapTools app={app} />}>
      <div class="vene-map-frame" ref={frame}>
        <MapGrid app={app} scene={scene} metric={metric} width={width.value} />
      </div>
      <div class="vene-map-foot">
        <Readout app={app} />
        <PinStrip app={app} />
      </div>
    </Panel>
  );
}
