// CommonJS that imports an ES module when it needs it: everywhere.

import type { TellwireClient } from "@tellwire/client" with { "resolution-mode": "import" };

export async function made(): Promise<TellwireClient> {
  const client = await import("@tellwire/client");
  return new client.TellwireClient({ url: "wss://live.example.com", getToken: () => "a-token" });
}
