// What a browser or Node has, as an `Environment`. Everything is looked up when it is used: Node has no window, and tests
// put their own timers in place.

import type { Environment, Sign, Socket, Unsubscribe } from "./types.js";

const SIGNS: Record<string, Sign> = { online: "online", offline: "offline", pageshow: "wake", resume: "wake" };

/** Return the surroundings, with what was given in place of the default. */
export function environment(given: Partial<Environment> = {}): Environment {
  return { ...surroundings(), ...given };
}

function surroundings(): Environment {
  return {
    WebSocket: globalThis.WebSocket as unknown as new (url: string, protocols?: string[]) => Socket,
    now: () => Date.now(),
    setTimeout: (run, milliseconds) => setTimeout(run, milliseconds),
    clearTimeout: (timer) => clearTimeout(timer as number),
    random: () => Math.random(),
    online: () => globalThis.navigator?.onLine !== false,
    onSign,
    onLeave,
    reportError: (error) => (globalThis.reportError ?? console.error)(error),
  };
}

function onSign(listener: (sign: Sign) => void): Unsubscribe {
  const page = globalThis.document;
  if (page === undefined) return () => {};
  const seen = (event: Event): void => {
    const sign = SIGNS[event.type];
    if (sign !== undefined) listener(sign);
    else if (page.visibilityState === "visible") listener("wake");
  };
  const sources: [EventTarget, string[]][] = [
    [globalThis.window, ["online", "offline", "pageshow"]],
    [page, ["visibilitychange", "resume"]],
  ];
  for (const [target, names] of sources) for (const name of names) target.addEventListener(name, seen);
  return () => {
    for (const [target, names] of sources) for (const name of names) target.removeEventListener(name, seen);
  };
}

function onLeave(listener: () => void): Unsubscribe {
  const { window, document } = globalThis;
  if (document === undefined) return () => {};
  window.addEventListener("pagehide", listener);
  document.addEventListener("freeze", listener);
  return () => {
    window.removeEventListener("pagehide", listener);
    document.removeEventListener("freeze", listener);
  };
}
