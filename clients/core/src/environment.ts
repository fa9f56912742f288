// The `Environment` of a browser or Node. Everything is looked up when it is used: Node has no window, and tests replace
// the timers.

import type { Environment, PageEvent, Socket, Unsubscribe } from "./types.js";

const EVENTS: Record<string, PageEvent> = { online: "online", offline: "offline", pageshow: "wake", resume: "wake" };

/** Return the environment, with the given parts in place of the defaults. */
export function environment(given: Partial<Environment> = {}): Environment {
  return { ...defaults(), ...given };
}

function defaults(): Environment {
  return {
    WebSocket: globalThis.WebSocket as unknown as new (url: string, protocols?: string[]) => Socket,
    now: () => Date.now(),
    setTimeout: (run, milliseconds) => setTimeout(run, milliseconds),
    clearTimeout: (timer) => clearTimeout(timer as number),
    random: () => Math.random(),
    online: () => globalThis.navigator?.onLine !== false,
    onPageEvent,
    onPageHide,
    reportError: (error) => (globalThis.reportError ?? console.error)(error),
  };
}

function onPageEvent(listener: (event: PageEvent) => void): Unsubscribe {
  return listen(["online", "offline", "pageshow"], ["visibilitychange", "resume"], ({ type }) => {
    const event = EVENTS[type];
    if (event !== undefined) listener(event);
    else if (document.visibilityState === "visible") listener("wake");
  });
}

function onPageHide(listener: () => void): Unsubscribe {
  return listen(["pagehide"], ["freeze"], listener);
}

/** Listen to events of the window and of the document, if there are any. */
function listen(ofWindow: string[], ofDocument: string[], listener: (event: Event) => void): Unsubscribe {
  const { window, document } = globalThis;
  if (document === undefined) return () => {};
  const each = (change: "addEventListener" | "removeEventListener"): void => {
    for (const name of ofWindow) window[change](name, listener);
    for (const name of ofDocument) document[change](name, listener);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
