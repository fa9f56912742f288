// The entries of the bell and the toasts: notifications, and errors among them, newest first.

import type { Feed, ReceivedError, ReceivedNotification } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { OF_TONE, type Tone } from "./icons.js";
import type { Speaker } from "./words.js";

/** A notification, or an error in the form of one. */
export interface Entry {
  readonly id: string;
  readonly tone: Tone;
  /** Absent: an error, which has none. */
  readonly title?: string;
  readonly message: string;
  readonly time: number;
  readonly isRead: boolean;
  /** The user has seen it in a bell, on some device. */
  readonly isSeen: boolean;
  readonly isReplayed: boolean;
  readonly action?: { readonly url: string; readonly label: string | undefined };
}

const TONES: Record<ReceivedNotification["severity"], Tone> = {
  info: "busy",
  success: "good",
  warning: "warn",
  error: "bad",
};

/** Return all that a feed has, but for errors about an upload that is complete nevertheless: its line shows them. */
export function entriesOf(feed: Feed | undefined): Entry[] {
  if (feed === undefined) return [];
  const notifications = feed.notifications.get().notifications.map(ofNotification);
  const errors = feed.errors
    .get()
    .errors.filter(({ details }) => feed.uploads.find(uploadIn(details))?.status !== "complete")
    .map(ofError);
  if (errors.length === 0) return notifications;
  return [...notifications, ...errors].sort((one, other) => other.time - one.time);
}

/** Remove an entry, on every device. */
export function dismiss(feed: Feed | undefined, id: string): void {
  feed?.notifications.get().dismiss(id);
  feed?.errors.get().dismiss(id);
}

/** The picture, the texts and the action of an entry. `taken` is called when its action is taken. */
export function bodyOf(entry: Entry, speaker: Speaker, taken: () => void): Child[] {
  const { tone, action, message } = entry;
  return [
    h("span", { class: "tone", "data-tone": tone }, OF_TONE[tone]),
    h(
      "div",
      { class: "texts" },
      h("b", { dir: "auto" }, titleOf(entry, speaker)),
      h("p", { dir: "auto" }, message),
      action &&
        h(
          "a",
          { class: "action", part: "action", href: action.url, onclick: taken },
          action.label ?? speaker.say("open"),
        ),
    ),
  ];
}

/** The id of the upload that an error is about. */
export function uploadIn(details: unknown): string {
  return String((details as { uploadId?: unknown } | undefined)?.uploadId);
}

export function titleOf({ title }: Entry, speaker: Speaker): string {
  return title ?? speaker.say("problem");
}

function ofNotification(each: ReceivedNotification): Entry {
  const { id, title, message, severity, timestamp, isRead, isSeen, replayed, actionUrl, actionLabel } = each;
  const url = safe(actionUrl);
  return {
    id,
    tone: TONES[severity],
    title,
    message,
    time: Date.parse(timestamp),
    isRead,
    isSeen,
    isReplayed: replayed,
    ...(url !== undefined && { action: { url, label: actionLabel ?? undefined } }),
  };
}

function ofError({ id, message, timestamp, isRead, isSeen, replayed }: ReceivedError): Entry {
  return { id, tone: "bad", message, time: Date.parse(timestamp), isRead, isSeen, isReplayed: replayed };
}

/** The address of an action, if it is a page: a message must not run a script. */
function safe(url: string | null | undefined): string | undefined {
  if (!url || !URL.canParse(url, document.baseURI)) return undefined;
  return /^https?:$/.test(new URL(url, document.baseURI).protocol) ? url : undefined;
}
