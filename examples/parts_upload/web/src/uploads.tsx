// The uploads, newest first, each with its bar, its left-out items, and a button that cancels it.

import { newestFirst } from "@tellwire/client/feed";
import { type Upload, useConnection, useUploadActions, useUploads } from "@tellwire/react";
import { memo, type ReactElement, useRef, useState } from "react";
import type { Api } from "./api.ts";
import { Icon } from "./icons.tsx";
import { LeftOut } from "./left-out.tsx";
import { Thumbnails } from "./thumbnails.tsx";
import { usePaused } from "./use-paused.ts";
import { nameOf, type Parcel, type Sending } from "./use-sending.ts";
import { isOver, type Problem, refusalOf, silenceOf } from "./words.ts";

/** Half the time in which a bar slides to its position, so that bars stay smooth. */
const PAUSE_MS = 100;

const STATUS = {
  queued: "Queued",
  running: "Running",
  retrying: "Retrying",
  stalled: "Stalled",
  complete: "Complete",
  failed: "Failed",
  cancelled: "Cancelled",
};

interface Props {
  api: Api;
  problems: ReadonlyMap<string, Problem>;
  sending: Sending;
}

export function Uploads({ api, problems, sending }: Props): ReactElement {
  const uploads = usePaused(useUploads(), PAUSE_MS);
  const isStale = useConnection().status !== "open" && uploads.some((upload) => !isOver(upload));
  const known = new Set(uploads.map(({ uploadId }) => uploadId));
  const parcels = sending.parcels.filter(({ id }) => !known.has(id));
  if (uploads.length === 0 && parcels.length === 0) return <NoUploads />;
  return (
    <>
      {isStale && (
        <p className="stale">
          <Icon name="alert" /> Not connected. The bars show how far the uploads were; they go on meanwhile.
        </p>
      )}
      <ol className="uploads" aria-label="Uploads, newest first" data-stale={isStale}>
        {parcels.map((parcel) => (
          <ParcelCard key={parcel.id} parcel={parcel} />
        ))}
        {newestFirst(uploads).map((upload) => (
          <UploadCard key={upload.uploadId} api={api} upload={upload} problem={problems.get(upload.uploadId)} />
        ))}
      </ol>
    </>
  );
}

const UploadCard = memo(function UploadCard(props: { api: Api; upload: Upload; problem: Problem | undefined }) {
  const { api, upload, problem } = props;
  const { uploadId, fileName, progress, status, message } = upload;
  const name = useRef<HTMLHeadingElement>(null);
  const [refusal, setRefusal] = useState<string>();
  const isImages = /\bimages?\b|\.(avif|gif|hei[cf]|jpe?g|png|webp)$/i.test(fileName);
  return (
    <li className="card upload" data-status={status}>
      <div className="upload-head">
        <Icon name={isImages ? "images" : "parts"} />
        <h2 className="upload-name" ref={name} tabIndex={-1}>
          {fileName}
        </h2>
        <span className="chip" data-status={status}>
          {status === "complete" && <Icon name="check" />}
          {(status === "failed" || status === "stalled") && <Icon name="alert" />}
          {STATUS[status]}
        </span>
      </div>
      <div className="upload-bar">
        <div
          className="track"
          role="progressbar"
          aria-label={fileName}
          aria-valuenow={Math.round(progress)}
          aria-valuetext={`${Math.round(progress)} percent. ${message}`}
        >
          <div className="fill" style={{ translate: `${progress - 100}%` }} />
        </div>
        <span className="percent" aria-hidden="true">
          {Math.floor(progress)} %
        </span>
      </div>
      <div className="upload-foot">
        <p className="quiet upload-words">{message}</p>
        {!isOver(upload) && <CancelButton upload={upload} then={() => name.current?.focus()} refused={setRefusal} />}
      </div>
      {refusal !== undefined && !isOver(upload) && (
        <p className="trouble" role="alert">
          <Icon name="alert" /> {refusal}
        </p>
      )}
      {status === "stalled" && <p className="silence">{silenceOf(upload)}</p>}
      <LeftOut api={api} upload={upload} problem={problem} />
      {isImages && status === "complete" && <Thumbnails api={api} uploadId={uploadId} />}
    </li>
  );
});

interface CancelProps {
  upload: Upload;
  /** Called when it was pressed: the button that had the focus is removed at the end of the upload. */
  then: () => void;
  /** Called with the reason if the upload cannot be cancelled. */
  refused: (why: string | undefined) => void;
}

function CancelButton({ upload, then, refused }: CancelProps): ReactElement {
  const { cancel } = useUploadActions();
  const isOpen = useConnection().status === "open";
  const press = (): void => {
    refused(undefined);
    cancel(upload.uploadId).catch((error: Error) => refused(refusalOf(error)));
    then();
  };
  return (
    <button
      type="button"
      className="button small cancel"
      disabled={!isOpen}
      onClick={press}
      aria-label={`Cancel ${upload.fileName}`}
    >
      Cancel
    </button>
  );
}

function ParcelCard({ parcel }: { parcel: Parcel }): ReactElement {
  return (
    <li className="card upload" data-status="sending">
      <div className="upload-head">
        <Icon name={parcel.kind} />
        <h2 className="upload-name">{nameOf(parcel)}</h2>
        <span className="chip">Sending</span>
      </div>
      <div className="upload-bar">
        <div className="track" role="progressbar" aria-label={nameOf(parcel)}>
          <div className="fill" />
        </div>
      </div>
      <p className="quiet upload-words">On its way to the server</p>
    </li>
  );
}

function NoUploads(): ReactElement {
  return (
    <div className="empty">
      <div className="studs" aria-hidden="true" />
      <p>
        <b>Nothing here yet.</b>
      </p>
      <p className="quiet">Use the sample files to see 10,000 parts and six pictures go in.</p>
    </div>
  );
}
