// Source prompts by name, in the order of the chain: an object would put whole numbers first.

import type { SourceTokens, TokenInfo } from "../kernel/wire";

export type Sources = [name: string, prompt: string][];

export function namesOf(sources: Sources): string[] {
  return sources.map(([name]) => name);
}

export function promptOf(sources: Sources, name: string | null): string | undefined {
  return sources.find(([known]) => known === name)?.[1];
}

/** With another prompt under a name; a new name comes last. */
export function withPrompt(sources: Sources, name: string, prompt: string): Sources {
  return promptOf(sources, name) === undefined
    ? [...sources, [name, prompt]]
    : sources.map(([known, text]) => [known, known === name ? prompt : text]);
}

/** Tokens of a source's prompt, as the scene has them. */
export function tokensOf(sources: SourceTokens[], name: string | null): TokenInfo[] | undefined {
  return sources.find((source) => source.name === name)?.tokens;
}
