// @vitest-environment happy-dom

import { type Client, TellwireClient } from "@tellwire/client";
import { cleanup, render, screen } from "@testing-library/react";
import { type ReactElement, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TellwireProvider, useClient, useConnection, useMessages, useUploads } from "../src/index.js";
import { FakeClient } from "../src/testing.js";
import { FakeWebSocket, fakeWebSockets, settle } from "./fakes.js";
import { jwt, progress } from "./messages.js";

const URL = "wss://gateway.test/";
const token = (): string => "token-1";

beforeEach(() => {
  vi.useFakeTimers();
  fakeWebSockets();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function Status() {
  return <p>{useConnection().status}</p>;
}

function Look({ onClient }: { onClient: (client: Client) => void }) {
  onClient(useClient());
  return null;
}

function Listen({ handler }: { handler: () => void }) {
  useMessages("upload_progress", handler);
  return <Names />;
}

function Renewing({ client }: { client: () => FakeClient }) {
  return <TellwireProvider client={client()} />;
}

function Alone({ use }: { use: () => unknown }) {
  use();
  return null;
}

function Names() {
  return <p>{useUploads((uploads) => uploads.map((each) => each.fileName)).join()}</p>;
}

describe("a provider with a url", () => {
  test("connects when it is mounted, and closes when it is unmounted", async () => {
    const { unmount } = render(
      <TellwireProvider url={URL} getToken={token}>
        <Status />
      </TellwireProvider>,
    );
    await settle();
    expect(screen.getByText("connecting")).toBeDefined();
    expect(FakeWebSocket.last.url).toBe(URL);

    await settle(() => FakeWebSocket.last.open());
    expect(screen.getByText("open")).toBeDefined();

    unmount();
    await settle();
    expect(FakeWebSocket.made).toHaveLength(1);
    expect(FakeWebSocket.alive).toHaveLength(0);
  });

  test("leaves nothing ticking when it is unmounted", async () => {
    const { unmount } = render(<TellwireProvider url={URL} getToken={token} />);
    await settle();
    await settle(() => FakeWebSocket.last.open());

    unmount();
    await settle();

    expect(vi.getTimerCount()).toBe(0);
  });

  test("makes one socket with one token in StrictMode", async () => {
    const getToken = vi.fn(token);
    render(
      <TellwireProvider url={URL} getToken={getToken}>
        <Status />
      </TellwireProvider>,
      { wrapper: StrictMode },
    );
    await settle();

    expect(FakeWebSocket.made).toHaveLength(1);
    expect(getToken).toHaveBeenCalledTimes(1);

    await settle(() => FakeWebSocket.last.open());
    expect(screen.getByText("open")).toBeDefined();
  });

  test("connects again when it is mounted again", async () => {
    const provider = (
      <TellwireProvider url={URL} getToken={token}>
        <Status />
      </TellwireProvider>
    );
    render(provider).unmount();
    const { unmount } = render(provider);
    await settle();
    await settle(() => FakeWebSocket.last.open());
    unmount();

    render(provider);
    await settle();
    await settle(() => FakeWebSocket.last.open());

    expect(FakeWebSocket.made).toHaveLength(2);
    expect(FakeWebSocket.alive).toHaveLength(1);
    expect(screen.getByText("open")).toBeDefined();
  });

  test("asks the function of the last render for a token, and keeps its connection for another function", async () => {
    const [first, second] = [vi.fn(token), vi.fn(() => "token-2")];
    const { rerender } = render(<TellwireProvider url={URL} getToken={first} />);
    await settle();
    await settle(() => FakeWebSocket.last.open());

    rerender(<TellwireProvider url={URL} getToken={second} />);
    await settle();
    expect(FakeWebSocket.made).toHaveLength(1);

    await settle(() => FakeWebSocket.last.drop());
    await settle(() => vi.advanceTimersByTime(60_000));
    expect(first).toHaveBeenCalledTimes(1);
    expect(second).toHaveBeenCalled();
    expect(FakeWebSocket.made[1]?.protocols).toContain("token.token-2");
  });

  test("with another url connects there, and forgets what it was told before", async () => {
    const { rerender } = render(
      <TellwireProvider url={URL} getToken={token}>
        <Names />
      </TellwireProvider>,
    );
    await settle();
    await settle(() => FakeWebSocket.last.open());
    await settle(() => FakeWebSocket.last.receive(progress({ fileName: "old.csv" })));
    expect(screen.getByText("old.csv")).toBeDefined();

    rerender(
      <TellwireProvider url="wss://other.test/" getToken={token}>
        <Names />
      </TellwireProvider>,
    );
    await settle();

    expect(screen.queryByText("old.csv")).toBeNull();
    expect(FakeWebSocket.alive.map((each) => each.url)).toEqual(["wss://other.test/"]);
  });

  test("gives its client options", async () => {
    render(<TellwireProvider url={URL} getToken={token} tokenIn="query" />);
    await settle();

    expect(FakeWebSocket.last.url).toBe(`${URL}?token=token-1`);
  });

  test("makes no second client when its parent renders again", async () => {
    const seen = new Set<unknown>();
    const { rerender } = render(
      <TellwireProvider url={URL} getToken={token}>
        <Look onClient={(client) => seen.add(client)} />
      </TellwireProvider>,
    );
    rerender(
      <TellwireProvider url={URL} getToken={token}>
        <Look onClient={(client) => seen.add(client)} />
      </TellwireProvider>,
    );

    expect([...seen]).toEqual([expect.any(TellwireClient)]);
  });
});

describe("a provider with a client", () => {
  test("connects it, gives it to components, and closes what it has connected", async () => {
    const client = new FakeClient();
    const given: unknown[] = [];
    const { unmount } = render(
      <TellwireProvider client={client}>
        <Look onClient={(client) => given.push(client)} />
      </TellwireProvider>,
    );
    await settle();
    expect(given).toEqual([client]);
    expect(client.calls).toEqual(["connect"]);

    unmount();
    expect(client.calls).toEqual(["connect", "close"]);
    expect(client.listeners).toBe(0);
  });

  test("leaves one open that was connected before", async () => {
    const client = new FakeClient();
    client.become({ status: "open", attempt: 0 });

    render(<TellwireProvider client={client} />).unmount();
    await settle();
    const { unmount } = render(<TellwireProvider client={client} />);
    await settle();
    unmount();

    expect(client.calls).toEqual([]);
    expect(client.listeners).toBe(0);
  });

  test("connects it once in StrictMode", async () => {
    const client = new FakeClient();

    render(
      <TellwireProvider client={client}>
        <Status />
      </TellwireProvider>,
      { wrapper: StrictMode },
    );
    await settle();

    expect(client.calls).toEqual(["connect"]);
  });

  test("connects one that is closed", async () => {
    const client = new FakeClient();
    client.close();

    render(<TellwireProvider client={client} />);
    await settle();

    expect(client.calls).toEqual(["close", "connect"]);
  });

  test("goes over to another one", async () => {
    const [first, second] = [new FakeClient(), new FakeClient()];
    const { rerender } = render(
      <TellwireProvider client={first}>
        <Names />
      </TellwireProvider>,
    );
    await settle(() => first.receive(progress({ fileName: "old.csv" })));
    expect(screen.getByText("old.csv")).toBeDefined();

    rerender(
      <TellwireProvider client={second}>
        <Names />
      </TellwireProvider>,
    );
    await settle(() => second.receive(progress({ fileName: "new.csv" })));

    expect(screen.getByText("new.csv")).toBeDefined();
    expect(first.calls).toEqual(["connect", "close"]);
    expect(first.listeners).toBe(0);
  });

  test("listens before it connects: a message of that very moment is heard", async () => {
    const client = new FakeClient();
    client.connect = () => client.receive(progress({ fileName: "early.csv" }));
    const handler = vi.fn();
    render(
      <TellwireProvider client={client}>
        <Listen handler={handler} />
      </TellwireProvider>,
    );
    await settle();

    expect(screen.getByText("early.csv")).toBeDefined();
    expect(handler).toHaveBeenCalledTimes(1);
  });
});

describe("another user", () => {
  const of = (user: string | null, props: object = {}) => (
    <TellwireProvider url={URL} user={user} getToken={() => jwt({ sub: user })} {...props}>
      <Status />
      <Names />
    </TellwireProvider>
  );

  async function opened(page: ReactElement) {
    const mounted = render(page);
    await settle();
    await settle(() => FakeWebSocket.last.open());
    await settle(() => FakeWebSocket.last.receive(progress({ fileName: "ada's.csv" })));
    expect(screen.getByText("ada's.csv")).toBeDefined();
    return mounted;
  }

  test("has another connection, and nothing of the one before in any render", async () => {
    const { rerender } = await opened(of("ada"));

    rerender(of("bob"));
    expect(screen.queryByText("ada's.csv")).toBeNull();
    await settle();
    await settle(() => FakeWebSocket.last.open());

    expect(FakeWebSocket.alive.map(({ protocols }) => protocols)).toEqual([
      ["tellwire.v1", `token.${jwt({ sub: "bob" })}`],
    ]);
    expect(screen.queryByText("ada's.csv")).toBeNull();
  });

  test("is nobody: there is no connection until somebody signs in", async () => {
    const { rerender } = await opened(of("ada"));

    rerender(of(null));
    await settle();
    expect(FakeWebSocket.alive).toEqual([]);
    expect(screen.getByText("idle")).toBeDefined();
    expect(screen.queryByText("ada's.csv")).toBeNull();

    rerender(of("ada"));
    await settle();
    expect(FakeWebSocket.alive).toHaveLength(1);
    expect(screen.queryByText("ada's.csv")).toBeNull();
  });

  test("may come by a token", async () => {
    const by = (token: string | null) => (
      <TellwireProvider url={URL} token={token}>
        <Names />
      </TellwireProvider>
    );
    const first = jwt({ sub: "ada", exp: 1 });
    const { rerender } = await opened(by(first));

    rerender(by(jwt({ sub: "ada", exp: 2 })));
    await settle();
    expect(FakeWebSocket.made).toHaveLength(1);
    expect(screen.getByText("ada's.csv")).toBeDefined();

    rerender(by(jwt({ sub: "bob" })));
    expect(screen.queryByText("ada's.csv")).toBeNull();
    await settle();
    expect(FakeWebSocket.alive.map(({ protocols }) => protocols[1])).toEqual([`token.${jwt({ sub: "bob" })}`]);

    rerender(by(null));
    await settle();
    expect(FakeWebSocket.alive).toEqual([]);
  });

  test("of one client takes the place of the one before at once", async () => {
    const client = new FakeClient({ user: "ada" });
    render(
      <TellwireProvider client={client}>
        <Names />
      </TellwireProvider>,
    );
    await settle(() => client.open());
    await settle(() => client.receive(progress({ fileName: "ada's.csv" })));
    expect(screen.getByText("ada's.csv")).toBeDefined();

    await settle(() => client.open({ user: "bob" }));
    expect(screen.queryByText("ada's.csv")).toBeNull();
  });
});

describe("a provider that is not enabled", () => {
  const page = (enabled: boolean, children = <Status />) => (
    <TellwireProvider url={enabled ? URL : (undefined as unknown as string)} getToken={token} enabled={enabled}>
      {children}
    </TellwireProvider>
  );

  test("asks for no token, makes no connection, and needs no url", async () => {
    const getToken = vi.fn(token);
    render(
      <TellwireProvider url={undefined as unknown as string} getToken={getToken} enabled={false}>
        <Status />
        <Names />
      </TellwireProvider>,
    );
    await settle();

    expect(screen.getByText("idle")).toBeDefined();
    expect([getToken.mock.calls, FakeWebSocket.made]).toEqual([[], []]);
  });

  test("connects as soon as it is, and closes when it is no more", async () => {
    const { rerender } = render(page(false));
    rerender(page(true));
    await settle();
    expect(FakeWebSocket.alive).toHaveLength(1);

    rerender(page(false));
    await settle();
    expect(FakeWebSocket.alive).toHaveLength(0);
    expect(screen.getByText("idle")).toBeDefined();
  });

  test("refuses requests, and disturbs nobody who does not wait for them", async () => {
    let client: Client | undefined;
    render(
      page(
        false,
        <Look
          onClient={(given) => {
            client = given;
          }}
        />,
      ),
    );

    await expect(client?.send("hello")).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("a shared provider", () => {
  const page = (user: string | null) => (
    <TellwireProvider shared url={URL} user={user} getToken={token}>
      <Status />
    </TellwireProvider>
  );

  test("makes its client itself, once for all renders", async () => {
    // Without locks each tab has a connection of its own.
    vi.stubGlobal("navigator", { onLine: true });
    const { rerender } = render(page("ada"), { wrapper: StrictMode });
    await settle();
    for (let count = 0; count < 5; count += 1) rerender(page("ada"));
    await settle();
    expect(FakeWebSocket.made).toHaveLength(1);

    rerender(page("bob"));
    await settle();
    expect(FakeWebSocket.alive).toHaveLength(1);

    rerender(page(null));
    await settle();
    expect(FakeWebSocket.alive).toHaveLength(0);
  });
});

describe("a client that is made in each render", () => {
  const warn = vi.fn();

  beforeEach(() => {
    warn.mockClear();
    vi.spyOn(console, "warn").mockImplementation(warn);
  });

  afterEach(() => void vi.restoreAllMocks());

  test("is a warning", async () => {
    const { rerender } = render(<Renewing client={() => new FakeClient()} />);
    for (let count = 0; count < 2; count += 1) rerender(<Renewing client={() => new FakeClient()} />);

    expect(warn).toHaveBeenCalledWith(expect.stringContaining("got another client in each render"));
  });

  test("is one at once if it is the same user's", () => {
    const { rerender } = render(<Renewing client={() => new FakeClient({ user: "ada" })} />);
    rerender(<Renewing client={() => new FakeClient({ user: "ada" })} />);

    expect(warn).toHaveBeenCalledTimes(1);
  });

  test("is none for a client of another user, nor for one that stays, nor in production", () => {
    const { rerender } = render(<Renewing client={() => new FakeClient({ user: "ada" })} />);
    const stays = new FakeClient({ user: "bob" });
    for (let count = 0; count < 3; count += 1) rerender(<Renewing client={() => stays} />);
    expect(warn).not.toHaveBeenCalled();

    vi.stubEnv("NODE_ENV", "production");
    for (let count = 0; count < 3; count += 1) rerender(<Renewing client={() => new FakeClient({ user: "ada" })} />);
    vi.unstubAllEnvs();
    expect(warn).not.toHaveBeenCalled();
  });
});

test.each([
  ["useConnection", () => useConnection()],
  ["useUploads", () => useUploads()],
  ["useClient", () => useClient()],
])("%s says that there is no provider", (name, use) => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => render(<Alone use={use} />)).toThrow(
    `${name}: got no provider above this component; allowed: components inside a <TellwireProvider url=… getToken=…>`,
  );
  vi.restoreAllMocks();
});
