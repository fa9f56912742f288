// @vitest-environment happy-dom

import type { ConnectionState, MessageOf } from "@tellwire/client";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import {
  createHooks,
  type NotificationsState,
  TellwireProvider,
  type TellwireProviderProps,
  type Upload,
  useClient,
  useConnection,
  useErrors,
  useMessages,
  useMissed,
  useNotifications,
  useUpload,
  useUploadActions,
  useUploadGroups,
  useUploads,
  useUploadsSummary,
} from "../src/index.js";
import { FakeClient } from "../src/testing.js";
import { FRAME_MILLISECONDS, pass, settle } from "./fakes.js";
import { notification, progress } from "./messages.js";

let client: FakeClient;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

interface ProbeProps {
  look: () => ReactNode;
  onRender?: () => void;
}

/** Shows what a hook returns. */
function Probe({ look, onRender }: ProbeProps) {
  const seen = look();
  onRender?.();
  return <p data-testid="shown">{seen}</p>;
}

function probe(look: () => ReactNode, onRender = () => {}) {
  return (
    <TellwireProvider client={client}>
      <Probe look={look} onRender={onRender} />
    </TellwireProvider>
  );
}

const text = (): string | null => screen.getByTestId("shown").textContent;

/** Mount a component that shows what a hook returns, and count how often it renders. */
function shown(look: () => ReactNode): { renders: number } {
  const count = { renders: 0 };
  render(
    probe(look, () => {
      count.renders += 1;
    }),
  );
  return count;
}

/** Receive a message and let a frame pass. */
async function receive(...messages: Parameters<FakeClient["receive"]>[0][]): Promise<void> {
  await settle(() => {
    for (const message of messages) client.receive(message);
  });
  await pass(FRAME_MILLISECONDS);
}

describe("useConnection", () => {
  test("shows where the client is, and why", async () => {
    shown(() => {
      const { status, attempt, reason } = useConnection();
      return `${status} ${attempt} ${reason?.message}`;
    });
    expect(text()).toBe("idle 0 undefined");

    await settle();
    expect(text()).toBe("connecting 1 undefined");

    await settle(() => {
      const reason = { code: 1012, message: "restarting", kind: "server" } as const;
      client.become({ status: "waiting", attempt: 1, retryAt: 5, reason });
    });
    expect(text()).toBe("waiting 1 restarting");
  });

  test("does not render again for a field that is not read, nor for messages", async () => {
    const count = shown(() => useConnection().status);
    await settle();
    await settle(() => client.become({ status: "waiting", attempt: 1, retryAt: 1 }));
    const { renders } = count;

    await settle(() => client.become({ status: "waiting", attempt: 2, retryAt: 2 }));
    await receive(progress(), notification());
    expect(count.renders).toBe(renders);

    await settle(() => client.become({ status: "open", attempt: 0 }));
    expect(count.renders).toBe(renders + 1);
    expect(text()).toBe("open");
  });
});

describe("useUploads", () => {
  test("lists uploads as they are", async () => {
    shown(() =>
      useUploads()
        .map(({ uploadId, progress, status }) => `${uploadId} ${progress} ${status}`)
        .join(),
    );
    expect(text()).toBe("");

    await receive(progress({ uploadId: "a" }), progress({ uploadId: "b", progress: 100, status: "complete" }));

    expect(text()).toBe("a 50 running,b 100 complete");
  });

  test("renders again only if what is selected is another, with a function made anew for each render", async () => {
    const count = shown(() => useUploads((all) => all.filter(({ status }) => status === "running")).length);
    await receive(progress({ uploadId: "a", status: "complete" }));
    const names = count.renders;

    await receive(progress({ uploadId: "b", status: "failed" }));
    expect(count.renders).toBe(names);

    await receive(progress({ uploadId: "c" }));
    expect(text()).toBe("1");
    expect(count.renders).toBe(names + 1);
  });

  test("selects with what the component was rendered with", async () => {
    const counted = (status: string) =>
      probe(() => useUploads((all) => all.filter((each) => each.status === status)).length);
    const { rerender } = render(counted("running"));
    await receive(
      progress({ uploadId: "a" }),
      progress({ uploadId: "b" }),
      progress({ uploadId: "c", status: "failed" }),
    );
    expect(text()).toBe("2");

    rerender(counted("failed"));

    expect(text()).toBe("1");
  });

  test("costs one render a frame, however many messages arrive in it", async () => {
    const count = shown(() => useUploads().map(({ progress }) => progress));
    await settle();
    const { renders } = count;

    for (let frame = 1; frame <= 3; frame += 1) {
      for (let each = 1; each <= 20; each += 1) {
        await settle(() => client.receive(progress({ progress: frame * each })));
      }
      await pass(FRAME_MILLISECONDS);
    }

    expect(text()).toBe("60");
    expect(count.renders - renders).toBe(4);
  });
});

