import { expect, test } from "vitest";
import { userOf } from "../src/token.js";
import { jwt } from "./messages.js";

test("two tokens of one user are of the same user", () => {
  const [old, renewed] = [jwt({ sub: "ana", iss: "us", exp: 1 }), jwt({ sub: "ana", iss: "us", exp: 2 })];

  expect(old).not.toBe(renewed);
  expect(userOf(old)).toBe(userOf(renewed));
});

test("another subject or another issuer is another user", () => {
  const users = [jwt({ sub: "ana", iss: "us" }), jwt({ sub: "bo", iss: "us" }), jwt({ sub: "ana", iss: "them" })];

  expect(new Set(users.map(userOf)).size).toBe(3);
});

test("the names of people are read, whatever their letters", () => {
  expect(userOf(jwt({ sub: "Zoë ÿ 日本", exp: 1 }))).toBe(userOf(jwt({ sub: "Zoë ÿ 日本", exp: 2 })));
});

test.each(["opaque", "a.b.c", jwt({ exp: 1 }), jwt(null), "..", "e30"])(
  "a token that does not say whose it is, is a user of its own: %s",
  (token) => {
    expect(userOf(token)).toBe(token);
  },
);
