// The address of a gateway, with the token in it or beside it.

import type { ClientOptions } from "./types.js";

/** The arguments of a WebSocket. */
export type Address = [url: string, protocols: string[]];

/**
 * Return the WebSocket address of a gateway, without a token.
 *
 * @throws TypeError if it is not a URL of a gateway.
 */
export function gatewayUrl(url: string): URL {
  const address = parsed(url);
  if (address === undefined || !/^(ws|http)s?:$/.test(address.protocol)) {
    throw new TypeError(`url: got ${JSON.stringify(url.split("?")[0])}; allowed: a ws:, wss:, http: or https: address`);
  }
  // http: becomes ws:, and https: becomes wss:.
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  return address;
}

function parsed(url: string): URL | undefined {
  try {
    return new URL(url, globalThis.location?.href);
  } catch {
    return undefined;
  }
}

/** Return the address with a token. */
export function addressWith(url: URL, token: string, tokenIn: ClientOptions["tokenIn"]): Address {
  if (tokenIn !== "query") return [url.href, ["tellwire.v1", `token.${token}`]];
  const address = new URL(url);
  address.searchParams.set("token", token);
  return [address.href, []];
}
