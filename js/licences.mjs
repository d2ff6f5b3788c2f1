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

/** Name, version and whole licence of each package; packages with equal texts share one. */
export function notices(root, folders) {
  const texts = new Map();
  for (const folder of folders) {
    const { name, version, license } = JSON.parse(
      readFileSync(resolve(root, folder, "package.json"), "utf8"),
    );
    const file = NAMES.map((one) => resolve(root, folder, one)).find(existsSync);
    if (!file) throw new Error(`${name} ${version} has no licence file to pass on`);
    const text = readFileSync(file, "utf8").trim();
    texts.set(text, [...(texts.get(text) ?? []), `${name} ${version} (${license})`]);
  }
  return [...texts]
    .map(([text, packages]) => `${packages.join("\n")}\n\n${text}\n`)
    .join(`\n${"-".repeat(78)}\n\n`);
}

/** The notices as a comment at the top of a script. */
export function asComment(text) {
  return `/*! This script contains:\n\n${text.replaceAll("*/", "* /")}*/\n`;
}
