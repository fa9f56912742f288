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
  return listen(["online", "offline", "pageshow"], ["visibilitychange", "resume"], ({ type }) => {
    const sign = SIGNS[type];
    if (sign !== undefined) listener(sign);
    else if (document.visibilityState === "visible") listener("wake");
  });
}

function onLeave(listener: () => void): Unsubscribe {
  return listen(["pagehide"], ["freeze"], listener);
}

/** Listen to events of the window and of the document, if there are any. */
function listen(ofWindow: string[], ofPage: string[], listener: (event: Event) => void): Unsubscribe {
  const { window, document } = globalThis;
  if (document === undefined) return () => {};
  const each = (change: "addEventListener" | "removeEventListener"): void => {
    for (const name of ofWindow) window[change](name, listener);
    for (const name of ofPage) document[change](name, listener);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
