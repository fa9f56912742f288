// The log of received messages, oldest first.

import type { AnyMessage } from "@tellwire/client";
import { Changes, type Source } from "./source.js";

/** Largest number of messages that are kept. The oldest is removed first. */
export const MAX_MESSAGES = 10_000;

const NONE: readonly AnyMessage[] = [];

export class MessageLog implements Source<readonly AnyMessage[]> {
  readonly initial = NONE;
  #changes = new Changes();
  #messages: AnyMessage[] = [];
  #list: readonly AnyMessage[] | undefined = NONE;

  readonly subscribe = this.#changes.subscribe;

  readonly get = (): readonly AnyMessage[] => {
    this.#list ??= this.#messages.slice();
    return this.#list;
  };

  add(message: AnyMessage): void {
    this.#messages.push(message);
    if (this.#messages.length > MAX_MESSAGES) this.#messages.shift();
    this.#list = undefined;
    this.#changes.announce();
  }
}
