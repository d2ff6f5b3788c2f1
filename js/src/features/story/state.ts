// A story: steps whose answers came with them. This view knows where it is; the kernel is told.
import { batch, computed, signal } from "@preact/signals";
import type { App } from "../../app/app";
import { createExperiment } from "../../app/experiment";
import { fromScene, isSame, type Plain } from "../../domain/experiments";
import type { Answer, Scene, Story, StoryStep, Map as Sweep } from "../../kernel/wire";

export function createStory(app: App) {
  const { kernel } = app;
  const experiment = app.use(createExperiment);
  const written = kernel.trait<Story>("steps");
  /** Where in the story the kernel is, from 0; null without one. */
  const kernelStep = kernel.trait<number>("step");
  const steps = computed<StoryStep[]>(() => written.value?.steps ?? []);
  /** Whether the model has changed since the story was computed: its answers are not exact then. */
  const isOld = computed(
    () => (written.value?.model_since ?? 0) !== (kernel.scene.value?.model_since ?? 0),
  );
  const at = signal(kernelStep.peek() ?? 0);
  /** Steps of this view without a reply: the kernel's own step is older than they. */
  let asked = 0;

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
    const now = experiment.now.value;
    if (!now) return -1;
    const is = (plain: Plain | undefined) => plain !== undefined && isSame(plain, now);
    return is(plains.value[at.value]) ? at.value : plains.value.findIndex(is);
  });
  const place = computed(() => steps.value[known.value]?.map ?? null);

  app.effect(() => {
    const there = kernelStep.value;
    if (there !== null && asked === 0) at.value = there;
    return undefined;
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
      place.value === null || isOld.value ? null : (written.value?.maps[place.value] ?? null),
    ),
    /** What is drawn: the step's own scene until the kernel's is of the same experiment. */
    scene: computed<Scene | null>(() => {
      const now = kernel.scene.value;
      const mine = scenes.value[known.value];
      const plain = plains.value[known.value];
      return now && mine && plain && !isSame(fromScene(now), plain) ? mine : now;
    }),
    /** Goes to a step, from 0; the undo list is of what was changed by hand. */
    async walk(to: number): Promise<void> {
      const index = Math.max(0, Math.min(to, steps.peek().length - 1));
      const plain = plains.peek()[index];
      if (!plain) return;
      let arrival: Promise<void> | undefined;
      batch(() => {
        at.value = index;
        asked++;
        const list = experiment.undoList.peek();
        arrival = experiment.begin(plain, list, { kind: "step", step: index });
      });
      await arrival;
      if (--asked === 0) at.value = kernelStep.peek() ?? at.peek();
    },
  };
}
