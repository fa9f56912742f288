// The HTTP API of the demo server: tokens, files, and their results.

import type { TokenReason } from "@tellwire/client";
import type { Network } from "./network.ts";

/** The kind of an upload. Each kind has its worker. */
export type Kind = "parts" | "images";

/** The limits of the server. */
export interface Limits {
  /** Files of one upload. */
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  /** Of a picture. */
  readonly maxImageBytes: number;
}

/** A token is not used again if it expires sooner than this. */
const ALMOST_EXPIRED_MS = 5_000;

export class Api {
  readonly user: string;
  #network: Network;
  #limits: Promise<Limits> | undefined;
  #token: { readonly text: string; readonly expiresAt: number } | undefined;

  constructor(network: Network, user: string) {
    this.#network = network;
    this.user = user;
  }

  /** Return a token for the gateway: the cached one, unless it was refused or is about to expire. */
  readonly token = async (why: TokenReason = "connect"): Promise<string> => {
    const isGood = this.#token !== undefined && this.#token.expiresAt - Date.now() > ALMOST_EXPIRED_MS;
    if (why === "connect" && isGood) return (this.#token as { text: string }).text;
    const response = await this.#ask("POST", "token", JSON.stringify({ name: this.user }));
    const { token } = (await response.json()) as { token: string };
    this.#token = { text: token, expiresAt: expiryOf(token) };
    return token;
  };

  /** Return the limits of the server, which is asked once. */
  limits(): Promise<Limits> {
    this.#limits ??= this.#ask("GET", "limits").then((response) => response.json() as Promise<Limits>);
    this.#limits.catch(() => {
      this.#limits = undefined;
    });
    return this.#limits;
  }

  /** Send the files of an upload, and start it. */
  async upload(id: string, kind: Kind, files: readonly File[], paced: boolean): Promise<void> {
    for (const [index, file] of files.entries()) {
      await this.#askAsUser("PUT", `uploads/${id}/files/${index + 1}?name=${encodeURIComponent(file.name)}`, file);
    }
    await this.#askAsUser("POST", `uploads/${id}`, JSON.stringify({ kind, paced }));
  }

  /** Start an upload of the server's sample files. */
  async samples(paced: boolean): Promise<void> {
    await this.#askAsUser("POST", "samples", JSON.stringify({ paced }));
  }

  /** Return the thumbnails of an upload, as files. */
  async thumbnails(id: string): Promise<Blob[]> {
    const response = await this.#askAsUser("GET", `uploads/${id}/thumbnails`);
    const { thumbnails } = (await response.json()) as { thumbnails: string[] };
    const load = async (name: string) => (await this.#askAsUser("GET", `uploads/${id}/thumbnails/${name}`)).blob();
    return Promise.all(thumbnails.map(load));
  }

  /** Return the row errors of an upload, as CSV. The gateway stores them. */
  async rowErrors(id: string): Promise<Blob> {
    const headers = { authorization: `Bearer ${await this.token()}` };
    return (await this.#fetch(`/v1/uploads/${encodeURIComponent(id)}/row-errors`, { headers })).blob();
  }

  async #askAsUser(method: string, path: string, body?: BodyInit): Promise<Response> {
    return this.#ask(method, path, body, { authorization: `Bearer ${await this.token()}` });
  }

  async #ask(method: string, path: string, body?: BodyInit, headers: HeadersInit = {}): Promise<Response> {
    return this.#fetch(`/demo/${path}`, { method, headers, body: body ?? null });
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const response = await this.#network.fetch(url, init);
    if (response.ok) return response;
    const problem = (await response.json().catch(() => ({}))) as { message?: string };
    throw new Error(problem.message ?? `the server answered with ${response.status}`);
  }
}

function expiryOf(token: string): number {
  const claims = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  return (JSON.parse(atob(claims)) as { exp: number }).exp * 1000;
}
