// The time, for countdowns.

import { useEffect, useReducer } from "react";

/** Return the time in milliseconds since 1970, and render anew every half second while `isOn`. */
export function useNow(isOn: boolean): number {
  const [, renderAgain] = useReducer((times: number) => times + 1, 0);
  useEffect(() => {
    if (!isOn) return;
    const timer = setInterval(renderAgain, 500);
    return () => clearInterval(timer);
  }, [isOn]);
  return Date.now();
}
