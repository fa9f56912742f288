// The topics of a relay: the tabs that follow each one, and their requests. A server answers only the newest request about
// a topic, so each one waits until the one before it was answered. Tabs that ask for the same do so together.
//
// When another tab takes the lead, all tabs ask for all their topics. So requests leave in the pace that the server allows,
// but for those that the hello says: `carry`.

import { MAX_HELLO_TOPICS } from "./limits.js";
import type { LimitsData } from "./messages.js";
import { limit, type Pacing, takeTurn } from "./pacing.js";
import type { Environment, Message } from "./types.js";

/** A `subscribe` or an `unsubscribe` of a tab. */
export interface TopicRequest {
  readonly type: string;
  readonly topic?: string;
  readonly cursor?: string;
  readonly version?: number;
}

/** The messages about who is in a topic. */
export const PRESENCE = ["presence", "join", "leave"];

interface Asked {
  readonly tabs: string[];
  readonly text: string;
  /** It has left; until then it waits for its turn. */
  isSent?: boolean;
  /** A hello said it. */
  isCarried?: boolean;
}

interface Relayed {
  /** The tabs that follow it. */
  readonly tabs: Set<string>;
  /** The requests without an answer, and the tabs that make them. The first one was sent, or is about to be. */
  readonly asked: Asked[];
}

/** The fields of the data of an answer. */
interface AnswerData {
  readonly topic?: string;
  readonly last?: boolean;
  readonly code?: string;
}

/** The pace before a welcome: that of a gateway with its usual limits. */
const PACE: Pacing = { sendInterval: 62.5, sendBurst: 40, sendFullAt: 0, maxSubscriptions: Infinity };

export class RelayedTopics {
  readonly #topics = new Map<string, Relayed>();
  readonly #send: (text: string) => void;
  readonly #environment: Pick<Environment, "now" | "setTimeout">;
  readonly #pacing = { ...PACE };
  /** Those that wait for their turn. */
  #waiting: Asked[] = [];
  #isTimed = false;

  constructor(send: (text: string) => void, environment: Pick<Environment, "now" | "setTimeout">) {
    this.#send = send;
    this.#environment = environment;
  }

  get isUsed(): boolean {
    return this.#topics.size > 0;
  }

  /** Something that a hello said has no answer. */
  get isCarrying(): boolean {
    return [...this.#topics.values()].some(({ asked }) => asked[0]?.isCarried);
  }

  /** Take the limits of a welcome. */
  obey(limits: LimitsData): void {
    limit(this.#pacing, limits);
  }

  /** Send no more: the connection has ended. */
  end(): void {
    this.#waiting = [];
  }

  /** Return those of these requests that a hello is to say. The others are made in their turn. */
  carry(requests: readonly (readonly [request: TopicRequest, from: string])[]): TopicRequest[] {
    const carried: TopicRequest[] = [];
    for (const [request, from] of requests)
      this.say(request, from, (asked) => {
        if (carried.length >= MAX_HELLO_TOPICS) return this.#queue(asked);
        Object.assign(asked, { isSent: true, isCarried: true });
        carried.push(request);
      });
    return carried;
  }

  /** Make a request of a tab in its turn. Return the answer if nothing is to be sent, since other tabs go on to follow. */
  say(request: TopicRequest, from: string, send = (asked: Asked): void => this.#queue(asked)): string | undefined {
    const topic = request.topic as string;
    const { tabs, asked } = this.#topics.get(topic) ?? { tabs: new Set<string>(), asked: [] };
    this.#topics.set(topic, { tabs, asked });
    if (request.type === "subscribe") tabs.add(from);
    else {
      tabs.delete(from);
      if (tabs.size > 0) return JSON.stringify({ type: "unsubscribed", data: { topic } });
    }
    const text = JSON.stringify(request);
    const [first] = asked;
    if (first?.tabs.includes(from)) {
      // A tab that asks again has waited in vain: the answer will not come. One whose request has not left waits on.
      if (!first.isSent && first.text === text) return undefined;
      if (first.isSent) asked.shift();
    }
    if (first !== undefined && first === asked[0]) {
      const same = asked.find((each, index) => (index > 0 || !each.isSent) && each.text === text);
      if (same === undefined) asked.push({ tabs: [from], text });
      else if (!same.tabs.includes(from)) same.tabs.push(from);
      return undefined;
    }
    const next = { tabs: [from], text };
    asked.unshift(next);
    send(next);
    return undefined;
  }

  /** A tab has gone. */
  gone(tab: string): void {
    for (const [topic, { tabs }] of [...this.#topics]) if (tabs.has(tab)) this.say({ type: "unsubscribe", topic }, tab);
  }

  /** Return the tabs that a message is for, if it is of a topic or about one; after the end of an answer, make the next request. */
  receivers(message: Message): readonly string[] | undefined {
    if (message.topic !== undefined) return [...(this.#topics.get(message.topic)?.tabs ?? [])];
    const { type, data } = message;
    const { topic, last, code } = (data ?? {}) as AnswerData;
    const relayed = this.#topics.get(topic as string);
    if (relayed === undefined) return undefined;
    const { tabs, asked } = relayed;
    // For all: those that did not ask ignore it, and for those that did an answer to another tab is as good.
    if (PRESENCE.includes(type)) return [...tabs];
    if (!["subscribed", "unsubscribed", "error"].includes(type)) return undefined;
    // The right was withdrawn.
    if (type === "unsubscribed" && code) return [...tabs];
    const to = asked[0]?.tabs ?? [...tabs];
    if (type === "subscribed" && !last) return to;
    asked.shift();
    if (asked[0] !== undefined) this.#queue(asked[0]);
    else if (tabs.size === 0) this.#topics.delete(topic as string);
    return to;
  }

  #queue(asked: Asked): void {
    this.#waiting.push(asked);
    if (!this.#isTimed) this.#sendDue();
  }

  #sendDue(): void {
    const { now, setTimeout } = this.#environment;
    this.#isTimed = false;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const wait = takeTurn(this.#pacing, now()) - now();
      if (wait > 0) {
        this.#isTimed = true;
        setTimeout(() => this.#sendDue(), wait);
        return;
      }
      this.#waiting.shift();
      next.isSent = true;
      this.#send(next.text);
    }
  }
}
