// The address of a gateway, with the token in it or beside it. Text, since the `URL` of React Native cannot be changed.

import type { ClientOptions } from "./types.js";

/** The arguments of a WebSocket. */
export type Address = [url: string, protocols: string[]];

/**
 * Return the WebSocket address of a gateway, without a token.
 *
 * @throws TypeError if it is not a URL of a gateway.
 */
export function gatewayUrl(url: string, base = globalThis.location?.href): string {
  const address = typeof url === "string" && url !== "" ? absolute(url, base) : undefined;
  if (address === undefined || !/^(ws|http)s?:/.test(address)) {
    const given = typeof url === "string" ? JSON.stringify(url.split("?")[0]) : url;
    throw new TypeError(`url: got ${given}; allowed: a ws:, wss:, http: or https: address`);
  }
  // http: becomes ws:, and https: becomes wss:.
  return address.replace("http", "ws").replace(/#.*/s, "");
}

function absolute(url: string, base: string | undefined): string | undefined {
  try {
    return new URL(url, base).href;
  } catch {
    return undefined;
  }
}

/** Return the address with a token. */
export function addressWith(url: string, token: string, tokenIn: ClientOptions["tokenIn"]): Address {
  if (!token) return [url, ["tellwire.v1"]];
  if (tokenIn !== "query") return [url, ["tellwire.v1", `token.${token}`]];
  const [address, query = ""] = url.split("?");
  const others = query.split("&").filter((each) => each && !each.startsWith("token="));
  return [`${address}?${[...others, `token=${encodeURIComponent(token)}`].join("&")}`, []];
}