describe("useUpload", () => {
  test("shows one upload, and does not render again for another one, for notifications or the connection", async () => {
    const count = shown(() => useUpload("a")?.progress);
    await receive(progress({ uploadId: "a", progress: 1 }));
    const { renders } = count;

    await receive(progress({ uploadId: "b" }), notification());
    await settle(() => client.become({ status: "open", attempt: 0 }));
    expect(count.renders).toBe(renders);

    await receive(progress({ uploadId: "a", progress: 2 }));
    expect(text()).toBe("2");
    expect(count.renders).toBe(renders + 1);
  });

  test("shows another upload when it is asked for one", async () => {
    const one = (id: string) => probe(() => useUpload(id)?.fileName ?? "none");
    const { rerender } = render(one("a"));
    await receive(progress({ uploadId: "b", fileName: "b.csv" }));
    expect(text()).toBe("none");

    rerender(one("b"));

    expect(text()).toBe("b.csv");
  });
});

describe("useUploadActions", () => {
  test("dismisses, clears and cancels, and stays the same for every render", async () => {
    const seen = new Set<unknown>();
    let actions: ReturnType<typeof useUploadActions> | undefined;
    shown(() => {
      actions = useUploadActions();
      for (const each of [actions.dismiss, actions.clearFinished, actions.cancel]) seen.add(each);
      return useUploads((uploads) => uploads.map(({ uploadId }) => uploadId).join());
    });
    await settle(() => client.open());
    for (const [index, uploadId] of ["a", "b"].entries()) {
      await receive({ ...progress({ uploadId, status: "complete" }), key: `upload:${uploadId}`, version: index + 1 });
    }
    await receive(progress({ uploadId: "c", status: "running" }));

    await settle(() => actions?.dismiss("a"));
    expect(text()).toBe("b,c");
    await settle(() => actions?.clearFinished());
    expect(text()).toBe("c");
    await settle(() => void actions?.cancel("c"));

    expect(client.requests).toEqual([
      { type: "dismiss", what: "a" },
      { type: "dismiss", what: { endedUpTo: 2 } },
      { type: "cancel", what: "c" },
    ]);
    expect(seen.size).toBe(3);
  });
});

describe("useUploadGroups and useUploadsSummary", () => {
  test("render again only for what is read", async () => {
    const count = shown(() => {
      const { queued } = useUploadGroups();
      const { finished, total } = useUploadsSummary();
      return `${queued.length} queued, ${finished} of ${total}`;
    });
    await receive(progress({ uploadId: "a", status: "queued", progress: 0 }));
    await receive(progress({ uploadId: "b", status: "running", progress: 10 }));
    expect(text()).toBe("1 queued, 0 of 2");
    const { renders } = count;

    await receive(progress({ uploadId: "b", status: "running", progress: 20 }));
    expect(count.renders).toBe(renders);

    await receive(progress({ uploadId: "b", status: "complete", progress: 100 }));
    expect(text()).toBe("1 queued, 1 of 2");
  });
});

describe("useErrors", () => {
  test("lists what failed, also before the component was there, until it is dismissed", async () => {
    let dismiss: (id: string) => void = () => {};
    const look = (isShown: boolean) =>
      probe(() => {
        const { errors, ...actions } = useErrors();
        dismiss = actions.dismiss;
        return isShown ? errors.map(({ code }) => code).join() : null;
      });
    const { rerender } = render(look(false));
    await receive({ type: "error", data: { code: "UPLOAD_LOST", message: "It was lost" }, id: "1" });
    rerender(look(true));
    expect(text()).toBe("UPLOAD_LOST");

    await settle(() => dismiss("1"));
    expect(text()).toBe("");
  });
});

