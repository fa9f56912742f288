// Toasts: new notifications, for some seconds, in a corner. They stay while they are hovered or have the focus; errors stay
// until they are closed. All of them are in the list of the bell, too.

import { type ReceivedNotification, useConnection, useNotifications } from "@tellwire/react";
import { type ReactElement, useEffect, useState } from "react";
import { Icon, type IconName } from "./icons.tsx";

const SHOWN = 3;
const SHOWN_MS = 6_000;

export const ICONS: Record<ReceivedNotification["severity"], IconName> = {
  info: "info",
  success: "check",
  warning: "alert",
  error: "alert",
};

export function Toasts(): ReactElement {
  const { notifications } = useNotifications();
  const isNew = useIsNew(notifications);
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const [isHeld, setHeld] = useState(false);
  const close = (id: string): void => setClosed((before) => new Set(before).add(id));
  const open = notifications.filter(({ id, isRead }) => !isRead && !closed.has(id) && isNew(id));
  const shown = open.slice(0, SHOWN);
  return (
    <section className="toasts" aria-label="New messages">
      <ol
        aria-live="polite"
        aria-relevant="additions"
        onPointerEnter={() => setHeld(true)}
        onPointerLeave={() => setHeld(false)}
        onFocus={() => setHeld(true)}
        onBlur={() => setHeld(false)}
      >
        {shown.map((each) => (
          <Toast key={each.id} notification={each} isHeld={isHeld} close={() => close(each.id)} />
        ))}
      </ol>
      {open.length > shown.length && <p className="toasts-more">and {open.length - shown.length} more</p>}
    </section>
  );
}

/** Select the notifications that arrived live: those of the first welcome are in the list only. */
function useIsNew(notifications: readonly ReceivedNotification[]): (id: string) => boolean {
  const { recovered } = useConnection();
  const [first, setFirst] = useState<ReadonlySet<string>>();
  // By the time the end of a welcome is rendered, all its messages have passed.
  if (first === undefined && recovered !== undefined) setFirst(new Set(notifications.map(({ id }) => id)));
  return (id) => first !== undefined && !first.has(id);
}

interface ToastProps {
  notification: ReceivedNotification;
  isHeld: boolean;
  close: () => void;
}

function Toast({ notification, isHeld, close }: ToastProps): ReactElement {
  const { title, message, severity } = notification;
  const goes = severity !== "error" && !isHeld;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `close` is another with every render, and does the same
  useEffect(() => {
    if (!goes) return;
    const timer = setTimeout(close, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [goes]);
  return (
    <li className="toast" data-severity={severity}>
      <Icon name={ICONS[severity]} />
      <div>
        <b>{title}</b>
        <p>{message}</p>
      </div>
      <button type="button" className="button ghost icon-only" onClick={close} aria-label={`Close: ${title}`}>
        <Icon name="close" />
      </button>
    </li>
  );
}
