// On a server there is no window, no document and, in Node 20, no WebSocket.

import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { beforeEach, expect, test, vi } from "vitest";
import { useWebSocket } from "../src/guide.js";
import { TellwireProvider, useConnection, useMessages, useNotifications, useUpload, useUploads } from "../src/index.js";

beforeEach(() => {
  vi.stubGlobal("WebSocket", undefined);
});

function All() {
  const { status } = useConnection();
  const { ws, messages } = useWebSocket("token-1");
  useMessages("*", () => {});
  const shown = [
    status,
    useUploads().length,
    String(useUpload("moc-1")),
    useNotifications().unread,
    ws,
    messages.length,
  ];
  return <p>{shown.map(String).join(" ")}</p>;
}

test("a server renders what is known before there is a connection, and asks for no token", () => {
  const getToken = vi.fn(() => "token-1");
  const complaints = vi.spyOn(console, "error");

  const html = renderToString(
    <StrictMode>
      <TellwireProvider url="/live" getToken={getToken}>
        <All />
      </TellwireProvider>
    </StrictMode>,
  );

  expect(globalThis.window).toBeUndefined();
  expect(html).toBe("<p>idle 0 undefined 0 null 0</p>");
  expect(getToken).not.toHaveBeenCalled();
  expect(complaints).not.toHaveBeenCalled();
});
