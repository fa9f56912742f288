// The pace of uploads: how much of them is done, how fast, and the time that is left.
//
// Work is counted when it is heard of live, by a clock that is never set. What is done again after a retry counts again;
// what was missed counts for no time at all. A long silence begins a new measurement.

/** The time that a pace is measured over. */
const WINDOW_MS = 30_000;
/** A silence after which there is no pace. */
const SILENCE_MS = 60_000;
/** A pace is known after this time. */
const FIRST_MS = 2_000;
/** Time between two samples. */
const SAMPLE_MS = 500;

interface Sample {
  readonly at: number;
  /** Percent of uploads. */
  readonly work: number;
  readonly rows: number;
}

export class Pace {
  readonly #now: () => number;
  #samples: Sample[] = [];
  #work = 0;
  #rows = 0;
  #heardAt = 0;

  /** `now` is in milliseconds, and never set back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Some percent and rows of an upload were done. */
  add(work: number, rows: number): void {
    const at = this.#now();
    if (Math.abs(at - this.#heardAt) > SILENCE_MS) this.clear();
    this.#heardAt = at;
    this.#work += Math.max(0, work);
    this.#rows += Math.max(0, rows);
    const last = this.#samples.at(-1);
    if (last === undefined || at - last.at >= SAMPLE_MS) this.#samples.push({ at, work: this.#work, rows: this.#rows });
    // Two are enough for jobs that speak seldom.
    while (this.#samples.length > 2 && at - (this.#samples[0] as Sample).at > WINDOW_MS) this.#samples.shift();
  }

  /** Begin a new measurement. */
  clear(): void {
    this.#samples = [];
  }

  /** Return percent of uploads and rows for a second; undefined if that is not known. */
  get(): { readonly work: number; readonly rows: number } | undefined {
    const [first] = this.#samples;
    const elapsed = this.#heardAt - (first?.at ?? 0);
    if (first === undefined || elapsed < FIRST_MS || this.#now() - this.#heardAt >= SILENCE_MS) return undefined;
    return { work: ((this.#work - first.work) * 1000) / elapsed, rows: ((this.#rows - first.rows) * 1000) / elapsed };
  }

  /** The time until a pace is known no more if nothing is heard. */
  get silence(): number {
    return SILENCE_MS;
  }
}
