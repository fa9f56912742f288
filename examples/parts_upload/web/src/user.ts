// Who is signed in: a name, remembered by the browser, so all its tabs agree. A real application has a session in its place.

import { useSyncExternalStore } from "react";

const KEY = "partsbook.user";
const listeners = new Set<() => void>();

/** Return the name of who is signed in, or null. */
export function useUser(): string | null {
  return useSyncExternalStore(subscribe, () => localStorage.getItem(KEY));
}

/** Sign in by a name, or out by null; in all tabs. */
export function setUser(name: string | null): void {
  if (name === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, name);
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  // It tells of what other tabs did.
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}
