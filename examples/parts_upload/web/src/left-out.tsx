// The items that were left out of an upload, by cause, or the reason why it failed as a whole.

import type { Upload } from "@tellwire/react";
import { type ReactElement, useState } from "react";
import type { Api } from "./api.ts";
import { Icon } from "./icons.tsx";
import { type Cause, leftOutOf, type Problem } from "./words.ts";

const SHOWN = 8;

interface Props {
  api: Api;
  upload: Upload;
  problem: Problem | undefined;
}

export function LeftOut({ api, upload, problem }: Props): ReactElement | null {
  const rows = leftOutOf(upload);
  // An upload that was interrupted and begun again has a problem of the run before.
  const hasFailed = upload.status === "failed" && problem !== undefined && problem.causes.length === 0;
  const leftOut = rows ?? (problem?.causes.length ? problem : undefined);
  return (
    <>
      {hasFailed && (
        <p className="trouble">
          <Icon name="alert" /> {problem.message}
        </p>
      )}
      {leftOut !== undefined && (
        <details className="left-out">
          <summary>
            <Icon name="alert" />
            <span>
              {leftOut.message} <span className="quiet small">{causesIn(leftOut.causes.length)}</span>
            </span>
          </summary>
          <ul>
            {leftOut.causes.map((cause) => (
              <CauseLine key={`${cause.code} ${cause.reason}`} cause={cause} />
            ))}
          </ul>
          {rows?.isWhole && <Download api={api} upload={upload} />}
        </details>
      )}
    </>
  );
}

function causesIn(count: number): string {
  return count === 1 ? "1 cause" : `${count} causes`;
}

function CauseLine({ cause }: { cause: Cause }): ReactElement {
  const { reason, count, items, more } = cause;
  const what = typeof items[0] === "number" ? (count === 1 ? "row" : "rows") : "";
  return (
    <li>
      <span className="count">{count.toLocaleString("en")}</span>
      <span>
        {reason}
        <span className="quiet small items">
          {what} {items.slice(0, SHOWN).map(String).join(", ")}
          {(more || items.length > SHOWN) && " …"}
        </span>
      </span>
    </li>
  );
}

/** Saves the list of all rows. A link cannot send a token, so it is fetched. */
function Download({ api, upload }: { api: Api; upload: Upload }): ReactElement {
  const [trouble, setTrouble] = useState<string>();
  const download = async (): Promise<void> => {
    try {
      const url = URL.createObjectURL(await api.rowErrors(upload.uploadId));
      const name = `${upload.fileName.replace(/\.[^.]*$/, "")}-left-out.csv`;
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      // By then the browser has read it, also if it asks where to save it.
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      setTrouble(undefined);
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <div className="download">
      <button type="button" className="button small" onClick={() => void download()}>
        <Icon name="download" /> Download all as CSV
      </button>
      {trouble !== undefined && (
        <p className="small" role="alert">
          The list cannot be downloaded: {trouble}.
        </p>
      )}
    </div>
  );
}
