// All elements in all their states, with a client that needs no gateway.
//
//     npm --prefix clients run stories      builds clients/elements/stories/dist; open index.html?lang=de&dir=rtl

import { fakeClient } from "@tellwire/client/testing";
import { connect } from "@tellwire/elements";

const parameters = new URLSearchParams(location.search);
document.documentElement.lang = parameters.get("lang") ?? "en";
document.documentElement.dir = parameters.get("dir") ?? "ltr";

const client = fakeClient({ user: "ada" });
const DAY = 86_400_000;
let offset = 0;

function at(ago: number): string {
  return new Date(Date.now() - ago).toISOString();
}

function upload(uploadId: string, fileName: string, data: Record<string, unknown>): void {
  const given = { uploadId, fileName, startedAt: at(60_000 - ++offset), ...data };
  client.receive({ type: "upload_progress", data: given, key: `upload:${uploadId}`, version: offset });
}

function tell(severity: string, title: string, message: string, ago: number, more: Record<string, unknown> = {}): void {
  const data = { severity, title, message, ...more };
  client.receive({
    type: "notification",
    data,
    id: `n${++offset}`,
    cursor: `e:${offset}`,
    timestamp: at(ago),
    replayed: ago > 0,
  });
}

connect({ client });
client.open();

const rowErrors = {
  total: 12,
  causes: [
    { code: "NO_QUANTITY", message: "the quantity is missing", count: 10, rows: [17, 18, 31] },
    { code: "NO_PART", message: "the part number is missing", count: 2, rows: [40, 41] },
  ],
};
upload("u1", "waiting.csv", { status: "queued", progress: 0, message: "Third in the queue" });
upload("u2", "parts-list.csv", { status: "running", progress: 64, message: "Row 6,400 of 10,000" });
upload("u3", "a-very-long-name-of-a-list-that-somebody-has-exported-from-another-program-2026-11-30.csv", {
  status: "retrying",
  progress: 30,
  message: "The second of three tries",
});
upload("u4", "silent.csv", { status: "stalled", progress: 41, message: "No word from its worker for 30 seconds" });
upload("u5", "complete.csv", { status: "complete", progress: 100, message: "10,000 parts imported" });
upload("u6", "some-left-out.csv", {
  status: "complete",
  progress: 100,
  message: "988 parts imported",
  totalRows: 1000,
  rowErrors,
});
upload("u7", "failed.csv", { status: "failed", progress: 12, message: "The first row names no part number" });
upload("u8", "קובץ.csv", { status: "cancelled", progress: 50, message: "Nothing of it was kept" });

const list = document.querySelector("tellwire-uploads");
if (list) {
  list.unsent = [
    { uploadId: "s3", fileName: "next.csv", status: "queued", progress: 0 },
    { uploadId: "s2", fileName: "on-its-way.csv", status: "sending", progress: 43, message: "16 of 37 MB, 11 s left" },
    { uploadId: "s1", fileName: "lost.csv", status: "unsent", progress: 70, message: "The server did not answer" },
  ];
}

tell("info", "Maintenance", "On Sunday from 2 to 3", 3 * DAY);
tell("success", "Upload complete", "6 images", DAY);
client.receive({
  type: "error",
  id: "x1",
  data: { code: "UPLOAD_LOST", message: "failed.csv was lost" },
  timestamp: at(1000),
  replayed: true,
});

// Those that arrive live are toasts, too.
setTimeout(() => {
  tell("success", "Upload complete", "10,000 parts imported", 0, {
    actionUrl: "https://example.com/mocs/1",
    actionLabel: "View MOC",
  });
  tell("warning", "Some rows were left out", "12 of 1,000", 0);
}, 100);

const STATES = {
  open: () => client.open(),
  missing: () => client.open({ recovered: false }),
  waiting: () => client.lose(),
  offline: () => client.become({ status: "waiting", attempt: 1, user: "ada" }),
  closed: () => client.become({ status: "closed", attempt: 0, user: "ada" }),
};

for (const [name, change] of Object.entries(STATES)) {
  const button = document.createElement("button");
  button.textContent = name;
  button.onclick = change;
  document.querySelector("nav")?.append(button);
}
