// The pictures: lines in a square of 24.

import { h, type Tree } from "./dom.js";

const icon = (d: string): Tree => h("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d }));

export const CLOSE = icon("M6 6l12 12M18 6L6 18");
export const BELL = icon("M18 9a6 6 0 0 0-12 0c0 6-2 7-2 7h16s-2-1-2-7M10 20a2 2 0 0 0 4 0");
const CHECK = icon("M5 13l4 4L19 7");
const ALERT = icon("M12 4l9 16H3zM12 10v4M12 17.2v.1");
const INFO = icon("M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 11v5M12 8v.1");

/** The tone of something that has happened, with its picture: the colour never says it alone. */
export type Tone = "good" | "busy" | "warn" | "bad";

export const OF_TONE: Record<Tone, Tree> = { good: CHECK, busy: INFO, warn: ALERT, bad: ALERT };
