// The timeline of a client, for people: a line for each event that changes anything. It has no token, and of messages no
// data. It is a module of its own, since most pages never load it.

import type { Action, Event, Model } from "./model.js";
import type { Message, TopicState } from "./types.js";

/** Writes a line. */
export type Write = (line: string) => void;

type Loose = { type: string; [field: string]: unknown };

/** Write the lines of one event: the event, the actions, and the state if it is another one. */
export function tell(write: Write, before: Model, event: Event, after: Model, actions: readonly Action[]): void {
  const lines = [...linesOf(eventOf(event)), ...actions.flatMap((action) => linesOf(actionOf(action)))];
  if (after.state !== before.state) lines.push(`state: ${stateOf(after)}`);
  for (const [stream, { mode, state }] of after.streams) {
    const known = before.streams.get(stream);
    const isMissing = mode === "RESYNC" && known?.mode === "IN_ORDER" && after.current;
    if (isMissing && stream === "user") lines.push("a message is missing: hello follows");
    else if (isMissing) lines.push(`a message of ${stream} is missing: subscribe follows`);
    if (state && state !== known?.state) lines.push(`${stream}: ${topicOf(state)}`);
  }
  for (const line of lines) write(`tellwire: ${line}`);
}

function linesOf(line: string | undefined): string[] {
  return line === undefined ? [] : [line];
}

function eventOf(event: Event): string | undefined {
  switch (event.type) {
    case "tick":
      return undefined;
    case "received": {
      const text = `connection ${event.connection} received`;
      const message = parsed(event.data);
      return message && !["upload_progress", "notification"].includes(message.type)
        ? `${text} ${summaryOf(message)}`
        : undefined;
    }
    case "request":
      return `request ${event.id}: ${parsed(event.text)?.type}`;
    case "closed":
      return `connection ${event.connection} closed: ${event.code} ${event.reason}`.trimEnd();
    case "token failed":
      return `connection ${event.connection}: ${event.message}`;
    case "follow":
    case "leave":
    case "watch":
      return `${event.type} ${event.stream}`;
    case "token":
    case "opened":
      return `connection ${event.connection}: ${event.type === "token" ? "got a token" : "opened"}`;
    default:
      return event.type;
  }
}

function actionOf(action: Action): string | undefined {
  switch (action.type) {
    case "get token":
      return `connection ${action.connection}: asks for a token (${action.why})`;
    case "send":
      return `connection ${action.connection} sends ${summaryOf(action.message)}`;
    case "send text":
      return `connection ${action.connection} sends ${summaryOf(parsed(action.text) ?? { type: "text" })}`;
    case "drop":
      return `connection ${action.connection} is dropped`;
    case "settle":
      return `request ${action.id}: ${action.error?.code ?? "ok"}`;
    case "forget":
      return "begins anew as another user's";
    case "pass":
      return `passes ${summaryOf(action.message as Message & Loose)}`;
    default:
      return undefined;
  }
}

/** Return the parts of a message that say where it belongs. */
function summaryOf({ type, id, cursor, cursors, key, version, topic, data }: Loose): string {
  const { messages, state, recovered, last, code, topic: about } = (data ?? {}) as Record<string, unknown>;
  const [missed, states] = [messages, state].map((each) => (Array.isArray(each) ? each.length : undefined));
  const page = type === "welcome" || type === "subscribed" ? { missed, states, recovered, last } : {};
  const answer = ["error", "subscribed", "unsubscribed"].includes(type) ? { code, topic: about ?? topic } : { topic };
  const parts = Object.entries({ id, cursor, cursors, key, version, ...page, ...answer })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [type, ...parts].join(" ");
}

function stateOf({ state: { status, attempt, retryAt, reason, recovered, user } }: Model): string {
  const parts = [
    status,
    attempt > 0 && `attempt ${attempt}`,
    retryAt !== undefined && `next at ${new Date(retryAt).toISOString()}`,
    recovered !== undefined && (recovered ? "nothing missed" : "messages may be missing"),
    user !== undefined && `user ${user}`,
    reason && `because ${reason.message} (${[reason.kind, reason.code, reason.error].filter(Boolean).join(", ")})`,
  ];
  return parts.filter(Boolean).join(", ");
}

function topicOf({ status, recovered, error }: TopicState): string {
  const told = recovered === undefined ? undefined : recovered ? "nothing missed" : "messages may be missing";
  return [status, told, error && `because ${error.message} (${error.code})`].filter(Boolean).join(", ");
}

function parsed(data: unknown): Loose | undefined {
  try {
    const message = JSON.parse(data as string);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
