// Builds the script that the gateway serves: the elements with all that they stand on, in one file. With `stories`: the page
// that shows them in all their states.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const SCRIPT = { entryPoints: ["elements/dist/index.js"], outfile: "../src/tellwire/gateway/script/tellwire.js" };
const STORIES = { entryPoints: ["elements/stories/stories.ts"], outfile: "elements/stories/dist/stories.js" };

await build({
  ...(process.argv.includes("stories") ? STORIES : SCRIPT),
  absWorkingDir: fileURLToPath(new URL("..", import.meta.url)),
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none",
  // Not the sources, which the paths of tsconfig.json name.
  tsconfigRaw: "{}",
});
