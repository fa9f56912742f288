// The log of received messages, oldest first.

import type { CustomMessage } from "@tellwire/client";
import { Computed } from "@tellwire/client/feed";

/** Largest number of messages that are kept. The oldest is removed first. */
export const MAX_MESSAGES = 10_000;

const NONE: readonly CustomMessage[] = [];

export class MessageLog extends Computed<readonly CustomMessage[]> {
  #messages: CustomMessage[] = [];

  constructor() {
    super(NONE, () => this.#messages.slice());
  }

  add(message: CustomMessage): void {
    this.#messages.push(message);
    if (this.#messages.length > MAX_MESSAGES) this.#messages.shift();
    this.changed();
  }
}
