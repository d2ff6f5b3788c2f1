// Bundles src/ into the widget's module, its style sheet, and the script of saved pages, and collects
// the licences of the packages in them. `--dev` builds the harness in dev/ instead.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";
import { asComment, notices, packagesOf } from "./licences.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const dev = process.argv.includes("--dev");
const outdir = resolve(here, dev ? "dev/built" : "../vene_widgets/static");

/** Largest sizes in bytes, and why there is a limit. */
const LIMITS = {
  // 11 kB of it are a data set's map, strip and list, 35 kB what else is asked of an experiment
  // (specifications, controls, estimates, texts, lens, attention, paths).
  "explorer.js": [220_000, "every notebook that holds the widget carries it"],
  "page.js": [225_000, "every saved page carries it"],
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
  supported: { "top-level-await": false, "dynamic-import": false }, // hosts that know neither
  // Calls of h() are shorter than those of the automatic runtime, which tsconfig.json names.
  tsconfigRaw: {
    compilerOptions: { jsx: "react", jsxFactory: "h", jsxFragmentFactory: "Fragment" },
  },
  inject: ["jsx.mjs"],
  minify: !dev,
  sourcemap: dev,
  legalComments: "none", // whole licences are added instead: packages have no such comments
  charset: "utf8",
};

if (dev) {
  await build({
    ...options,
    entryPoints: { harness: "dev/harness.tsx" },
  });
} else {
  const widget = await bundled({ entryPoints: { explorer: "src/index.tsx" } });
  write("explorer.js", widget.text);
  write("explorer.css", widget.style);
  // A saved page's script stands inline and is allowed by its hash: it imports nothing.
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
  const [script, style] = [".js", ".css"].map((suffix) =>
    outputFiles.find(({ path }) => path.endsWith(suffix)),
  );
  // After esbuild: another two per cent, most of them functions that become arrows.
  const { code } = await minify(script.text, {
    module: true,
    ecma: 2020,
    compress: { passes: 2, unsafe_arrows: true },
    format: { comments: false },
  });
  return { text: `${asComment(notices(here, packages))}${code}\n`, style: style.text, packages };
}

function write(name, text) {
  writeFileSync(resolve(outdir, name), text);
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
