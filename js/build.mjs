// Bundles src/ into one module and one style sheet. `--dev` builds the harness in dev/ instead.
import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dev = process.argv.includes("--dev");
const outdir = dev ? resolve(here, "dev/built") : resolve(here, "../vene_widgets/static");
const LIMIT = 100_000;

mkdirSync(outdir, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: dev
    ? { harness: "dev/harness.tsx", explorer: "src/explorer.css" }
    : { explorer: "src/index.tsx", style: "src/explorer.css" },
  outdir,
  entryNames: dev ? "[name]" : "explorer",
  bundle: true,
  format: "esm",
  target: ["es2022", "chrome105", "safari16", "firefox110"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: !dev,
  sourcemap: dev,
  legalComments: "none",
  charset: "utf8",
  metafile: true,
});

for (const [path, { bytes }] of Object.entries(result.metafile.outputs)) {
  console.log(`${(bytes / 1000).toFixed(1).padStart(7)} kB  ${path}`);
  if (!dev && path.endsWith(".js") && bytes > LIMIT) {
    console.error(
      `${path} is over ${LIMIT / 1000} kB: every notebook that holds the widget carries it.`,
    );
    process.exitCode = 1;
  }
}
