// Checks that the built packages can be published: small enough, found by every resolver (publint, attw), with syntax that
// React Native takes, and with links and metadata that npm shows.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

/** The size of an entry in bytes, minified and compressed, at most: beyond that of the entries it stands on. */
const BUDGETS = [
  { entry: "core/dist/index.js", on: [], bytes: 12_400 },
  { entry: "core/dist/feed/index.js", on: ["core/dist/index.js"], bytes: 5_120 },
  { entry: "core/dist/shared.js", on: ["core/dist/index.js"], bytes: 3_450 },
  { entry: "elements/dist/index.js", on: ["core/dist/index.js", "core/dist/feed/index.js"], bytes: 12_000 },
  { entry: "react/dist/index.js", on: ["core/dist/index.js", "core/dist/feed/index.js"], bytes: 5_550 },
];

/** What npm and its readers look for. */
const FIELDS = ["description", "license", "keywords", "homepage", "repository", "bugs", "publishConfig"];

/** Syntax that React Native does not take, and the files that may have it: the guide's hook, and elements, which need a page. */
const REFUSED = [
  { syntax: /\bstatic\s*\{/, name: "a static block", allowed: ["liveSocket.js"] },
  { syntax: /\bimport\.meta\b/, name: "import.meta", allowed: ["useWebSocket.js", "session.js"] },
];

const CLIENTS = fileURLToPath(new URL("..", import.meta.url));

/** Return the size of all that these entries export, React not counted. */
async function weightOf(entries) {
  if (entries.length === 0) return 0;
  const { outputFiles } = await build({
    absWorkingDir: CLIENTS,
    stdin: { contents: entries.map((each) => `export * from "./${each}";`).join("\n"), resolveDir: CLIENTS },
    bundle: true,
    external: ["react"],
    // Not the sources, which the paths of tsconfig.json name.
    tsconfigRaw: "{}",
    minify: true,
    format: "esm",
    write: false,
    // The timeline for people is loaded when somebody wants it.
    splitting: true,
    outdir: "dist",
  });
  const loaded = outputFiles.filter(({ path }) => !/debug-\w+\.js$/.test(path));
  return gzipSync(Buffer.concat(loaded.map(({ contents }) => contents)), { level: 9 }).length;
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

for (const { entry, on, bytes: budget } of BUDGETS) {
  const below = on.filter((each) => existsSync(`${CLIENTS}${each}`));
  if (!existsSync(`${CLIENTS}${entry}`)) continue;
  const bytes = (await weightOf([...below, entry])) - (await weightOf(below));
  console.log(`${entry}: ${bytes} bytes${below.length > 0 ? " more" : ""}, minified and compressed`);
  if (bytes > budget) fail(`${entry}: got ${bytes} bytes; allowed: ${budget}`);
}

for (const name of ["core", "react", "elements"]) {
  const metadata = JSON.parse(readFileSync(`${CLIENTS}${name}/package.json`, "utf8"));
  for (const field of FIELDS) if (!metadata[field]) fail(`${name}/package.json: there is no ${field}`);
  const readme = readFileSync(`${CLIENTS}${name}/README.md`, "utf8");
  for (const [link] of readme.matchAll(/\]\((?!https:|#)[^)]*\)/g))
    fail(`${name}/README.md: got ${link}; allowed: a link that npm's page can follow, with https:`);
  for (const file of readdirSync(`${CLIENTS}${name}/dist`).filter((each) => each.endsWith(".js"))) {
    const code = readFileSync(`${CLIENTS}${name}/dist/${file}`, "utf8").replace(/^\s*(\/\/|\*).*$/gm, "");
    for (const { syntax, name: found, allowed } of REFUSED)
      if (syntax.test(code) && !allowed.includes(file)) fail(`${name}/dist/${file}: there is ${found}`);
  }
}

const packed = mkdtempSync(`${tmpdir()}/packages-`);
const pack = ["pack", "--workspaces", "--ignore-scripts", "--json", "--pack-destination", packed];
const listed = JSON.parse(
  execFileSync("npm", pack, { cwd: CLIENTS, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
);
for (const { name, files } of listed) {
  const paths = files.map(({ path }) => path);
  for (const path of paths)
    if (!/^(LICENSE|README\.md|package\.json|dist\/.+\.(js|d\.ts)(\.map)?)$/.test(path))
      fail(`${name}: got ${path} in the package; allowed: dist, LICENSE, README.md, package.json`);
  for (const path of ["LICENSE", "README.md"])
    if (!paths.includes(path)) fail(`${name}: there is no ${path} in the package`);
}
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
