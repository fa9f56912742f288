// @vitest-environment happy-dom
// Topics in components.

import { type FakeClient, fakeClient } from "@tellwire/client/testing";
import { act, cleanup, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TellwireProvider, useTopic } from "../src/index.js";

let client: FakeClient;

beforeEach(() => {
  client = fakeClient({ user: "ada" });
  client.open();
});

afterEach(cleanup);

interface CommentsProps {
  name: string | null;
  heard?: string[];
  id?: string;
}

function Comments({ name, heard = [], id = "shown" }: CommentsProps) {
  const { status, recovered, error } = useTopic(name, {
    onMessage: ({ data }) => heard.push((data as { text: string }).text),
  });
  return <p data-testid={id}>{[status, recovered, error?.code].filter((each) => each !== undefined).join(" ")}</p>;
}

const shown = (id = "shown"): string | null => screen.getByTestId(id).textContent;

const say = (text: string, topic = "a"): void =>
  act(() => client.receive({ type: "comment_added", data: { text }, topic }));

test("it shows the state of the topic, and hears its messages while it is mounted", () => {
  const heard: string[] = [];
  const { unmount } = render(
    <TellwireProvider client={client}>
      <Comments name="a" heard={heard} />
    </TellwireProvider>,
  );
  expect(shown()).toBe("subscribing");
  act(() => client.subscribe("a", false));
  expect(shown()).toBe("subscribed false");
  say("one");
  say("another topic", "b");
  act(() => client.refuse("a"));
  expect(shown()).toBe("refused TOPIC_FORBIDDEN");
  unmount();
  expect(client.topics.size).toBe(0);
  expect(client.listeners).toBe(0);
  expect(heard).toEqual(["one"]);
});

test("another name is another topic, whose state is never that of the one before; without a name there is none", () => {
  const tree = (name: string | null) => (
    <TellwireProvider client={client}>
      <Comments name={name} />
    </TellwireProvider>
  );
  const { rerender } = render(tree("a"));
  act(() => client.subscribe("a"));
  rerender(tree("b"));
  expect(shown()).toBe("subscribing");
  expect([...client.topics.keys()]).toEqual(["b"]);
  rerender(tree(null));
  expect(shown()).toBe("closed");
  expect([...client.topics.keys()]).toEqual([]);
});

test("components share a subscription, also in strict mode", () => {
  const one: string[] = [];
  const two: string[] = [];
  const tree = (both: boolean) => (
    <StrictMode>
      <TellwireProvider client={client}>
        <Comments name="a" heard={one} />
        {both && <Comments name="a" heard={two} id="second" />}
      </TellwireProvider>
    </StrictMode>
  );
  const { rerender } = render(tree(true));
  act(() => client.subscribe("a"));
  expect([shown(), shown("second")]).toEqual(["subscribed true", "subscribed true"]);
  say("hi");
  rerender(tree(false));
  expect(client.topics.size).toBe(1);
  say("again");
  expect([one, two]).toEqual([["hi", "again"], ["hi"]]);
});

test("a provider that is not enabled subscribes to nothing", () => {
  render(
    <TellwireProvider client={client} enabled={false}>
      <Comments name="a" />
    </TellwireProvider>,
  );
  expect(shown()).toBe("subscribing");
  expect(client.topics.size).toBe(0);
});
