// Notices of the packages in a bundle: their licences ask to be in every copy.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

const NAMES = ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "license"];

/** Folders of the packages whose files are in a bundle, from esbuild's metafile, sorted. */
export function packagesOf(metafile) {
  const folders = Object.keys(metafile.inputs)
    .map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
    .filter((folder) => folder !== undefined);
  return [...new Set(folders)].sort();
}

/** Name, version, copyright and licence of each package; a licence's text stands once. */
export function notices(root, folders) {
  const texts = new Map();
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(
      readFileSync(resolve(root, folder, "package.json"), "utf8"),
    );
    const file = NAMES.map((one) => resolve(root, folder, one)).find(existsSync);
    if (!file) throw new Error(`${name} ${version} has no licence file to pass on`);
    const text = readFileSync(file, "utf8").trim();
    const copyright = text.match(/^Copyright.*$/gm)?.join("\n") ?? "";
    const rule = text.replace(/^Copyright.*\n+/gm, "");
    texts.set(rule, [...(texts.get(rule) ?? []), `${name} ${version} (${license})\n${copyright}`]);
  }
  return [...texts]
    .map(([rule, packages]) => `${packages.join("\n\n")}\n\n${rule}\n`)
    .join(`\n${"-".repeat(78)}\n\n`);
}

/** The notices as a comment at the top of a script. */
export function asComment(text) {
  return `/*! This script contains:\n\n${text.replaceAll("*/", "* /")}*/\n`;
}
