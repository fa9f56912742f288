// A network that can be cut. The client gets its WebSocket from here, by its `environment`, and the page its `fetch`. While
// the network is cut both fail as in a tunnel: open connections are lost, and new ones cannot be made.
//
// All tabs of a browser are on the same network, so a BroadcastChannel cuts it in all of them.

import type { Environment, Socket } from "@tellwire/client";
import { useSyncExternalStore } from "react";

/** Time after which an attempt to connect fails while the network is cut, in milliseconds. */
const NO_ANSWER_MS = 300;

export class Network {
  readonly environment: Partial<Environment>;
  #cutUntil: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #channel = new BroadcastChannel("partsbook.network");
  #sockets = new Set<SwitchedSocket>();
  #listeners = new Set<() => void>();

  constructor() {
    const network = this;
    this.environment = {
      WebSocket: class extends SwitchedSocket {
        constructor(url: string, protocols?: string[]) {
          super(network.isCut ? undefined : new WebSocket(url, protocols), network.#sockets);
        }
      },
    };
    this.#channel.onmessage = ({ data }: MessageEvent<number | undefined>) => this.#become(data);
  }

  /** Time at which the network comes back, in milliseconds since 1970; undefined while it is not cut. */
  readonly cutUntil = (): number | undefined => this.#cutUntil;

  get isCut(): boolean {
    return this.#cutUntil !== undefined;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** Cut the network for some seconds, in all tabs. */
  cut(seconds: number): void {
    this.#broadcast(Date.now() + seconds * 1000);
  }

  /** Restore the network, in all tabs. */
  restore(): void {
    this.#broadcast(undefined);
  }

  /** `fetch` over this network. */
  readonly fetch: typeof fetch = async (input, init) => {
    if (this.isCut) throw new TypeError("there is no network");
    return fetch(input, init);
  };

  #broadcast(cutUntil: number | undefined): void {
    this.#channel.postMessage(cutUntil);
    this.#become(cutUntil);
  }

  #become(cutUntil: number | undefined): void {
    const wasCut = this.isCut;
    this.#cutUntil = cutUntil;
    clearTimeout(this.#timer);
    if (cutUntil !== undefined) {
      this.#timer = setTimeout(() => this.#become(undefined), cutUntil - Date.now());
      for (const socket of [...this.#sockets]) socket.lose();
    } else if (wasCut) {
      // As a browser does when its network comes back.
      window.dispatchEvent(new Event("online"));
    }
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A socket whose connection can be lost. Without an inner socket, its server never answers. */
class SwitchedSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  #socket: WebSocket | undefined;
  #all: Set<SwitchedSocket>;

  constructor(socket: WebSocket | undefined, all: Set<SwitchedSocket>) {
    this.#socket = socket;
    this.#all = all;
    all.add(this);
    if (socket === undefined) {
      setTimeout(() => this.lose(), NO_ANSWER_MS);
      return;
    }
    socket.onopen = (event) => this.onopen?.(event as never);
    socket.onmessage = (event) => this.onmessage?.(event as never);
    socket.onerror = (event) => this.onerror?.(event as never);
    socket.onclose = (event) => this.#end(event);
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  close(code?: number): void {
    this.#all.delete(this);
    this.#socket?.close(code);
  }

  /** Close as a lost connection does. */
  lose(): void {
    if (!this.#all.has(this)) return;
    if (this.#socket !== undefined) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onerror = this.#socket.onclose = null;
      this.#socket.close();
    }
    this.#end(new CloseEvent("close", { code: 1006 }));
  }

  #end(event: CloseEvent): void {
    this.#all.delete(this);
    this.onclose?.(event as never);
  }
}

/** The network of this page. */
export const network = new Network();

/** Return the time at which the network comes back, in milliseconds since 1970; undefined while it is not cut. */
export function useCutUntil(): number | undefined {
  return useSyncExternalStore(network.subscribe, network.cutUntil);
}
