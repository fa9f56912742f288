// The feed of a user: a client, and the stores that its messages build up.
//
// Rules:
// - Nothing of a user is left when another one comes, or the session ends for that. Every store looks at the client's
//   user before it is read, so that is so at any moment.
// - The server is told what the user did when there is a connection and its welcome has ended. What it did not answer it
//   is told again.

import { parseCursor } from "../resequencer.js";
import type { Client, ConnectionState } from "../types.js";
import { Computed, type Store } from "./store.js";
import { Teller, type Untold } from "./teller.js";
import { type Upload, type UploadGroups, Uploads, type UploadsSummary } from "./uploads.js";
import { type ErrorsState, type NotificationsState, UserLog } from "./userLog.js";

const IDLE: ConnectionState = { status: "idle", attempt: 0 };

/** The uploads in the order of their first messages, with the actions on them. */
export interface UploadsStore extends Store<readonly Upload[]> {
  /** Return one; undefined before its first message. The same object until it changes. */
  readonly find: (uploadId: string) => Upload | undefined;
  readonly groups: Store<UploadGroups>;
  readonly summary: Store<UploadsSummary>;
  /** Cancel one. Its state follows; rejects with the server's code if there is nothing to cancel. */
  readonly cancel: (uploadId: string) => Promise<unknown>;
  /** Show an ended one no more, on every device. One that has not ended is ignored: cancel it. */
  readonly dismiss: (uploadId: string) => void;
  /** Show all ended ones no more, on every device. */
  readonly clearFinished: () => void;
}

export interface FeedOptions {
  notifications?: {
    /** Load those that the server keeps. False: only those that arrive, until `loadMore`. Default: true. */
    kept?: boolean;
  };
  /** Milliseconds by a clock that is never set. Default: `performance.now`. */
  now?: () => number;
}

/**
 * Return the feed of a client. It does nothing before `start()`.
 *
 *     const feed = createFeed(client);
 *     feed.notifications.subscribe(({ unread }) => badge.show(unread));
 *     const stop = feed.start();
 */
export function createFeed(client: Client, options: FeedOptions = {}): Feed {
  return new Feed(client, options);
}

export class Feed {
  readonly client: Client;
  readonly connection: Store<ConnectionState>;
  readonly uploads: UploadsStore;
  readonly notifications: Store<NotificationsState>;
  readonly errors: Store<ErrorsState>;

  readonly #isKept: boolean;
  readonly #connection: Computed<ConnectionState>;
  readonly #uploads: Uploads;
  readonly #log: UserLog;
  readonly #teller: Teller;
  #isStarted = false;
  /** The user that everything here is of. */
  #user: string | undefined;
  /** Everything was forgotten, and nobody was told. */
  #isForgotten = false;
  /** The state that was followed last. */
  #state = IDLE;
  /** The epoch of the last welcome. */
  #epoch: string | undefined;

  constructor(client: Client, { notifications: { kept = true } = {}, now = () => performance.now() }: FeedOptions) {
    const prepare = (): void => this.#checkUser();
    const isReady = (): boolean => this.#isStarted && client.state.recovered !== undefined;
    const tell = (): void => this.#teller.tell();
    this.client = client;
    this.#isKept = kept;
    this.#teller = new Teller(() => this.#untold(), isReady);
    this.#uploads = new Uploads(now, prepare);
    this.#log = new UserLog({ client, prepare, isReady, tell, begun: () => this.#teller.forget() });
    this.connection = this.#connection = new Computed(IDLE, () => client.state);
    this.notifications = this.#log.notifications;
    this.errors = this.#log.errors;
    const { list, groups, summary } = this.#uploads;
    this.uploads = {
      ...list,
      groups,
      summary,
      find: (uploadId) => this.#uploads.find(uploadId),
      cancel: (uploadId) => {
        const answer = Promise.resolve(client.cancel(uploadId));
        // Not everybody waits for it.
        answer.catch(() => {});
        return answer;
      },
      dismiss: (uploadId) => {
        this.#uploads.dismiss(uploadId);
        tell();
      },
      clearFinished: () => {
        this.#uploads.clearFinished();
        tell();
      },
    };
  }

  /**
   * Listen, and connect a client that is idle or closed; return a function that ends both.
   *
   * A component that is mounted, unmounted and mounted in one go, as in React's StrictMode, connects once. Start the feed
   * before its client connects: the states of uploads come once.
   */
  readonly start = (): (() => void) => {
    const { client } = this;
    const log = this.#log;
    const stops = [
      client.onState((state) => this.#follow(state)),
      client.on("upload_progress", (message) => this.#uploads.receive(message)),
      client.on("dismissed", ({ data }) => this.#uploads.forget(data.key)),
      client.on("notification", (message) => log.receive(message)),
      client.on("error", (message) => log.receive(message)),
      client.on("seen", ({ data }) => log.see(data.cursor)),
      client.on("marks", ({ data }) => log.take(data)),
    ];
    let [isMounted, isOurs] = [true, false];
    this.#isStarted = true;
    this.#follow(client.state);
    queueMicrotask(() => {
      isOurs = isMounted && (client.state.status === "idle" || client.state.status === "closed");
      if (isOurs) client.connect();
    });
    return () => {
      isMounted = this.#isStarted = false;
      this.#teller.forget();
      this.#uploads.stop();
      for (const stop of stops) stop();
      if (isOurs) client.close();
    };
  };

  #untold(): Untold | undefined {
    const found = this.#uploads.untold();
    return found ? { say: () => this.client.dismiss(found.what), done: found.done } : this.#log.untold();
  }

  #follow(state: ConnectionState): void {
    const before = this.#state;
    this.#state = state;
    this.#checkUser();
    if (before.status === "open" && state.status !== "open") this.#uploads.disconnected();
    if (state.recovered !== undefined && state !== before) this.#welcome(state.recovered);
    this.#connection.changedNow();
    if (!this.#isForgotten) return;
    this.#isForgotten = false;
    this.#uploads.changedNow();
    this.#log.changedNow();
  }

  #welcome(isRecovered: boolean): void {
    const epoch = parseCursor(this.client.cursors.user)?.epoch;
    if (epoch !== this.#epoch && this.#epoch !== undefined) this.#uploads.begin();
    this.#epoch = epoch ?? this.#epoch;
    this.#log.welcome(epoch, isRecovered, this.#isKept);
    this.#teller.tell();
  }

  /** Forget everything if the client's user is another one, or its session has ended for that. */
  #checkUser(): void {
    const { user, status, reason } = this.client.state;
    const isOver = status === "closed" && reason?.kind === "user";
    const isAnother = user !== undefined && user !== this.#user;
    if (this.#user !== undefined && (isOver || isAnother)) this.#clear();
    this.#user = isOver ? undefined : (user ?? this.#user);
  }

  #clear(): void {
    this.#isForgotten = true;
    this.#epoch = undefined;
    this.#uploads.clear();
    this.#log.clear();
  }
}
