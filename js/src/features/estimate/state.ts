// The map beside what gradients predict of it: attribution patching, by the kernel.
import { computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { three } from "../../domain/format";
import { type MetricName, plainReading } from "../../domain/metrics";
import { isOfMap } from "../../domain/preview";
import type { Estimate, Estimates } from "../../kernel/wire";
import { createMap } from "../map/state";
import { createWholeMap } from "../map/sweep";

/** What a metric's change is estimated by, where there is a gradient of it. */
const GRADIENTS: Partial<Record<MetricName, Estimate["metric"]>> = {
  probability: "probability",
  delta: "probability",
  log_ratio: "log_probability",
  logit_difference: "logit_difference",
  recovery: "logit_difference",
};

const NO_GRADIENT = "No estimate: gradients are of probabilities and logit differences";

export function createEstimate(app: App) {
  const { kernel } = app;
  const written = kernel.trait<Estimates>("estimates");
  const whole = app.use(createWholeMap);
  const { metric, metrics, aim, targets } = app.use(createMap);
  const isOn = signal(false);
  const refused = signal<string | null>(null);
  const wanted = computed(() => {
    const idOf = (index: number) => targets.value[index]?.token_id ?? null;
    const by = GRADIENTS[metric.value?.name ?? "kl"];
    const target = idOf(aim.value.target);
    if (!by || target === null) return null;
    return { metric: by, target, other: metric.value?.of_pair ? idOf(aim.value.other) : null };
  });
  const found = computed(() => {
    const [now, got] = [wanted.value, written.value];
    if (!isOn.value || !now || !isOfMap(got, whole.value)) return null;
    const isWanted = (one: Estimate) =>
      one.metric === now.metric && one.target === now.target && one.other === now.other;
    return got?.found.find(isWanted) ?? null;
  });

  // What is not there yet is asked for, once of each map.
  let asked: unknown[] = [];
  app.effect(() => {
    const [now, map] = [wanted.value, whole.value];
    if (!isOn.value || !now || !map || map.done < map.total || found.value) return undefined;
    const key = JSON.stringify(now);
    if (asked[0] === map && asked[1] === key) return undefined;
    asked = [map, key];
    refused.value = null;
    kernel.request({ kind: "estimate", ...now }).catch((error: Error) => {
      refused.value = `No estimate: ${error.message}`;
    });
    return undefined;
  });
  app.effect(() => {
    if (!isOn.value) asked = [];
    return undefined;
  });

  const values = computed<number[]>(() => {
    const [got, info] = [found.value, metric.value];
    if (!got || !info) return [];
    const plain = (one: typeof info | undefined, run: "base" | "source") =>
      (one && plainReading(one, run, aim.value, targets.value)) ?? Number.NaN;
    const odds = metrics.value.find(({ name }) => name === "logit_difference");
    const unit = info.name === "recovery" ? plain(odds, "source") - plain(odds, "base") : 1;
    const base = plain(info, "base");
    return got.values.map((value) => base + (value ?? Number.NaN) / unit);
  });

  return {
    isOn,
    found,
    /** The metric as the estimates predict it, of each cell of the map. */
    values,
    /** Why a saved page has none; null where it has, or there is a kernel. */
    refusal: computed(() => {
      const now = wanted.value ?? { metric: "probability" as const, target: 0, other: null };
      return written.value ? null : kernel.refusal({ kind: "estimate", ...now });
    }),
    says: computed(() => {
      if (!isOn.value) return null;
      if (!wanted.value) return NO_GRADIENT;
      const got = found.value;
      if (!got) return refused.value ?? "Estimating by gradients…";
      const r = got.correlation === null ? "exact | estimate" : `r = ${three(got.correlation)}`;
      return got.note ?? r;
    }),
    /** How many effects it misses; null without an estimate. */
    missed: computed(() => (found.value?.note === null ? found.value.missed.length : null)),
  };
}
