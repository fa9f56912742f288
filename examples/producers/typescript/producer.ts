import createClient from "openapi-fetch";

import type { components, paths } from "./tellwire.js";

type PublishRequest = components["schemas"]["PublishRequest"];

const client = createClient<paths>({
  baseUrl: process.env.TELLWIRE_URL ?? "http://127.0.0.1:8787",
  headers: { Authorization: `Bearer ${process.env.TELLWIRE_API_KEY ?? ""}` },
});

const userId = process.argv[2] ?? "user-1";

const hello: PublishRequest = {
  target: { user: userId },
  message: { type: "notification", data: { title: "Hello", message: "From TypeScript", severity: "info" } },
  ttlSeconds: 3600,
};
const published = await client.POST("/v1/publish", { body: hello });
if (published.error) throw new Error(`${published.error.code}: ${published.error.message}`);
console.log(`delivered to ${published.data.delivered}`);

// Many in one request: a publish a line, and an answer a line.
const rows: PublishRequest[] = [1, 2].map((row) => ({
  target: { user: userId },
  message: { type: "row_checked", data: { row } },
}));
const batch = await client.POST("/v1/publish/batch", {
  body: rows.map((row) => JSON.stringify(row)).join("\n"),
  bodySerializer: (lines) => lines ?? "",
  headers: { "Content-Type": "application/x-ndjson" },
  parseAs: "text",
});
console.log(`batch: ${batch.data?.trim().split("\n").length} answers`);

const found = await client.GET("/v1/connections", { params: { query: { user: userId } } });
for (const each of found.data?.connections ?? []) console.log(`connection of ${each.userId}`);

// A refusal has a code for programs, and a message for people.
const refused = await client.POST("/v1/publish", { body: { ...hello, target: { user: "" } } });
console.log(`refused: ${refused.response.status} ${refused.error?.code}`);
