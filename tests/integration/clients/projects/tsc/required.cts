// CommonJS that requires an ES module: TypeScript 5.8 and Node 20.19, or newer.

import { TellwireClient } from "@tellwire/client";
import { sharedClient } from "@tellwire/client/shared";

const options = { url: "wss://live.example.com", getToken: () => "a-token" };
export const clients = [new TellwireClient(options), sharedClient({ ...options, user: "user-1" })];
