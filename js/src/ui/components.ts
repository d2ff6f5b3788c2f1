// Components of a block in menus: in words, and in the groups in which people look for them.
import { componentWords } from "../domain/format";
import type { Option } from "./controls";

const GROUPS: [string, RegExp][] = [
  ["Residual stream", /^(block|embeddings?)/],
  ["Attention heads", /^head_/],
  ["Attention", /^(attention|query|key|value)/],
  ["MLP", /^mlp/],
];

export function componentOptions(names: readonly string[]): Option[] {
  const groupOf = (name: string) => GROUPS.find(([, test]) => test.test(name))?.[0] ?? "Other";
  const order = [...GROUPS.map(([group]) => group), "Other"];
  return names
    .map((name) => ({
      value: name,
      text: componentWords(name),
      title: name,
      group: groupOf(name),
    }))
    .sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
}
