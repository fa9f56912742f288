// The bell: how many notifications are unread, and all of them below it.

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
  useOutsidePress(root, isOpen, () => setOpen(false));
  // What comes while the list is open is read there.
  useEffect(() => {
    if (isOpen && unread > 0) markAllRead();
  }, [isOpen, unread, markAllRead]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes from wherever inside the focus is
    <div className="bell" ref={root} onKeyDown={({ key }) => key === "Escape" && isOpen && close()}>
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
  if (notifications.length === 0) return <p className="quiet">No notifications.</p>;
  return (
    <ol>
      {notifications.map((each) => (
        <Line key={each.id} notification={each} dismiss={dismiss} />
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

function useOutsidePress(root: { readonly current: HTMLElement | null }, isOn: boolean, act: () => void): void {
  useEffect(() => {
    if (!isOn) return;
    const press = ({ target }: PointerEvent): void => {
      if (!root.current?.contains(target as Node)) act();
    };
    document.addEventListener("pointerdown", press);
    return () => document.removeEventListener("pointerdown", press);
  });
}
