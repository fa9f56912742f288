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

client.on("*", (message) => {
  switch (message.type) {
    case "upload_progress":
      return showBar(message.data.uploadId, message.data.progress, message.data.message);
    case "notification":
      return showToast(message.data.severity, message.data.title, message.data.message);
  }
});

interface MyEvents {
  comment_added: { mocId: string; text: string };
  add_comment: (comment: { mocId: string; text: string }) => { commentId: string };
}

const mine = new TellwireClient<MyEvents>({ url: "wss://live.example.com", getToken: () => session.idToken() });

mine.on("comment_added", ({ data }) => showComment(data.mocId, data.text));
mine.send("add_comment", { mocId: "moc-1", text: "Nice!" });

const comments = client.topic("moc:1:comments");

comments.on("comment_added", ({ data }) => showComment("moc-1", String(data)));
comments.onState(({ status, recovered, error }) => {
  if (status === "refused") showBanner("no comments", error?.message);
  if (recovered === false) reloadComments();
});
comments.close();

const here = client.topic("moc:1:comments").presence;

const stop = here.subscribe(({ members, count, isComplete, isLive }) => {
  const names = members.map(({ userId, info: { name = userId } = {} }) => String(name));
  showPeople(isComplete ? names : [...names, `${count - names.length} more`], isLive);
});

const { data } = (await mine.send("add_comment", { mocId: "moc-1", text: "Nice!" })) ?? {};
showComment("moc-1", data?.commentId ?? "");

client.onState(({ recovered }) => {
  if (recovered === false) reloadUploads();
});

const kept = new TellwireClient({
  url: "wss://live.example.com",
  getToken: () => session.idToken(),
  cursorStorage: "session",
  cursorKey: session.userId,
});

import { sharedClient } from "@tellwire/client/shared";

const shared = sharedClient({ url: "wss://live.example.com", user: session.userId, getToken: () => session.idToken() });

import NetInfo from "@react-native-community/netinfo";
import { environment } from "@tellwire/client/react-native";
import { AppState } from "react-native";

const mobile = new TellwireClient({
  url: "wss://live.example.com",
  getToken: () => session.idToken(),
  environment: environment({ AppState, NetInfo }),
});

import { WebSocket } from "ws";

const device = new TellwireClient({ url: "wss://live.example.com", getToken: () => token, environment: { WebSocket } });

declare const token: string;
declare const session: { userId: string; idToken(options?: { forceRefresh: boolean }): Promise<string> };
declare function showBar(uploadId: string, progress: number, message: string): void;
declare function showToast(severity: "info" | "success" | "warning" | "error", title: string, message: string): void;
declare function showBanner(status: string, reason: string | undefined): void;
declare function showPeople(names: readonly string[], isLive: boolean): void;
declare function showComment(mocId: string, text: string): void;

declare function reloadComments(): void;
declare function reloadUploads(): void;

export { device, kept, mobile, shared, stop };
