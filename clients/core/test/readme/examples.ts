// The README's examples, so that the type check reads them. What they take for granted is declared below.

import { TellwireClient } from "@tellwire/client";

const client = new TellwireClient({
  url: "wss://live.example.com",
  getToken: (why) => session.idToken({ forceRefresh: why !== "connect" }),
});

client.on("upload_progress", ({ data }) => showBar(data.uploadId, data.progress, data.message));
client.on("notification", ({ data }) => showToast(data.severity, data.title, data.message));
client.onState(({ status, reason }) => showBanner(status, reason?.message));
client.connect();

declare module "@tellwire/client" {
  interface CustomTypes {
    comment_added: { mocId: string; text: string };
  }
}

client.on("comment_added", ({ data }) => showComment(data.mocId, data.text));

client.onState(({ recovered }) => {
  if (recovered === false) reloadUploads();
});

const kept = new TellwireClient({
  url: "wss://live.example.com",
  getToken: () => session.idToken(),
  cursorStorage: sessionStorage,
  cursorKey: session.userId,
});

import { sharedClient } from "@tellwire/client/shared";

const shared = sharedClient({ url: "wss://live.example.com", user: session.userId, getToken: () => session.idToken() });

import { WebSocket } from "ws";

const device = new TellwireClient({ url: "wss://live.example.com", getToken: () => token, environment: { WebSocket } });

declare const token: string;
declare const session: { userId: string; idToken(options?: { forceRefresh: boolean }): Promise<string> };
declare function showBar(uploadId: string, progress: number, message: string): void;
declare function showToast(severity: "info" | "success" | "warning" | "error", title: string, message: string): void;
declare function showBanner(status: string, reason: string | undefined): void;
declare function showComment(mocId: string, text: string): void;

declare function reloadUploads(): void;

export { device, kept, shared };
