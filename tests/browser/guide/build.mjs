// Build this page into a folder: `node build.mjs FOLDER`. Vite, React and tellwire's packages are those of clients/.

import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

const at = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const packages = at("clients/node_modules");
const { build } = await import(pathToFileURL(createRequire(`${packages}/`).resolve("vite")).href);

process.env.VITE_WEBSOCKET_URL = "/live";
await build({
  root: fileURLToPath(new URL(".", import.meta.url)),
  configFile: false,
  logLevel: "error",
  oxc: { jsx: { runtime: "automatic" } },
  resolve: {
    alias: {
      react: `${packages}/react`,
      "react-dom": `${packages}/react-dom`,
      "@tellwire/client/feed": at("clients/core/src/feed/index.ts"),
      "@tellwire/client": at("clients/core/src/index.ts"),
      "@tellwire/react/guide": at("clients/react/src/guide.ts"),
    },
  },
  build: { outDir: process.argv[2], emptyOutDir: false, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
