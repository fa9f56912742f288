// React hooks that read a `Store`. A component renders again only if the value that it shows has changed.

import type { Store } from "@tellwire/client/feed";
import { useInsertionEffect, useRef, useState, useSyncExternalStore } from "react";
import { isEqual, TrackedViews } from "./views.js";

/** Return a state of these fields, by default all. The component renders again when one has changed that it reads. */
export function useTracked<S extends object>(
  source: Store<S>,
  fields: readonly (keyof S)[] = Object.keys(source.initial) as never,
): S {
  const [views] = useState(() => new TrackedViews<S>(fields));
  return useSyncExternalStore(
    source.subscribe,
    () => views.of(source.get()),
    () => views.of(source.initial),
  );
}

/** Return the value that a function selects from a state. The component renders again when it is not equal. */
export function useSelected<S, V>(source: Store<S>, select: (state: S) => V): V {
  const shown = useRef<{ readonly value: V } | undefined>(undefined);
  const show = (state: S): V => {
    const value = select(state);
    if (shown.current === undefined || !isEqual(shown.current.value, value)) shown.current = { value };
    return shown.current.value;
  };
  return useSyncExternalStore(
    source.subscribe,
    () => show(source.get()),
    () => show(source.initial),
  );
}

/** Return a reference to the value of the last render, for code that runs later. */
export function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}
