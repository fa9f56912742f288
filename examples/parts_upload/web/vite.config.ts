// `npm run build` makes dist/, which the gateway's process serves. `npm run dev` serves the sources and passes on what is
// the server's: start it with `python -m examples.parts_upload.web_server`.

import { defineConfig } from "vite";

const server = "http://127.0.0.1:8787";

export default defineConfig({
  // What is inlined is a data: URL, which the page's Content-Security-Policy does not allow.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/demo": server, "/v1": server, "/live": { target: server, ws: true } } },
});
