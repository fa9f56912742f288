// A network that can be cut. The client gets its WebSocket from here, by its `environment`, and the page its requests. While
// the network is cut both fail as in a tunnel: open connections are lost, and new ones cannot be made.
//
// All tabs of a browser are on the same network, so a BroadcastChannel cuts it in all of them.

/** Time after which an attempt to connect fails while the network is cut, in milliseconds. */
const NO_ANSWER_MS = 300;

/** Time at which the network comes back, in milliseconds since 1970; undefined while it is not cut. */
export let cutUntil: number | undefined;

/** Functions that lose a connection. */
const open = new Set<() => void>();
const channel = new BroadcastChannel("partsbook.network");
channel.onmessage = ({ data }: MessageEvent<number | undefined>) => become(data);
let timer: ReturnType<typeof setTimeout> | undefined;

/** Cut the network for some seconds, in all tabs; with 0 restore it. Each has the event `cut` then. */
export function cutNetwork(seconds: number): void {
  const until = seconds === 0 ? undefined : Date.now() + seconds * 1000;
  channel.postMessage(until);
  become(until);
}

function become(until: number | undefined): void {
  const wasCut = cutUntil !== undefined;
  cutUntil = until;
  clearTimeout(timer);
  if (until !== undefined) {
    timer = setTimeout(() => become(undefined), until - Date.now());
    for (const lose of [...open]) lose();
    // As a browser does when its network comes back.
  } else if (wasCut) window.dispatchEvent(new Event("online"));
  window.dispatchEvent(new Event("cut"));
}

/** A WebSocket over this network. */
export class SwitchedWebSocket extends WebSocket {
  constructor(url: string, protocols?: string[]) {
    super(url, protocols);
    let isLost = cutUntil !== undefined;
    const lose = (): void => {
      isLost = true;
      super.close();
      this.dispatchEvent(new CloseEvent("close", { code: 1006 }));
    };
    for (const name of ["open", "message", "error", "close"])
      this.addEventListener(name, (event) => {
        if (isLost && event.isTrusted) event.stopImmediatePropagation();
        else if (name === "close") open.delete(lose);
      });
    open.add(lose);
    if (!isLost) return;
    super.close();
    setTimeout(lose, NO_ANSWER_MS);
  }
}

/** `fetch` over this network. */
export async function request(url: string, init: RequestInit): Promise<Response> {
  if (cutUntil) throw new TypeError("there is no network");
  return fetch(url, init);
}

/** Send bytes with PATCH, and tell how many have gone out, which `fetch` does not. Rejects if the connection is lost. */
export function patch(
  url: string,
  headers: Record<string, string>,
  bytes: Blob,
  sent: (count: number) => void,
  signal: AbortSignal,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const going = new XMLHttpRequest();
    const lose = (): void => {
      going.abort();
      reject(new TypeError("there is no network"));
    };
    if (cutUntil || signal.aborted) return lose();
    going.open("PATCH", url);
    for (const [name, value] of Object.entries(headers)) going.setRequestHeader(name, value);
    going.upload.onprogress = ({ loaded }) => sent(loaded);
    going.onload = () => resolve(new Response(going.responseText || null, { status: going.status }));
    going.onerror = lose;
    going.onloadend = () => open.delete(lose);
    open.add(lose);
    signal.addEventListener("abort", lose);
    going.send(bytes);
  });
}
