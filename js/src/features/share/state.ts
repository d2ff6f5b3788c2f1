// The token of what is on the screen, asked of the kernel when it is wanted.
import type { Kernel } from "../../kernel/kernel";

/** Milliseconds after which a kernel that says nothing is given up. */
const PATIENCE = 5000;

export type Share = ReturnType<typeof createShare>;

export function createShare(kernel: Kernel) {
  const prefix = Math.random().toString(36).slice(2, 10);
  let count = 0;
  const waiting = new Map<string, (text: string | Error) => void>();
  kernel.onReply((reply) => {
    const settle = waiting.get(reply.id);
    waiting.delete(reply.id);
    settle?.(reply.text ?? new Error(reply.error ?? "The kernel gave no token."));
  });
  return {
    /** The token; rejects with words for the screen when the kernel refuses or says nothing. */
    token(): Promise<string> {
      const id = `share-${prefix}-${++count}`;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(id);
          reject(new Error("The kernel does not answer"));
        }, PATIENCE);
        waiting.set(id, (text) => {
          clearTimeout(timer);
          if (text instanceof Error) reject(text);
          else resolve(text);
        });
        kernel.send({ id, kind: "share" });
      });
    },
  };
}
