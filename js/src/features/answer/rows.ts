// The rows of the answer and of the difference: the same tokens in the same order.
import { computed } from "@preact/signals";
import type { App } from "../../app/app";
import { type AnswerRows, answerRows, split } from "../../domain/answer_rows";
import { createSweep } from "../map/sweep";
import { createAnswer } from "./state";

/** Rows that are seen; the others are summed up. */
export const VISIBLE = 6;

const NONE: AnswerRows = { rows: [], result: null, source: null, hasUngrouped: false };

export function createRows(app: App) {
  const { shown } = app.use(createAnswer);
  const { choice } = app.use(createSweep);
  const all = computed(() => (shown.value ? answerRows(shown.value, choice.value.source) : NONE));
  const parts = computed(() => split(all.value.rows, VISIBLE));
  return {
    all,
    visible: computed(() => parts.value[0]),
    rest: computed(() => parts.value[1]),
  };
}
