// The signed-in user: a name in the browser's storage, the same for all tabs. A real application has a session instead.

import { useSyncExternalStore } from "react";

const KEY = "partsbook.user";
const listeners = new Set<() => void>();

/** Return the name of the signed-in user, or null. */
export function useUser(): string | null {
  return useSyncExternalStore(subscribe, () => localStorage.getItem(KEY));
}

/** Sign in with a name, or out with null, in all tabs. */
export function setUser(name: string | null): void {
  if (name === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, name);
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  // The event of a change by another tab.
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}
