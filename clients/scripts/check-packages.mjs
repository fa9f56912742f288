// Checks that the built packages can be published: small enough, and found by every resolver (publint, attw).

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

/** The size of an entry in bytes, minified and compressed, at most. React is not counted. */
const BUDGETS = {
  "core/dist/index.js": 7_100,
  "core/dist/shared.js": 8_800,
  "react/dist/index.js": 10_200,
};

const CLIENTS = fileURLToPath(new URL("..", import.meta.url));

async function weightOf(entry) {
  const { outputFiles } = await build({
    absWorkingDir: CLIENTS,
    entryPoints: [entry],
    bundle: true,
    external: ["react"],
    minify: true,
    format: "esm",
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

for (const [entry, budget] of Object.entries(BUDGETS)) {
  const bytes = await weightOf(entry);
  console.log(`${entry}: ${bytes} bytes, minified and compressed`);
  if (bytes > budget) fail(`${entry}: got ${bytes} bytes; allowed: ${budget}`);
}

const packed = mkdtempSync(`${tmpdir()}/packages-`);
const pack = ["pack", "--workspaces", "--ignore-scripts", "--silent", "--pack-destination", packed];
execFileSync("npm", pack, { cwd: CLIENTS, stdio: "ignore" });
for (const file of readdirSync(packed)) {
  const { messages, pkg } = await publint({ pack: { tarball: readFileSync(`${packed}/${file}`) }, strict: true });
  for (const message of messages) fail(`publint: ${pkg.name}: ${formatMessage(message, pkg)}`);
  try {
    const options = ["--profile", "esm-only", "--format", "ascii", "--no-color", "--no-emoji"];
    execFileSync("node_modules/.bin/attw", [`${packed}/${file}`, ...options], { cwd: CLIENTS, encoding: "utf8" });
  } catch (error) {
    fail(`attw: ${pkg.name}:\n${error.stdout}`);
  }
}
rmSync(packed, { recursive: true });
