// Views of a state that change only with the fields that were read. Plain TypeScript, without React.

/** Returns views of a state: notes the fields that are read, and returns another view when one of those has changed. */
export class TrackedViews<S extends object> {
  #fields: readonly (keyof S)[];
  #reads = new Set<keyof S>();
  #shown: { state: S; readonly view: S } | undefined;

  constructor(fields: readonly (keyof S)[]) {
    this.#fields = fields;
  }

  of(state: S): S {
    const shown = this.#shown;
    if (shown !== undefined && this.#readsTheSame(shown.state, state)) {
      // A field that is read for the first time later has to be up to date.
      shown.state = state;
      return shown.view;
    }
    const next = { state, view: {} as S };
    for (const field of this.#fields) {
      const get = (): unknown => {
        this.#reads.add(field);
        return next.state[field];
      };
      Object.defineProperty(next.view, field, { enumerable: true, get });
    }
    this.#shown = next;
    return next.view;
  }

  #readsTheSame(before: S, after: S): boolean {
    return before === after || [...this.#reads].every((field) => Object.is(before[field], after[field]));
  }
}

/** Return true if two values are the same, or lists or objects of the same values. */
export function isEqual(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (!isPlain(one) || !isPlain(other) || Array.isArray(one) !== Array.isArray(other)) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length && keys.every((key) => key in other && Object.is(one[key], other[key]))
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}
