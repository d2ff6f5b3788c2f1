// A story: steps whose answers came with them. This view knows where it is; the kernel is told.
import { batch, computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { fromScene, isSame, type Plain } from "../../domain/experiments";
import type { Kernel, Request } from "../../kernel/kernel";
import type { Answer, Scene, StoryStep, Map as Sweep } from "../../kernel/wire";

/** Puts an experiment on the screen by this request; returns the request's id. */
type Begin = (experiment: Plain, request: (id: string) => Request) => string;

export type Story = ReturnType<typeof createStory>;

export function createStory(kernel: Kernel, experiment: ReadonlySignal<Plain | null>) {
  const steps = computed<StoryStep[]>(() => kernel.steps.value?.steps ?? []);
  /** Whether the model has changed since the story was computed: its answers are not exact then. */
  const isOld = computed(
    () => (kernel.steps.value?.model_since ?? 0) !== (kernel.scene.value?.model_since ?? 0),
  );
  const at = signal(kernel.step.peek() ?? 0);
  /** Steps of this view that the kernel has not answered yet: its own word is older than they. */
  const asked = new Set<string>();

  /** A step's scene: its prompts and slots in the model of the screen. */
  const scenes = computed<Scene[]>(() => {
    const now = kernel.scene.value;
    if (!now) return [];
    return steps.value.map(({ base, sources, experiment, slots }) => ({
      ...now,
      ...{ base, sources, experiment, slots },
    }));
  });
  const plains = computed(() => scenes.value.map(fromScene));
  const step = computed<StoryStep | null>(
    () => steps.value[Math.min(at.value, steps.value.length - 1)] ?? null,
  );
  /** Index of a step with the experiment on the screen, the present step before any other. */
  const known = computed(() => {
    const now = experiment.value;
    if (!now) return -1;
    const is = (plain: Plain | undefined) => plain !== undefined && isSame(plain, now);
    return is(plains.value[at.value]) ? at.value : plains.value.findIndex(is);
  });
  const place = computed(() => steps.value[known.value]?.map ?? null);

  const stopStep = effect(() => {
    const told = kernel.step.value;
    if (told !== null && asked.size === 0) at.value = told;
  });
  kernel.onReply((reply) => {
    if (!asked.delete(reply.id) || asked.size > 0) return;
    at.value = kernel.step.peek() ?? at.peek();
  });

  return {
    steps,
    step,
    at: computed(() => Math.max(0, Math.min(at.value, steps.value.length - 1))),
    /** Whether the screen shows the present step, and not what was clicked since. */
    isThere: computed(() => known.value >= 0 && known.value === at.value),
    /** The answer to the experiment on the screen, when a step brought it. */
    answer: computed<Answer | null>(() =>
      isOld.value ? null : (steps.value[known.value]?.result ?? null),
    ),
    map: computed<Sweep | null>(() =>
      place.value === null || isOld.value ? null : (kernel.steps.value?.maps[place.value] ?? null),
    ),
    /** What is drawn: the step's own scene until the kernel's is of the same experiment. */
    scene: computed<Scene | null>(() => {
      const now = kernel.scene.value;
      const mine = scenes.value[known.value];
      const plain = plains.value[known.value];
      return now && mine && plain && !isSame(fromScene(now), plain) ? mine : now;
    }),
    walk(to: number, begin: Begin): void {
      const index = Math.max(0, Math.min(to, steps.peek().length - 1));
      const plain = plains.peek()[index];
      if (!plain) return;
      batch(() => {
        at.value = index;
        asked.add(begin(plain, (id) => ({ id, kind: "step", step: index })));
      });
    },
    dispose: stopStep,
  };
}
