// The connection: its state, its recent events, and a switch that cuts the network.

import type { ConnectionState } from "@tellwire/client";
import { useClient, useConnection } from "@tellwire/react";
import { type ReactElement, useEffect, useState } from "react";
import { Icon } from "./icons.tsx";
import { network, useCutUntil } from "./network.ts";
import { useNow } from "./use-now.ts";
import { MISSED, secondsUntil, type Tone, type Words, wordsOf } from "./words.ts";

const CUT_SECONDS = 10;
const EVENTS_SHOWN = 5;

/** The state in one or two words. */
export function ConnectionPill(): ReactElement {
  const { tone, label } = useWords();
  return (
    <span className="pill" data-tone={tone}>
      <span className="visually-hidden">Connection: </span>
      {label}
    </span>
  );
}

/** A line that is shown only if messages may be missing. */
export function Missed(): ReactElement | null {
  const { recovered } = useConnection();
  if (recovered !== false) return null;
  return (
    <p className="quiet missed">
      <Icon name="info" /> {MISSED}
    </p>
  );
}

export function ConnectionCard(): ReactElement {
  const { tone, headline, detail } = useWords();
  const { status } = useConnection();
  const client = useClient();
  const events = useEvents();
  return (
    <section className="card" aria-labelledby="connection-title">
      <h2 id="connection-title">Connection</h2>
      <p className="state" data-tone={tone}>
        {headline}
      </p>
      <p className="quiet">{detail}</p>
      {(status === "waiting" || status === "closed") && (
        <button type="button" className="button" onClick={() => client.connect()}>
          Connect now
        </button>
      )}
      <NetworkSwitch />
      {events.length > 0 && (
        <ol className="events" aria-label="What happened to the connection">
          {events.map(({ at, text, tone }) => (
            <li key={`${at} ${text}`} data-tone={tone}>
              <time>{new Date(at).toLocaleTimeString([], { hour12: false })}</time> {text}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function NetworkSwitch(): ReactElement {
  const cutUntil = useCutUntil();
  const isCut = cutUntil !== undefined;
  const now = useNow(isCut);
  const flip = (): void => (isCut ? network.restore() : network.cut(CUT_SECONDS));
  return (
    <div className="switch-row">
      <button
        type="button"
        role="switch"
        aria-checked={isCut}
        className="switch"
        onClick={flip}
        aria-describedby="cut-hint"
      >
        <span className="switch-track" aria-hidden="true" />
        Kill the network
      </button>
      <p className="quiet small" id="cut-hint">
        {isCut
          ? `Nothing gets through to this browser for ${secondsUntil(cutUntil, now)} s. Your other devices go on.`
          : `Drops the connection of this browser, and lets no other through for ${CUT_SECONDS} s.`}
      </p>
    </div>
  );
}

function useWords(): Words {
  const state = useConnection();
  const now = useNow(state.retryAt !== undefined);
  return wordsOf(state, now);
}

interface Event {
  readonly at: number;
  readonly text: string;
  readonly tone: Tone;
}

/** Return the events of the connection, newest first. */
function useEvents(): readonly Event[] {
  const client = useClient();
  const [events, setEvents] = useState<readonly Event[]>([]);
  useEffect(() => {
    let before = client.state;
    let lostAt: number | undefined;
    return client.onState((state) => {
      const at = Date.now();
      const text = eventOf(before, state, lostAt === undefined ? undefined : at - lostAt);
      if (before.status === "open" && state.status !== "open") lostAt = at;
      if (state.status === "open") lostAt = undefined;
      before = state;
      if (text === undefined) return;
      setEvents((all) => [{ at, text, tone: wordsOf(state, at).tone }, ...all].slice(0, EVENTS_SHOWN));
    });
  }, [client]);
  return events;
}

function eventOf(before: ConnectionState, state: ConnectionState, goneMs: number | undefined): string | undefined {
  if (state.status === "open" && before.status !== "open") {
    return goneMs === undefined ? "Connected" : `Back after ${(goneMs / 1000).toFixed(1)} s`;
  }
  if (before.status === "open" && state.status !== "open") return "Connection lost";
  if (before.status === "connecting" && state.status === "waiting") return `Try ${before.attempt} failed`;
  return undefined;
}
