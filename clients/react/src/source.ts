// What components read from: a state that says when it is another. Plain TypeScript; React's part is in use-source.ts.

/** A state and its changes, in the shape of `useSyncExternalStore`. */
export interface Source<S> {
  /** Call after every change, until taken back. */
  readonly subscribe: (listener: () => void) => () => void;
  /** The state: the same object until something in it changes. */
  readonly get: () => S;
  /** The state that a server renders, and a page hydrates with. */
  readonly initial: S;
}

/** Listeners are called at most once in this time, so a burst of messages costs one render a frame. */
export const FRAME_MILLISECONDS = 16;

/** Those who want to know of changes. A first message is told of at once; those of the frame after it together. */
export class Changes {
  #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isLate = false;

  readonly subscribe = (listener: () => void): (() => void) => {
    // The same function may be there twice; each is taken back on its own.
    const entry = (): void => listener();
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  };

  /** Tell of what has arrived. */
  tell(): void {
    if (this.#timer !== undefined) {
      this.#isLate = true;
      return;
    }
    this.#timer = setTimeout(() => this.#endFrame(), FRAME_MILLISECONDS);
    this.#call();
  }

  /** Tell at once of what a person did. */
  tellNow(): void {
    this.#isLate = false;
    this.#call();
  }

  #endFrame(): void {
    this.#timer = undefined;
    if (!this.#isLate) return;
    this.#isLate = false;
    this.tell();
  }

  #call(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
