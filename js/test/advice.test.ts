// What to do when the kernel is gone or silent: an import may stand in an earlier cell.
import type { Signal } from "@preact/signals";
import { expect, it } from "vitest";
import { start } from "./helpers";

it("is to run the notebook again from its first cell, and says what is lost", () => {
  const { kernel, notices } = start();
  (kernel.isSilent as Signal<boolean>).value = true;
  expect(notices.note.value).toContain("run the notebook again from its first cell");
  (kernel.isGone as Signal<boolean>).value = true;
  expect(notices.note.value).toContain("Run the notebook again from its first cell");
  expect(notices.note.value).toContain("the history comes back");
});
