// @vitest-environment happy-dom

import { cleanup, render } from "@testing-library/react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TellwireProvider, useConnection } from "../src/index.js";
import { FakeClient } from "../src/testing.js";
import { settle } from "./fakes.js";

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function Status() {
  return <p>{useConnection().status}</p>;
}

test("a page takes over what the server has rendered, though its client is open already", async () => {
  const client = new FakeClient();
  const page = (
    <TellwireProvider client={client}>
      <Status />
    </TellwireProvider>
  );
  const container = document.body.appendChild(document.createElement("div"));
  container.innerHTML = renderToString(page);
  client.become({ status: "open", attempt: 0 });
  const onRecoverableError = vi.fn();

  render(page, { container, hydrate: true, onRecoverableError });
  await settle();

  expect(container.textContent).toBe("open");
  expect(onRecoverableError).not.toHaveBeenCalled();
});
