// What the tests put in place of a network: a client that does what it is told, and a WebSocket with no other end.

import type { AnyMessage, Client, ConnectionState, MessageOf, MessageType } from "@tellwire/client";
import { act } from "@testing-library/react";
import { vi } from "vitest";

export class FakeClient implements Client {
  state: ConnectionState = { status: "idle", attempt: 0 };
  cursors: Client["cursors"] = {};
  readonly calls: string[] = [];
  readonly sent: unknown[] = [];
  #stateListeners = new Set<(state: ConnectionState) => void>();
  #listeners = new Set<readonly [MessageType, (message: never) => void]>();

  get listeners(): number {
    return this.#stateListeners.size + this.#listeners.size;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): () => void {
    const entry = [type, listener] as const;
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  send(type: string, data?: unknown): boolean {
    this.sent.push({ type, data });
    return this.state.status === "open";
  }

  ack(cursor?: string): boolean {
    this.sent.push({ type: "ack", cursor });
    return this.state.status === "open";
  }

  cancel(uploadId: string): boolean {
    this.sent.push({ type: "cancel", uploadId });
    return this.state.status === "open";
  }

  connect(): void {
    this.calls.push("connect");
    this.become({ status: "connecting", attempt: 1 });
  }

  close(): void {
    this.calls.push("close");
    this.become({ status: "closed", attempt: 0 });
  }

  become(state: ConnectionState): void {
    this.state = state;
    for (const listener of [...this.#stateListeners]) listener(state);
  }

  receive(message: AnyMessage): void {
    for (const [type, listener] of [...this.#listeners]) {
      if (type === message.type || type === "*") listener(message as never);
    }
  }
}

/** A WebSocket that a test opens, speaks through and closes. */
export class FakeWebSocket {
  static made: FakeWebSocket[] = [];
  static get last(): FakeWebSocket {
    const last = FakeWebSocket.made.at(-1);
    if (last === undefined) throw new Error("no socket was made");
    return last;
  }

  readonly url: string;
  readonly protocols: string[];
  /** What it was sent, but for hellos. */
  readonly sent: string[] = [];
  readyState = 0;
  protocol = "";
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;

  constructor(url: string | URL, protocols: string[] = []) {
    this.url = String(url);
    this.protocols = protocols;
    FakeWebSocket.made.push(this);
  }

  /** Those that are connecting or open. */
  static get alive(): FakeWebSocket[] {
    return FakeWebSocket.made.filter((each) => each.readyState <= 1);
  }

  send(text: string): void {
    if (this.readyState === 0) throw new DOMException("connecting", "InvalidStateError");
    if (this.readyState === 1 && !text.startsWith('{"type":"hello"')) this.sent.push(text);
  }

  close(code = 1005): void {
    if (this.readyState > 1) return;
    this.readyState = 2;
    queueMicrotask(() => this.drop(code));
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.(new Event("open"));
  }

  receive(message: unknown): void {
    this.onmessage?.(new MessageEvent("message", { data: JSON.stringify(message) }));
  }

  drop(code = 1006): void {
    this.readyState = 3;
    if (code === 1006) this.onerror?.(new Event("error"));
    this.onclose?.(new CloseEvent("close", { code, wasClean: code !== 1006 }));
  }
}

/** Put it in place of the browser's, with none made so far. */
export function fakeWebSockets(): void {
  FakeWebSocket.made = [];
  vi.stubGlobal("WebSocket", FakeWebSocket);
}

/** Let what is due without waiting happen: microtasks and renders. */
export async function settle(run: () => void = () => {}): Promise<void> {
  await act(async () => {
    run();
    await vi.advanceTimersByTimeAsync(0);
  });
}

/** Let time pass. */
export async function pass(milliseconds: number): Promise<void> {
  await act(async () => void (await vi.advanceTimersByTimeAsync(milliseconds)));
}
