// Bundles webgl.js with the parts of three.js it uses, and puts the license beside it.

import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "src", "miliary", "viewer", "static");
mkdirSync(out, { recursive: true });
await build({
  entryPoints: [join(here, "webgl.js")],
  outfile: join(out, "webgl.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "eof",
});
copyFileSync(join(here, "node_modules", "three", "LICENSE"), join(out, "webgl.licenses.txt"));
