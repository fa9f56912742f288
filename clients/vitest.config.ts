// One run for all packages, on their sources. A test file that needs a page says `// @vitest-environment happy-dom`.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: "@tellwire/client/shared", replacement: source("core/src/shared.ts") },
      { find: "@tellwire/client/feed", replacement: source("core/src/feed/index.ts") },
      { find: "@tellwire/client/testing", replacement: source("core/src/testing.ts") },
      { find: "@tellwire/client", replacement: source("core/src/index.ts") },
      { find: "@tellwire/react/guide", replacement: source("react/src/guide.ts") },
      { find: "@tellwire/react/testing", replacement: source("react/src/testing.ts") },
      { find: "@tellwire/elements", replacement: source("elements/src/index.ts") },
      { find: "@tellwire/react", replacement: source("react/src/index.ts") },
    ],
  },
  test: { include: ["*/test/**/*.test.{ts,tsx}"], pool: "threads" },
});
