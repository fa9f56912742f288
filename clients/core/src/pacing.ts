// The pace of the application's requests, as pure code: each waits until the server's limits allow it.
//
// It keeps to four fifths of the limits. The rest is for the client's own messages, which do not wait, and for a network
// that delays some messages and so delivers more of them at once.

import type { LimitsData } from "./messages.js";

const SHARE = 0.8;

/** The part of the model that pacing changes. */
export interface Pacing {
  /** Time from one message to the next, in milliseconds, and messages at once. */
  sendInterval: number;
  sendBurst: number;
  /** Time at which all of the burst is allowed again, in milliseconds since 1970. */
  sendFullAt: number;
  /** Largest number of topics. */
  maxSubscriptions: number;
}

/** The pacing before a welcome: nothing waits. */
export const UNLIMITED: Pacing = { sendInterval: 0, sendBurst: 1, sendFullAt: 0, maxSubscriptions: Infinity };

/** Take the limits of a welcome, if it names any. */
export function limit(pacing: Pacing, limits: LimitsData): void {
  const { maxRequestsPerSecond: perSecond = 0, maxRequestBurst: burst = 0 } = limits;
  pacing.maxSubscriptions = limits.maxSubscriptions ?? pacing.maxSubscriptions;
  if (perSecond > 0 && burst > 0) {
    pacing.sendInterval = 1000 / (perSecond * SHARE);
    pacing.sendBurst = Math.max(1, Math.floor(burst * SHARE));
  }
}

/** Take the next turn if it has come; return its time. */
export function takeTurn(pacing: Pacing, now: number): number {
  const fullAt = Math.max(pacing.sendFullAt, now) + pacing.sendInterval;
  const at = fullAt - pacing.sendInterval * pacing.sendBurst;
  if (at <= now) pacing.sendFullAt = fullAt;
  return at;
}
