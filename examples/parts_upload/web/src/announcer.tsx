// Announcements for screen readers: the connection when it changes, the progress of uploads every few seconds, and uploads
// that failed or stalled. The toasts announce those that are complete.

import { useConnection, useUploads } from "@tellwire/react";
import type { ReactElement } from "react";
import { usePaused } from "./use-paused.ts";
import { spokenOf } from "./words.ts";

const PAUSE_MS = 5_000;

export function Announcer(): ReactElement {
  const connection = spokenOf(useConnection());
  const progress = useUploads((uploads) =>
    uploads
      .filter(({ status }) => status === "running")
      .map(({ fileName, progress }) => `${fileName}: ${Math.round(progress)} percent.`)
      .join(" "),
  );
  const trouble = useUploads(([...uploads]) => {
    const bad = uploads.filter(({ status }) => status === "stalled" || status === "failed" || status === "cancelled");
    const last = bad.sort((one, other) => Date.parse(other.timestamp) - Date.parse(one.timestamp))[0];
    return last === undefined ? "" : `${last.fileName}: ${last.status}.`;
  });
  const said = usePaused(progress, PAUSE_MS);
  return (
    <div className="visually-hidden">
      <p role="status">{connection}</p>
      <p role="status">{said}</p>
      <p role="status">{trouble}</p>
    </div>
  );
}
