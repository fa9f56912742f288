// Hello on a connection, in a step of the state machine: it asks for the missed messages of the user and of topics, which wait
// for the answers (resequencer.ts).

import { MAX_HELLO_TOPICS } from "./limits.js";
import { type Step, send } from "./step.js";
import { topicsOf, USER } from "./streams.js";
import { ask } from "./topics.js";

type ByStream<T> = Record<string, T>;

/** Say hello on the current connection. */
export function sayHello(step: Step, isSeamless?: boolean): void {
  step.helloAt = step.now;
  const hello: { type: "hello"; cursors?: ByStream<string>; version?: number; versions?: ByStream<number> } = {
    type: "hello",
  };
  const topics = topicsOf(step.streams).filter(([, { mode, state }]) => state && /^(RES|BUF)/.test(mode));
  for (const stream of [USER, ...topics.slice(0, MAX_HELLO_TOPICS).map(([stream]) => stream)]) {
    const { cursor, version } = ask(step, stream, isSeamless);
    if (cursor !== undefined || stream !== USER) hello.cursors = { ...hello.cursors, [stream]: cursor ?? "" };
    if (version && stream !== USER) hello.versions = { ...hello.versions, [stream]: version };
    else if (version) hello.version = version;
  }
  send(step, hello);
}
