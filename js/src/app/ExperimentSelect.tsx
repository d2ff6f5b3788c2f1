// A menu whose choices are experiments; on a saved page it has those that the page can show.
import type { Plain } from "../domain/experiments";
import { Select, type SelectProps } from "../ui/controls";
import type { App } from "./app";
import { createExperiment } from "./experiment";

interface Props extends Omit<SelectProps, "onChoose" | "refusal"> {
  app: App;
  /** The experiment that a value stands for. */
  next(value: string): Plain;
}

export function ExperimentSelect({ app, next, ...select }: Props) {
  const { commit, refusal } = app.use(createExperiment);
  return (
    <Select
      {...select}
      refusal={(value) => refusal(next(value))}
      onChoose={(value) => commit(next(value))}
    />
  );
}
