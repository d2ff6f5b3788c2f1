// A kernel that is gone takes its history with it. The browser's tab keeps the experiments, and the
// next explorer of this model and these prompts asks its kernel to run them again.
import type { App } from "../../app/app";
import { hasSamePrompts } from "../../domain/experiments";
import type { Past, RunHistory } from "../../kernel/wire";

interface Lost {
  model: string;
  entries: RunHistory["entries"];
}

const KEY = "vene-history";

/** Histories that are kept; the oldest go first. */
const MOST = 8;

export function createLost({ kernel, effect }: App): true {
  const past = kernel.trait<Past>("past");
  let isAsked = kernel.offline !== null;
  let mine: Lost | null = null;
  effect(() => {
    const [scene, entries = []] = [kernel.scene.value, past.value?.entries];
    if (!scene || entries.length === 0) return undefined;
    const model = scene.model.name;
    if (kernel.isGone.value) {
      isAsked = true;
      const lost = {
        model,
        entries: entries.map(({ name, experiment }) => ({ name, experiment })),
      };
      keep([...others(lost, mine), lost]);
      mine = lost;
    } else if (!isAsked) {
      isAsked = true;
      const found = kept().findLast(
        (lost) =>
          lost.model === model &&
          lost.entries.some(({ experiment }) => hasSamePrompts(experiment, scene.experiment)),
      );
      if (!found) return undefined;
      keep(others(found));
      kernel
        .request({ kind: "history", entries: found.entries })
        .catch(() => keep([...kept(), found]));
    }
    return undefined;
  });
  return true;
}

function others(...lost: (Lost | null)[]): Lost[] {
  const texts = lost.map((one) => JSON.stringify(one));
  return kept().filter((other) => !texts.includes(JSON.stringify(other)));
}

// A sandboxed frame has no storage: its histories are lost.
function kept(): Lost[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function keep(all: Lost[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(all.slice(-MOST)));
  } catch {}
}
