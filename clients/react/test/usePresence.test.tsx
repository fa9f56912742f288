// @vitest-environment happy-dom
// The members of a topic, and its uploads, in components.

import { type FakeClient, fakeClient } from "@tellwire/client/testing";
import { act, cleanup, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TellwireProvider, usePresence, useTopicUploads } from "../src/index.js";

let client: FakeClient;

beforeEach(() => {
  client = fakeClient({ user: "ada" });
  client.open();
});

afterEach(cleanup);

function Members({ name }: { name: string | null }) {
  const { members, count, isComplete, isLive } = usePresence(name);
  const names = members.map(({ userId }) => userId).join();
  return <p data-testid="shown">{`${names} ${count} ${isComplete ? "all" : "some"} ${isLive ? "live" : "old"}`}</p>;
}

function Bars({ name }: { name: string | null }) {
  const uploads = useTopicUploads(name);
  return <p data-testid="shown">{uploads.map(({ uploadId, progress }) => `${uploadId} ${progress}`).join()}</p>;
}

const shown = (): string | null => screen.getByTestId("shown").textContent;

test("the members of a topic are shown while it is followed, and never those of another one", () => {
  const tree = (name: string | null) => (
    <StrictMode>
      <TellwireProvider client={client}>
        <Members name={name} />
      </TellwireProvider>
    </StrictMode>
  );
  const { rerender, unmount } = render(tree("a"));
  expect(shown()).toBe(" 0 some old");
  act(() => client.gather("a", [{ userId: "ann" }, { userId: "ben" }]));
  expect(shown()).toBe("ann,ben 2 all live");
  act(() => client.gather("a", [{ userId: "ann" }], 300));
  expect(shown()).toBe("ann 301 some live");
  rerender(tree("b"));
  expect(shown()).toBe(" 0 some old");
  act(() => client.gather("b", [{ userId: "cid" }]));
  expect(shown()).toBe("cid 1 all live");
  rerender(tree(null));
  expect(shown()).toBe(" 0 some old");
  unmount();
  expect(client.topics.size).toBe(0);
});

test("the uploads of a topic are shown as those of a user, until it is refused", () => {
  render(
    <TellwireProvider client={client}>
      <Bars name="a" />
    </TellwireProvider>,
  );
  const says = (uploadId: string, progress: number, version: number, topic?: string): void =>
    act(() => {
      const data = { uploadId, progress, fileName: "a.csv", message: "", status: "running" };
      client.receive({ type: "upload_progress", data, key: `upload:${uploadId}`, version, ...(topic && { topic }) });
    });
  says("u1", 10, 1, "a");
  says("mine", 50, 1);
  expect(shown()).toBe("u1 10");
  act(() => client.refuse("a"));
  expect(shown()).toBe("");
});
