// The token of what is on the screen, requested when it is wanted.
import type { App } from "../../app/app";

/** Milliseconds after which a kernel that says nothing is given up. */
const PATIENCE = 5000;

export function createShare({ kernel }: App) {
  return {
    /** The token; rejects with words for the screen when the kernel refuses or says nothing. */
    async token(): Promise<string> {
      const { text } = await kernel.request({ kind: "share" }, { giveUp: PATIENCE });
      if (!text) throw new Error("The kernel gave no token.");
      return text;
    },
  };
}
