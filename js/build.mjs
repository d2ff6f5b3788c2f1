// Bundles src/ into the widget's module, its style sheet, and the script of saved pages, and collects
// the licences of the packages in them. `--dev` builds the harness in dev/ instead.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { asComment, notices, packagesOf } from "./licences.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const dev = process.argv.includes("--dev");
const outdir = resolve(here, dev ? "dev/built" : "../vene_widgets/static");

/** Largest sizes in bytes, and why there is a limit. */
const LIMITS = {
  "explorer.js": [100_000, "every notebook that holds the widget carries it"],
  "page.js": [200_000, "every saved page carries it"],
};

const LICENCES = "THIRD_PARTY_LICENSES.txt";

mkdirSync(outdir, { recursive: true });
const options = {
  absWorkingDir: here,
  outdir,
  entryNames: "[name]",
  bundle: true,
  format: "esm",
  target: ["es2022", "chrome105", "safari16.4", "firefox113"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: !dev,
  sourcemap: dev,
  legalComments: "none", // whole licences are added instead: packages have no such comments
  charset: "utf8",
};

if (dev) {
  await build({
    ...options,
    entryPoints: { harness: "dev/harness.tsx", explorer: "src/explorer.css" },
  });
} else {
  await build({ ...options, entryPoints: { explorer: "src/explorer.css" } });
  const widget = await bundled({ entryPoints: { explorer: "src/index.tsx" } });
  write("explorer.js", unpacking(widget.text));
  // A saved page's script stands inline and is allowed by its hash: it unpacks and imports nothing.
  const page = await bundled({ entryPoints: { page: "src/page.ts" }, format: "iife" });
  write("page.js", page.text);
  const packages = [...new Set([...widget.packages, ...page.packages])].sort();
  write(
    LICENCES,
    `explorer.js and page.js, beside this file, contain:\n\n${notices(here, packages)}`,
  );
  for (const name of ["explorer.js", "explorer.css", "page.js"]) report(name);
}

/** A bundle with the notices of its packages at the top, and the folders of these. */
async function bundled(more) {
  const { metafile, outputFiles } = await build({
    ...options,
    ...more,
    metafile: true,
    write: false,
  });
  const packages = packagesOf(metafile);
  return { text: asComment(notices(here, packages)) + outputFiles[0].text, packages };
}

function write(name, text) {
  writeFileSync(resolve(outdir, name), text);
}

/** A module that unpacks itself: the widget's code is copied into every notebook that shows it. */
function unpacking(code) {
  const packed = gzipSync(code, { level: 9 }).toString("base64");
  return `\
// vene_widgets' explorer, packed with gzip; its source is js/src of the project. It contains packages
// by others: their licences are at the top of the packed code and in ${LICENCES}.
const bytes = Uint8Array.from(atob("${packed}"), (c) => c.charCodeAt(0));
const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
const code = new Blob([await new Response(plain).arrayBuffer()], { type: "text/javascript" });
const url = URL.createObjectURL(code);
const { default: widget } = await import(url);
URL.revokeObjectURL(url);
export default widget;
`;
}

function report(name) {
  const path = resolve(outdir, name);
  const { length } = readFileSync(path);
  console.log(`${(length / 1000).toFixed(1).padStart(7)} kB  ${relative(here, path)}`);
  const [limit, why] = LIMITS[name] ?? [Number.POSITIVE_INFINITY, ""];
  if (length <= limit) return;
  console.error(`${name} is over ${limit / 1000} kB: ${why}.`);
  process.exitCode = 1;
}
