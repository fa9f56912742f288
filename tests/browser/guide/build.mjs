// Build this page into a folder: `node build.mjs FOLDER`. Vite and React are those of the example's page.

import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const packages = fileURLToPath(new URL("../../../examples/parts_upload/web/", import.meta.url));
const require = createRequire(`${packages}package.json`);
const { build } = await import(pathToFileURL(require.resolve("vite")).href);

process.env.VITE_WEBSOCKET_URL = "/live";
await build({
  root: here,
  configFile: false,
  logLevel: "error",
  oxc: { jsx: { runtime: "automatic" } },
  resolve: {
    alias: ["react", "react-dom", "@tellwire/client", "@tellwire/react"].map((name) => ({
      find: name,
      replacement: `${packages}node_modules/${name}`,
    })),
  },
  build: { outDir: process.argv[2], emptyOutDir: false, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
