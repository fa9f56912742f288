// The listeners of a client, or of a topic. One that throws is reported, and the others are still called.

import type { ConnectionState, Message, Unsubscribe } from "./types.js";

type Listener = (value: never) => void;

/** The key of listeners for states; no message has it as its type. */
const STATE = Symbol("state");

export class Listeners<S = ConnectionState> {
  readonly #listeners = new Map<string | symbol, Set<{ call: Listener }>>();
  readonly #reportError: (error: unknown) => void;
  #state: S;

  constructor(state: S, reportError: (error: unknown) => void) {
    this.#state = state;
    this.#reportError = reportError;
  }

  get state(): S {
    return this.#state;
  }

  onState(listener: (state: S) => void): Unsubscribe {
    return this.#add(STATE, listener);
  }

  on(type: string, listener: Listener): Unsubscribe {
    return this.#add(type, listener);
  }

  /** Change the state, and call the listeners if it is a new one. */
  become(state: S): void {
    if (state === this.#state) return;
    this.#state = state;
    // A listener may have caused a newer state. Then all listeners were called with that one.
    this.#call(STATE, state, () => this.#state === state);
  }

  /** Pass a message to the listeners of its type, then to those of all types. */
  pass(message: Message): void {
    this.#call(message.type, message);
    this.#call("*", message);
  }

  #add(key: string | symbol, call: Listener): Unsubscribe {
    const listeners = this.#listeners.get(key) ?? new Set();
    // The same function may be added twice, and removed once.
    const added = { call };
    this.#listeners.set(key, listeners.add(added));
    return () => {
      listeners.delete(added);
    };
  }

  #call(key: string | symbol, value: unknown, isCurrent = () => true): void {
    for (const { call } of [...(this.#listeners.get(key) ?? [])]) {
      if (!isCurrent()) return;
      try {
        call(value as never);
      } catch (error) {
        this.#reportError(error);
      }
    }
  }
}
