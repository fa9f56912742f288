// A store: a state that others listen to. Every part of the feed is one.

/** An observable state. Svelte takes it as a store; `get` and `initial` are for React, Vue and others. */
export interface Store<S> {
  /** Call with the state at once, and after every change. Returns a function that ends the subscription. */
  readonly subscribe: (listener: (state: S) => void) => () => void;
  /** The state: the same object until something in it changes. */
  readonly get: () => S;
  /** The state that a server renders, and a page hydrates with. */
  readonly initial: S;
}

/** Listeners are called at most once in this time, so that a burst of messages costs one render a frame. */
export const FRAME_MILLISECONDS = 16;

/**
 * A store whose state is computed when somebody asks for it after a change.
 *
 * Listeners are called at once for a first message, and once for those of the frame after it.
 */
export class Computed<S> implements Store<S> {
  readonly initial: S;
  readonly #compute: (before: S) => S;
  readonly #prepare: () => void;
  readonly #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;
  #isOutdated = false;
  #state: S;

  /** `prepare` is called before the state is read. */
  constructor(initial: S, compute: (before: S) => S, prepare: () => void = () => {}) {
    this.initial = this.#state = initial;
    this.#compute = compute;
    this.#prepare = prepare;
  }

  readonly subscribe = (listener: (state: S) => void): (() => void) => {
    // The same function may subscribe twice; each subscription ends on its own.
    const call = (): void => listener(this.get());
    this.#listeners.add(call);
    call();
    return () => void this.#listeners.delete(call);
  };

  readonly get = (): S => {
    this.#prepare();
    if (this.#isOutdated) {
      this.#isOutdated = false;
      this.#state = this.#compute(this.#state);
    }
    return this.#state;
  };

  /** A received message has changed something. */
  changed(): void {
    this.#isOutdated = true;
    if (this.#timer !== undefined) {
      this.#isLate = true;
      return;
    }
    this.#timer = setTimeout(() => this.#endFrame(), FRAME_MILLISECONDS);
    this.#call();
  }

  /** A user's action, or another user, has changed something: tell it at once. */
  changedNow(): void {
    this.#isOutdated = true;
    this.#isLate = false;
    this.#call();
  }

  /** Something has changed that is told later. */
  outdate(): void {
    this.#isOutdated = true;
  }

  #endFrame(): void {
    this.#timer = undefined;
    if (!this.#isLate) return;
    this.#isLate = false;
    this.changed();
  }

  #call(): void {
    for (const call of [...this.#listeners]) call();
  }
}
