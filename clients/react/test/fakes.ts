// What the tests put in place of a network: a WebSocket with no other end. The client that does what it is told is public.

import { act } from "@testing-library/react";
import { vi } from "vitest";

/** The time in which listeners are called at most once. */
export const FRAME_MILLISECONDS = 16;

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
    // A client waits for a moment, for a server may open a connection only to refuse it.
    vi.advanceTimersByTime(10);
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