describe("useNotifications", () => {
  test("lists them, counts the unread ones, dismisses and marks as read", async () => {
    shown(() => {
      const { notifications, unread, dismiss, markAllRead } = useNotifications();
      return (
        <>
          <b>{unread} unread</b>
          <button type="button" onClick={markAllRead}>
            read
          </button>
          {notifications.map(({ id, title }) => (
            <button key={id} type="button" onClick={() => dismiss(id)}>
              {title}
            </button>
          ))}
        </>
      );
    });
    await receive(notification({ title: "one" }), notification({ title: "two" }));
    expect(screen.getByText("2 unread")).toBeDefined();

    fireEvent.click(screen.getByText("one"));
    expect(screen.queryByText("one")).toBeNull();
    expect(screen.getByText("1 unread")).toBeDefined();

    fireEvent.click(screen.getByText("read"));
    expect(screen.getByText("0 unread")).toBeDefined();
    expect(screen.getByText("two")).toBeDefined();
  });

  test("a badge that shows how many are unread does not render again when a read one is dismissed", async () => {
    let state: NotificationsState | undefined;
    const count = shown(() => {
      state = useNotifications();
      return state.unread;
    });
    await receive(notification({}, "1"));
    await settle(() => state?.markAllRead());
    await receive(notification({}, "2"));
    expect(text()).toBe("1");
    const { renders } = count;

    await settle(() => state?.dismiss("1"));
    await receive(progress());
    expect(count.renders).toBe(renders);

    await settle(() => state?.dismiss("2"));
    expect(text()).toBe("0");
    expect(count.renders).toBe(renders + 1);
  });
});

describe("other devices", () => {
  test("hear that all were read here", async () => {
    let state: NotificationsState | undefined;
    shown(() => {
      state = useNotifications();
      return state.unread;
    });
    await settle(() => client.open());
    await receive({ ...notification(), cursor: "e:7" });
    await settle(() => state?.markAllRead());

    expect(client.requests).toEqual([{ type: "read", what: { upTo: "e:7" } }]);
  });

  test("say what was seen and read there", async () => {
    shown(() => {
      const { unread, unseen } = useNotifications();
      return `${unread} ${unseen}`;
    });
    await receive({ ...notification(), cursor: "e:7" }, { ...notification(), cursor: "e:8" });
    expect(text()).toBe("2 2");

    await receive({ type: "seen", data: { cursor: "e:8" }, key: "seen", version: 1 });
    await receive({ type: "marks", data: { epoch: "e", read: [[7, 7]], dismissed: [] }, key: "marks", version: 2 });
    expect(text()).toBe("1 0");
  });
});

test("a bell that is made after the README is right after a reload", async () => {
  client = new FakeClient({ kept: [1, 2, 3].map((offset) => ({ ...notification(), cursor: `e:${offset}` })) });
  shown(() => {
    const { notifications, unread } = useNotifications();
    return `${unread} of ${notifications.length}`;
  });
  await settle(() => {
    client.receive({ type: "marks", data: { epoch: "e", read: [[1, 1]], dismissed: [] }, key: "marks", version: 1 });
    client.open();
  });
  await pass(FRAME_MILLISECONDS);

  expect(text()).toBe("2 of 3");
});

describe("useMissed", () => {
  const open: ConnectionState = { status: "open", attempt: 0 };

  test("calls the handler of the last render whenever something may be missing", async () => {
    const missed: string[] = [];
    const missing = (name: string) =>
      probe(() => {
        useMissed(() => missed.push(name));
        return null;
      });
    const { rerender, unmount } = render(missing("one"));
    const become = (recovered: boolean) => settle(() => client.become({ ...open, recovered }));
    await settle(() => client.become(open));
    await become(true);
    expect(missed).toEqual([]);

    await become(false);
    rerender(missing("two"));
    await become(false);
    expect(missed).toEqual(["one", "two"]);

    unmount();
    await become(false);
    expect(missed).toHaveLength(2);
  });
});

test("useClient() cancels an upload", async () => {
  shown(() => {
    const client = useClient();
    return (
      <button type="button" onClick={() => client.cancel("moc-1")}>
        cancel
      </button>
    );
  });
  fireEvent.click(screen.getByText("cancel"));

  expect(client.requests).toEqual([{ type: "cancel", what: "moc-1" }]);
});

