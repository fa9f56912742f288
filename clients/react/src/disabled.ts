// The client of a provider that is not enabled: nothing arrives, and every request is refused.

import type { Client, PresenceState } from "@tellwire/client";

const nothing = (): void => {};
const NOBODY: PresenceState = { members: [], count: 0, isComplete: false, isLive: false };

/** Return a client that never connects. */
export function disabledClient(): Client {
  const refuse = (): Promise<never> => {
    const error = Object.assign(new Error("there is no connection: the provider is not enabled"), { code: "CLOSED" });
    const refused = Promise.reject(error);
    // Not everybody waits for the answer of a request.
    refused.catch(nothing);
    return refused;
  };
  const client = {
    state: { status: "idle", attempt: 0 } as const,
    cursors: {},
    onState: () => nothing,
    on: () => nothing,
    connect: nothing,
    close: nothing,
    send: refuse,
    ack: refuse,
    cancel: refuse,
    dismiss: refuse,
    read: refuse,
    history: refuse,
    topic: (name: string) => ({
      name,
      state: { status: "subscribing" } as const,
      presence: { subscribe: () => nothing, getSnapshot: () => NOBODY },
      onState: () => nothing,
      on: () => nothing,
      publish: refuse,
      history: refuse,
      close: nothing,
    }),
  };
  return client;
}
