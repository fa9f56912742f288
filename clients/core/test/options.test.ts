// Wrong options throw at once, with a sentence.

import { expect, test } from "vitest";
import { TellwireClient } from "../src/index.js";

const getToken = (): string => "a-token";

test.each([
  ["no options", undefined, "url: got undefined"],
  ["no url", { getToken }, "url: got undefined"],
  ["an empty url", { url: "", getToken }, 'url: got ""'],
  ["a url of something else", { url: "ftp://gateway.test", getToken }, 'url: got "ftp://gateway.test"'],
  ["null in place of getToken", { url: "wss://gateway.test", getToken: null }, "getToken: got object"],
  ["a token in place of getToken", { url: "wss://gateway.test", getToken: "a-token" }, "getToken: got string"],
  ["a storage that is none", { url: "wss://gateway.test", getToken, cursorStorage: "locale" }, "cursorStorage: got"],
])("%s", (_, options, sentence) => {
  expect(() => new TellwireClient(options as never)).toThrow(TypeError);
  expect(() => new TellwireClient(options as never)).toThrow(sentence);
});

test("a server that renders a page makes a client of a relative address", () => {
  expect(new TellwireClient({ url: "/live", getToken }).state.status).toBe("idle");
});
