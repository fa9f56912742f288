// The HTTP API of the demo server. Files go by tus.ts.

import type { TokenReason } from "@tellwire/client";
import { request } from "./network.ts";

/** The limits of the server: files of one upload, and the bytes of each. */
export interface Limits {
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly maxImageBytes: number;
}

/** A request was refused. */
export class Refusal extends Error {
  status = 0;
  code: string | undefined;

  static async of(response: Response): Promise<Refusal> {
    const problem = (await response.json().catch(() => ({}))) as { code?: string; message?: string };
    const refusal = new Refusal(problem.message ?? `The server answered with ${response.status}`);
    return Object.assign(refusal, { status: response.status, code: problem.code });
  }
}

/** A token is not used again if it expires sooner than this. */
const ALMOST_EXPIRED_MS = 5_000;

export class Api {
  readonly user: string;
  #token: { readonly text: string; readonly expiresAt: number } | undefined;

  constructor(user: string) {
    this.user = user;
  }

  /** Return a token for the gateway: the cached one, unless it was refused or is about to expire. */
  readonly token = async (why: TokenReason = "connect"): Promise<string> => {
    if (why === "connect" && this.#token && this.#token.expiresAt > Date.now() + ALMOST_EXPIRED_MS)
      return this.#token.text;
    const response = await ask("POST", "/demo/token", {}, { name: this.user });
    const { token } = (await response.json()) as { token: string };
    this.#token = { text: token, expiresAt: expiryOf(token) };
    return token;
  };

  /** The header of the user's requests. */
  async authorization(): Promise<Record<string, string>> {
    return { authorization: `Bearer ${await this.token()}` };
  }

  async limits(): Promise<Limits> {
    return (await ask("GET", "/demo/limits", {})).json();
  }

  async send(method: "GET" | "POST" | "DELETE", path: string, body?: object): Promise<Response> {
    return ask(method, path, await this.authorization(), body);
  }
}

async function ask(method: string, path: string, headers: Record<string, string>, body?: object): Promise<Response> {
  const response = await request(path, { method, headers, body: body ? JSON.stringify(body) : null });
  if (response.ok) return response;
  throw await Refusal.of(response);
}

function expiryOf(token: string): number {
  const claims = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  return (JSON.parse(atob(claims)) as { exp: number }).exp * 1000;
}
