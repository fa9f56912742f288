// A throttled value.

import { useEffect, useRef, useState } from "react";

/** Return the value, or an earlier one: it changes at most once in `pauseMs`. */
export function usePaused<T>(value: T, pauseMs: number): T {
  const [shown, setShown] = useState(value);
  const changedAt = useRef(0);
  useEffect(() => {
    if (Object.is(shown, value)) return;
    const show = (): void => {
      changedAt.current = Date.now();
      setShown(value);
    };
    const wait = changedAt.current + pauseMs - Date.now();
    if (wait <= 0) return show();
    const timer = setTimeout(show, wait);
    return () => clearTimeout(timer);
  }, [shown, value, pauseMs]);
  return shown;
}
