// Tokens: what `getToken` may do, and the expiry that is read in a token. The rules are in the traces.

import { describe, expect, test } from "vitest";
import { TellwireClient } from "../src/index.js";
import { expiryOf } from "../src/token.js";
import { advance, tokenFor, useFakeTime, World } from "./world.js";

useFakeTime();

test("without getToken a client offers no token, and its user is the one of the welcome", async () => {
  const world = new World();
  const client = new TellwireClient({ url: "ws://gateway.test", environment: world.environment() });
  client.connect();
  await advance(0);
  expect(world.sockets.map((each) => each.protocols)).toEqual([["tellwire.v1"]]);
});

describe("getToken", () => {
  const failed = { status: "waiting", attempt: 1, reason: { kind: "token" } };

  test.each([
    ["rejects", async () => Promise.reject(new Error("signed out"))],
    [
      "throws",
      () => {
        throw new Error("signed out");
      },
    ],
  ])("that %s is a failed attempt", async (_, getToken) => {
    const world = new World();
    world.getToken = getToken;
    world.client.connect();
    await advance(0);
    expect(world.client.state).toMatchObject(failed);
    expect(world.client.state.reason?.message).toBe("getToken failed: signed out");
  });

  test.each([undefined, null, ""])("that returns %j is a failed attempt", async (token) => {
    const world = new World();
    world.getToken = () => token as unknown as string;
    world.client.connect();
    await advance(0);
    expect(world.client.state).toMatchObject(failed);
    expect(world.sockets).toEqual([]);
  });

  test("may return a token that cannot be in a subprotocol: a failed attempt, and the token is not shown", async () => {
    class Picky {
      constructor(_url: string, protocols: string[]) {
        throw new SyntaxError(`The subprotocol '${protocols[1]}' is invalid`);
      }
    }
    const world = new World();
    const environment = { ...world.environment(), WebSocket: Picky as never };
    const client = new TellwireClient({ url: "ws://gateway.test", getToken: () => "a token", environment });
    client.connect();
    await advance(0);
    expect(client.state).toMatchObject(failed);
    expect(client.state.reason?.message).toBe("the token cannot be sent this way (SyntaxError)");
  });

  test("may close the client", async () => {
    const world = new World();
    world.getToken = () => {
      world.client.close();
      return "a-token";
    };
    world.client.connect();
    await advance(100);
    expect(world.client.state).toEqual({ status: "closed", attempt: 0 });
    expect(world.sockets).toEqual([]);
  });
});

test("the expiry of a JWT is that of its payload, whatever letters that has", () => {
  expect(expiryOf(tokenFor(300))).toBe(Date.now() + 300_000);
});

test.each(["opaque", "a.b.c", `a.${btoa("{}")}.c`, `a.${btoa("null")}.c`, ""])(
  "the token %j has no expiry",
  (token) => {
    expect(expiryOf(token)).toBeUndefined();
  },
);
