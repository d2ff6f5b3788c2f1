// Bundles src/ into the widget's module, its style sheet, and the script of saved pages. `--dev`
// builds the harness in dev/ instead.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dev = process.argv.includes("--dev");
const outdir = resolve(here, dev ? "dev/built" : "../vene_widgets/static");

/** Largest sizes in bytes, and why there is a limit. */
const LIMITS = {
  "explorer.js": [100_000, "every notebook that holds the widget carries it"],
  "page.js": [200_000, "every saved page carries it"],
};

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
  legalComments: "none",
  charset: "utf8",
};

if (dev) {
  await build({
    ...options,
    entryPoints: { harness: "dev/harness.tsx", explorer: "src/explorer.css" },
  });
} else {
  await build({ ...options, entryPoints: { explorer: "src/explorer.css" } });
  const { outputFiles } = await build({
    ...options,
    entryPoints: { explorer: "src/index.tsx" },
    write: false,
  });
  writeFileSync(resolve(outdir, "explorer.js"), unpacking(outputFiles[0].contents));
  // A saved page's script stands inline and is allowed by its hash: it unpacks and imports nothing.
  await build({ ...options, entryPoints: { page: "src/page.ts" }, format: "iife" });
  for (const name of ["explorer.js", "explorer.css", "page.js"]) report(name);
}

/** A module that unpacks itself: the widget's code is copied into every notebook that shows it. */
function unpacking(code) {
  const packed = gzipSync(code, { level: 9 }).toString("base64");
  return `\
// vene_widgets' explorer, packed with gzip; its source is js/src of the project.
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
