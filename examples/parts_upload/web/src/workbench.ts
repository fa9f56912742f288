// Behind the scenes: a switch that cuts the network, and the events of the connection.

import type { Client, ConnectionState } from "@tellwire/client";
import { byId, el } from "./dom.ts";
import { cutNetwork, cutUntil } from "./network.ts";

const CUT_SECONDS = 10;
const EVENTS_SHOWN = 5;

/** Show it, until the signal. */
export function showWorkbench(client: Client, signal: AbortSignal): void {
  const button = byId("cut");
  button.onclick = () => cutNetwork(cutUntil ? 0 : CUT_SECONDS);
  const show = (): void => {
    button.setAttribute("aria-checked", String(cutUntil !== undefined));
    byId("cut-hint").textContent = cutUntil
      ? `Nothing gets through to this browser for ${CUT_SECONDS} s. Your other devices go on.`
      : `Drops the connection of this browser, and lets no other through for ${CUT_SECONDS} s.`;
  };
  show();
  window.addEventListener("cut", show, { signal });
  followEvents(client, signal);
}

function followEvents(client: Client, signal: AbortSignal): void {
  let before = client.state;
  let lostAt = 0;
  client.onState((state) => {
    if (before.status === "open" && state.status !== "open") lostAt = Date.now();
    const text = eventOf(before, state, lostAt);
    before = state;
    if (text === undefined || signal.aborted) return;
    const list = byId("events");
    const time = el("time", { textContent: new Date().toLocaleTimeString() });
    list.prepend(el("li", {}, time, ` ${text}`));
    list.children[EVENTS_SHOWN]?.remove();
  });
}

function eventOf(before: ConnectionState, state: ConnectionState, lostAt: number): string | undefined {
  if (state.status === "open" && before.status !== "open")
    return lostAt === 0 ? "Connected" : `Back after ${((Date.now() - lostAt) / 1000).toFixed(1)} s`;
  if (before.status === "open" && state.status !== "open") return "Connection lost";
  if (before.status === "connecting" && state.status === "waiting") return `Try ${before.attempt} failed`;
  return undefined;
}
