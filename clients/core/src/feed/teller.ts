// The teller: tells the server the user's actions, one request after another, while there is a connection.

/** Something that the server was not told yet. */
export interface Untold {
  /** Tell it. */
  readonly say: () => unknown;
  /** The server knows, or will never take it. */
  readonly done: () => void;
}

/** Time after which a request without an answer is made again, in milliseconds. */
const AGAIN_MS = 10_000;
/** Refusals after which asking again is of no use. */
const FINAL = /^(UNKNOWN_TYPE|INVALID_\w+|HISTORY_MISSING|UPLOAD_\w+)$/;

/** Return true if a request was refused for good, and not for its time or for the connection. */
export function isFinal(error: unknown): boolean {
  return FINAL.test((error as { code?: string } | undefined)?.code ?? "");
}

export class Teller {
  readonly #next: () => Untold | undefined;
  readonly #isReady: () => boolean;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The run under way. */
  #run: object | undefined;

  constructor(next: () => Untold | undefined, isReady: () => boolean) {
    this.#next = next;
    this.#isReady = isReady;
  }

  /** Tell everything that is to be told, unless that is under way. */
  tell(): void {
    if (this.#run === undefined) void this.#tell();
  }

  /** Forget the request under way: it was another user's, or another log's. */
  forget(): void {
    clearTimeout(this.#timer);
    this.#run = undefined;
  }

  async #tell(): Promise<void> {
    const run = {};
    this.#run = run;
    clearTimeout(this.#timer);
    for (let next = this.#next(); next !== undefined && this.#isReady(); next = this.#next()) {
      try {
        await next.say();
      } catch (error) {
        if (this.#run !== run) return;
        if (!isFinal(error)) {
          this.#timer = setTimeout(() => this.tell(), AGAIN_MS);
          break;
        }
      }
      if (this.#run !== run) return;
      next.done();
    }
    this.#run = undefined;
  }
}
