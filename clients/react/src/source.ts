// An observable state. Plain TypeScript; React's part is in useSource.ts.

/** An observable state, in the shape of `useSyncExternalStore`. */
export interface Source<S> {
  /** Call after every change. Returns a function that ends the subscription. */
  readonly subscribe: (listener: () => void) => () => void;
  /** The state: the same object until something in it changes. */
  readonly get: () => S;
  /** The state that a server renders, and a page hydrates with. */
  readonly initial: S;
}

/** Listeners are called at most once in this time, so that a burst of messages costs one render a frame. */
export const FRAME_MILLISECONDS = 16;

/** The listeners of a source. They are called at once for a first message, and once for those of the frame after it. */
export class Changes {
  #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;

  readonly subscribe = (listener: () => void): (() => void) => {
    // The same function may subscribe twice; each subscription ends on its own.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  };

  /** Announce received messages. */
  announce(): void {
    if (this.#timer !== undefined) {
      this.#isLate = true;
      return;
    }
    this.#timer = setTimeout(() => this.#endFrame(), FRAME_MILLISECONDS);
    this.#call();
  }

  /** Announce a user's action, at once. */
  announceNow(): void {
    this.#isLate = false;
    this.#call();
  }

  #endFrame(): void {
    this.#timer = undefined;
    if (!this.#isLate) return;
    this.#isLate = false;
    this.announce();
  }

  #call(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
