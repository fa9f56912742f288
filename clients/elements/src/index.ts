// Custom elements for any page: `<tellwire-uploads>`, `<tellwire-bell>`, `<tellwire-toasts>` and `<tellwire-status>`.
//
//     session.ts     the connection that all elements of a page share
//     element.ts     the base of them: the feed, the words, the language
//     dom.ts         a tree of what is shown, and its patches
//     entries.ts     notifications and errors as the bell and the toasts show them
//     words.ts       all words, and numbers and times as people of a language write them
//     languages/     the words of each language
//     uploads.ts, bell.ts, toasts.ts, status.ts   an element each
//     look.ts        the colours, and the rules that all have in common
//     icons.ts       the pictures

import { TellwireBell } from "./bell.js";
import { TellwireStatus } from "./status.js";
import { TellwireToasts } from "./toasts.js";
import { TellwireUploads, type UnsentUpload } from "./uploads.js";

export type { Feed } from "@tellwire/client/feed";
export { connect, type SessionOptions } from "./session.js";
export { setWords, type Words } from "./words.js";
export { TellwireBell, TellwireStatus, TellwireToasts, TellwireUploads, type UnsentUpload };

const ELEMENTS = {
  "tellwire-bell": TellwireBell,
  "tellwire-status": TellwireStatus,
  "tellwire-toasts": TellwireToasts,
  "tellwire-uploads": TellwireUploads,
};

// A page may have the script twice: the first one counts.
for (const [name, element] of Object.entries(ELEMENTS)) {
  if (!customElements.get(name)) customElements.define(name, element);
}

declare global {
  interface HTMLElementTagNameMap {
    "tellwire-bell": TellwireBell;
    "tellwire-status": TellwireStatus;
    "tellwire-toasts": TellwireToasts;
    "tellwire-uploads": TellwireUploads;
  }
}
