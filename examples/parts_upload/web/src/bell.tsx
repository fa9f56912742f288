// The bell: the number of unread notifications, and the list of all.

import { type ReceivedNotification, useNotifications } from "@tellwire/react";
import { type ReactElement, useEffect, useRef, useState } from "react";
import { Icon } from "./icons.tsx";
import { ICONS } from "./toasts.tsx";

export function Bell(): ReactElement {
  const { unread, markAllRead } = useNotifications();
  const [isOpen, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  useWhileOpen(root, isOpen, close, () => setOpen(false));
  // A notification that arrives while the list is open is read there.
  useEffect(() => {
    if (isOpen && unread > 0) markAllRead();
  }, [isOpen, unread, markAllRead]);
  return (
    <div className="bell" ref={root}>
      <button
        ref={button}
        type="button"
        className="button ghost icon-only"
        aria-expanded={isOpen}
        aria-controls="notifications"
        aria-label={unread === 0 ? "Notifications" : `Notifications, ${unread} unread`}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="bell" />
        {unread > 0 && (
          <span className="badge" aria-hidden="true">
            {unread > 99 ? "99+" : unread}
          </span>
        )}
      </button>
      <section id="notifications" className="card panel" hidden={!isOpen} aria-label="Notifications">
        {isOpen && <List />}
      </section>
    </div>
  );
}

function List(): ReactElement {
  const { notifications, dismiss } = useNotifications();
  const list = useRef<HTMLOListElement>(null);
  const dismissAndStay = (id: string): void => {
    dismiss(id);
    // The button that had the focus is removed with its line.
    list.current?.focus();
  };
  return (
    <ol ref={list} tabIndex={-1} aria-label={notifications.length === 0 ? "No notifications" : "Newest first"}>
      {notifications.length === 0 && <li className="quiet">No notifications.</li>}
      {notifications.map((each) => (
        <Line key={each.id} notification={each} dismiss={dismissAndStay} />
      ))}
    </ol>
  );
}

interface LineProps {
  notification: ReceivedNotification;
  dismiss: (id: string) => void;
}

function Line({ notification, dismiss }: LineProps): ReactElement {
  const { id, title, message, severity, timestamp } = notification;
  return (
    <li data-severity={severity}>
      <Icon name={ICONS[severity]} />
      <div>
        <b>{title}</b>
        <p>{message}</p>
        <time className="quiet small" dateTime={timestamp}>
          {new Date(timestamp).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}
        </time>
      </div>
      <button
        type="button"
        className="button ghost icon-only"
        onClick={() => dismiss(id)}
        aria-label={`Dismiss: ${title}`}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}

/** Close on Escape, or on a press elsewhere, which then gets the focus. */
function useWhileOpen(
  root: { readonly current: HTMLElement | null },
  isOpen: boolean,
  close: () => void,
  leave: () => void,
): void {
  useEffect(() => {
    if (!isOpen) return;
    const press = ({ target }: PointerEvent): void => {
      if (!root.current?.contains(target as Node)) leave();
    };
    const key = (event: KeyboardEvent): void => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("pointerdown", press);
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("pointerdown", press);
      document.removeEventListener("keydown", key);
    };
  });
}
