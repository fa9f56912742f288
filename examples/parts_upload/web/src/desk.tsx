// The desk: the page of a signed-in user.

import { useErrors } from "@tellwire/react";
import { type ReactElement, useMemo } from "react";
import { Announcer } from "./announcer.tsx";
import type { Api } from "./api.ts";
import { Bell } from "./bell.tsx";
import { Brand } from "./brand.tsx";
import { ConnectionCard, ConnectionPill, Missed } from "./connection.tsx";
import { DropZone } from "./drop-zone.tsx";
import { Icon } from "./icons.tsx";
import { Toasts } from "./toasts.tsx";
import { Uploads } from "./uploads.tsx";
import { useSending } from "./use-sending.ts";
import { useTitle } from "./use-title.ts";
import { setUser } from "./user.ts";
import { type Problem, problemIn } from "./words.ts";

interface Props {
  api: Api;
}

export function Desk({ api }: Props): ReactElement {
  const problems = useProblems();
  const sending = useSending(api);
  useTitle();
  return (
    <>
      <header className="bar">
        <Brand />
        <div className="bar-end">
          <ConnectionPill />
          <Bell />
          <UserMenu user={api.user} />
        </div>
      </header>
      <main className="desk">
        <div className="desk-main">
          <h1>Uploads</h1>
          <DropZone sending={sending} />
          <Missed />
          <Uploads api={api} problems={problems} sending={sending} />
        </div>
        <aside className="desk-side" aria-label="Connection and devices">
          <ConnectionCard />
          <OtherDevices user={api.user} />
        </aside>
      </main>
      <Toasts />
      <Announcer />
    </>
  );
}

function UserMenu({ user }: { user: string }): ReactElement {
  return (
    <div className="user">
      <span className="avatar" aria-hidden="true">
        {user.slice(0, 1).toUpperCase()}
      </span>
      <span className="user-name">{user}</span>
      <button type="button" className="button ghost small" onClick={() => setUser(null)}>
        Sign out
      </button>
    </div>
  );
}

function OtherDevices({ user }: { user: string }): ReactElement {
  return (
    <section className="card">
      <h2>On your other devices</h2>
      <p className="quiet">
        Whoever is signed in as <b>{user}</b> sees the same, at the same time. Tabs of this browser share one
        connection.
      </p>
      <a className="button" href="/" target="_blank" rel="noreferrer">
        <Icon name="device" /> Open a second tab
      </a>
    </section>
  );
}

/** Return the problems of uploads, by upload id. */
function useProblems(): ReadonlyMap<string, Problem> {
  const { errors } = useErrors();
  // The newest error of an upload is the last one set.
  return useMemo(() => {
    const problems = errors.map(problemIn).filter((each) => each !== undefined);
    return new Map(problems.reverse().map((each) => [each.uploadId, each]));
  }, [errors]);
}