describe("useMessages", () => {
  const listening = (type: string, handler: (message: MessageOf<string>) => void) =>
    probe(() => {
      useMessages(type, handler);
      return null;
    });

  test("calls the handler of the last render, and renders nothing", async () => {
    const heard: string[] = [];
    const count = shown(() => {
      const { status } = useConnection();
      useMessages("notification", ({ data }) => void heard.push(`${status} ${data.title}`));
      return status;
    });
    await settle();
    const { renders } = count;

    await receive(notification({ title: "one" }));
    expect(count.renders).toBe(renders);

    await settle(() => client.become({ status: "open", attempt: 0 }));
    await receive(notification({ title: "two" }));

    expect(heard).toEqual(["connecting one", "open two"]);
  });

  test("listens once for another function in each render, and no more when it is unmounted", async () => {
    const on = vi.spyOn(client, "on");
    const [first, second] = [vi.fn(), vi.fn()];
    const { rerender, unmount } = render(listening("*", first));
    const calls = on.mock.calls.length;

    rerender(listening("*", second));
    await receive(notification());
    expect(on).toHaveBeenCalledTimes(calls);
    expect(first).not.toHaveBeenCalled();
    expect(second).toHaveBeenCalledTimes(1);

    unmount();
    client.receive(notification());
    expect(second).toHaveBeenCalledTimes(1);
  });

  test("hears each message once in StrictMode", async () => {
    const handler = vi.fn();
    render(listening("moc_renamed", handler), { wrapper: StrictMode });

    await receive({ type: "moc_renamed", data: {}, timestamp: "" });

    expect(handler).toHaveBeenCalledTimes(1);
  });

  test("goes over to another type", async () => {
    const handler = vi.fn();
    const { rerender } = render(listening("one", handler));

    rerender(listening("two", handler));
    await receive({ type: "one", data: 1, timestamp: "" }, { type: "two", data: 2, timestamp: "" });

    expect(handler.mock.calls).toMatchObject([[{ type: "two", data: 2, replayed: false }]]);
  });
});

test("the types say what arrives", () => {
  expectTypeOf(() => useUploads()).returns.toEqualTypeOf<readonly Upload[]>();
  expectTypeOf(useUpload).returns.toEqualTypeOf<Upload | undefined>();
  expectTypeOf<ReturnType<typeof useUploads<number>>>().toEqualTypeOf<number>();
  expectTypeOf(useMessages<"notification">)
    .parameter(1)
    .parameter(0)
    .toEqualTypeOf<MessageOf<"notification">>();
  expectTypeOf(useMessages<"not_declared">)
    .parameter(1)
    .parameter(0)
    .toEqualTypeOf<MessageOf<"not_declared">>();
  interface MyEvents {
    comment_added: { text: string };
    add_comment: (data: { text: string }) => { id: string };
  }
  const mine = createHooks<MyEvents>();
  expectTypeOf(mine.useMessages<"comment_added">)
    .parameter(1)
    .parameter(0)
    .toHaveProperty("data")
    .toEqualTypeOf<{ text: string }>();
  // @ts-expect-error: a type that was not declared
  (): void => mine.useMessages("comment_add", () => {});
  expectTypeOf(useNotifications).returns.toHaveProperty("unread").toBeNumber();

  // A provider needs a client, or a url and getToken.
  expectTypeOf<{ url: string; getToken: () => string }>().toExtend<TellwireProviderProps>();
  expectTypeOf<{ client: FakeClient }>().toExtend<TellwireProviderProps>();
  expectTypeOf<{ url: string }>().not.toExtend<TellwireProviderProps>();
  expectTypeOf<{ url: string; token: string | null }>().toExtend<TellwireProviderProps>();
  expectTypeOf<{ url: string; getToken: () => string; shared: true; user: string }>().toExtend<TellwireProviderProps>();
  expectTypeOf<{ url: string; getToken: () => string; shared: true }>().not.toExtend<TellwireProviderProps>();
  expectTypeOf<{ url: string; getToken: () => string; client: FakeClient }>().not.toExtend<TellwireProviderProps>();
});
