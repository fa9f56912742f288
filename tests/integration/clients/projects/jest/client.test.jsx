// Both packages in Jest. App.jsx is the example of the hooks' README.

import { render, screen } from "@testing-library/react";
import { TellwireClient } from "@tellwire/client";
import { sharedClient } from "@tellwire/client/shared";
import App from "./App";

const options = { url: "wss://live.example.com", getToken: () => "a-token" };

test("a client of one's own, and a shared one", () => {
  expect(new TellwireClient(options).state).toEqual({ status: "idle", attempt: 0 });
  expect(sharedClient({ ...options, user: "user-1" }).state).toMatchObject({ status: "idle", user: "user-1" });
});

test("the example of the README renders, and connects", async () => {
  const opened = [];
  globalThis.fetch = async () => ({ text: async () => "a-token" });
  globalThis.WebSocket = class {
    constructor(url) {
      opened.push(url);
    }
    send() {}
    close() {}
  };
  const { container, unmount } = render(<App />);
  expect(container.querySelectorAll("progress")).toHaveLength(0);
  while (opened.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(opened).toEqual(["wss://gateway.example.com/"]);
  unmount();
});
