// B: the map with what belongs to it: menus, legend, readout, pins.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { State } from "../../app/state";
import { Panel } from "../../ui/controls";
import { MapGrid } from "./MapGrid";
import { MapTools } from "./MapTools";
import { PinStrip } from "./PinStrip";
import { Readout } from "./Readout";

export function MapPanel({ state }: { state: State }) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useSignal(600);
  useEffect(() => {
    const element = frame.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry) width.value = Math.round(entry.contentRect.width);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [width]);
  const [scene, metric] = [state.scene.value, state.lens.metric.value];
  if (!scene || !metric) return null;
  return (
    <Panel name="Map" area="map" tools={<MapTools state={state} />}>
      <div class="vene-map-frame" ref={frame}>
        <MapGrid state={state} scene={scene} metric={metric} width={width.value} />
      </div>
      <Readout state={state} />
      <PinStrip state={state} />
    </Panel>
  );
}
