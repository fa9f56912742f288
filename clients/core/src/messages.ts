// The messages a server sends. Made from spec/messages.schema.json by scripts/generate-types.mjs; do not edit.

/** Where a message is in its user's stream. One to a connection or to everybody has no place there. */
export interface Placed {
  /** On the log: its epoch, a colon, and its offset. */
  readonly cursor?: string;
  /** On a state: what it is of. */
  readonly key?: string;
  /** On a state: the higher one is the newer one of its key. */
  readonly version?: number;
}

/** The user has seen everything up to a cursor, on some device. */
export interface SeenMessage extends Placed {
  readonly data: { readonly cursor: string };
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "seen";
}

/** A message of your own type. `data` is any JSON. */
export interface CustomMessage extends Placed {
  readonly data: unknown;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: string;
}

/** Something went wrong. `code` is for programs, `message` for people, `details` any JSON. */
export interface ErrorData {
  readonly code: string;
  readonly details?: unknown;
  readonly message: string;
}

export interface ErrorMessage extends Placed {
  readonly data: ErrorData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "error";
}

/** Something the user should read. `action_url` is http(s) or a path on the page's own site. */
export interface NotificationData {
  readonly actionLabel?: string | null;
  readonly actionUrl?: string | null;
  readonly message: string;
  readonly severity: "error" | "info" | "success" | "warning";
  readonly title: string;
}

export interface NotificationMessage extends Placed {
  readonly data: NotificationData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "notification";
}

/** Why rows were left out: how many, and the first of them. */
export interface RowErrorCauseData {
  readonly code: string;
  readonly count: number;
  readonly message: string;
  readonly rows: readonly number[];
}

/** How many rows were left out, and why: the most frequent causes first. Rare ones may count in `total` alone. */
export interface RowErrorsData {
  readonly causes: readonly RowErrorCauseData[];
  readonly total: number;
}

/**
 * How far an upload is. `progress` is 0–100; rows are counted from 1.
 *
 * What `track_upload` adds: `status`, of which complete, failed and cancelled are the last word on this upload;
 * `started_at` (RFC 3339), which tells one run of it from another; and `lease_seconds`, how long it may be silent
 * before it counts as stalled. `row_errors` are the rows that were left out, by cause.
 */
export interface UploadProgressData {
  readonly currentRow?: number | null;
  readonly fileName: string;
  readonly leaseSeconds?: number | null;
  readonly message: string;
  readonly progress: number;
  readonly rowErrors?: RowErrorsData | null;
  readonly startedAt?: string | null;
  readonly status?: "cancelled" | "complete" | "failed" | "running" | "stalled" | null;
  readonly totalRows?: number | null;
  readonly uploadId: string;
}

export interface UploadProgressMessage extends Placed {
  readonly data: UploadProgressData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "upload_progress";
}

/** Which type of the specification has which message. */
export interface MessageTypes {
  error: ErrorMessage;
  notification: NotificationMessage;
  upload_progress: UploadProgressMessage;
  seen: SeenMessage;
}
