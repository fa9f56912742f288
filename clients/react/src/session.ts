// The store of a provider: a client, and the state that its messages build up.

import type { Client, ConnectionState } from "@tellwire/client";
import { Notifications } from "./notifications.js";
import type { Source } from "./source.js";
import { Uploads } from "./uploads.js";

const IDLE: ConnectionState = { status: "idle", attempt: 0 };

export class Session {
  readonly client: Client;
  readonly connection: Source<ConnectionState>;
  readonly uploads = new Uploads();
  readonly notifications: Notifications;

  constructor(client: Client) {
    this.client = client;
    this.notifications = new Notifications(() => client.ack());
    this.connection = {
      subscribe: (listener) => client.onState(listener),
      get: () => client.state,
      initial: IDLE,
    };
  }

  /**
   * Listen, and connect a client that is idle or closed; return a function that ends both.
   *
   * A component that is mounted, unmounted and mounted in one go, as in React's StrictMode, connects once.
   */
  start(): () => void {
    const { client } = this;
    const stops = [
      client.on("upload_progress", (message) => this.uploads.receive(message)),
      client.on("notification", (message) => this.notifications.receive(message)),
      client.on("seen", ({ data }) => this.notifications.see(data.cursor)),
    ];
    let isStarted = true;
    let isOurs = false;
    queueMicrotask(() => {
      isOurs = isStarted && (client.state.status === "idle" || client.state.status === "closed");
      if (isOurs) client.connect();
    });
    return () => {
      isStarted = false;
      for (const stop of stops) stop();
      if (isOurs) client.close();
    };
  }
}
