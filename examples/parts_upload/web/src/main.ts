// The page: a door, and for a signed-in user a desk, with tellwire's elements. The desk has a connection that all tabs
// of the browser share.
//
//     intake.ts       files that are chosen, or dropped anywhere
//     sending.ts      on their way to the server: tus.ts, and kept-files.ts for the next page
//     details.ts      pictures, faults and parts (parts-table.ts) in the line of an upload
//     workbench.ts    for those who look behind the scenes: network.ts can be cut
//     api.ts, dom.ts

import { sharedClient } from "@tellwire/client/shared";
import { connect } from "@tellwire/elements";
import { Api } from "./api.ts";
import { showDetails } from "./details.ts";
import { byId, fromTemplate } from "./dom.ts";
import { takeFiles } from "./intake.ts";
import { SwitchedWebSocket } from "./network.ts";
import { Sending } from "./sending.ts";
import { showWorkbench } from "./workbench.ts";

const TITLE = "Partsbook";
/** The name of the user in the browser's storage, the same for all tabs. A real application has a session instead. */
const USER = "partsbook.user";

let shown: string | null | undefined;
let ending = new AbortController();

window.addEventListener("storage", show);
// A file that is dropped must not be opened in place of the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
show();

/** Sign in with a name, or out with null, in all tabs. */
function setUser(name: string | null): void {
  if (name === null) localStorage.removeItem(USER);
  else localStorage.setItem(USER, name);
  show();
}

/** Show the desk of the user, or the door. */
function show(): void {
  const name = localStorage.getItem(USER);
  if (name === shown) return;
  ending.abort();
  ending = new AbortController();
  document.title = TITLE;
  for (const each of document.querySelectorAll("body > :not(template, noscript, #drop)")) each.remove();
  if (name === null) showDoor();
  else openDesk(name, ending.signal);
  // The focus was on something that is gone.
  if (shown !== undefined) document.querySelector("h1")?.focus();
  if (name === null) document.querySelector("input")?.select();
  shown = name;
}

function showDoor(): void {
  document.body.append(fromTemplate("door"));
  const form = document.querySelector("form") as HTMLFormElement;
  form.onsubmit = (event) => {
    event.preventDefault();
    const name = String(new FormData(form).get("name")).trim();
    if (name !== "") setUser(name);
  };
}

/** Show the desk, until the signal. */
function openDesk(user: string, signal: AbortSignal): void {
  const api = new Api(user);
  // A gateway answers on every path; this one differs from those of the development server. A page that is loaded anew
  // has no state, so it begins with all that the gateway keeps.
  const environment = { WebSocket: SwitchedWebSocket };
  const client = sharedClient({ url: "/live", user, getToken: api.token, startFrom: "oldest", environment });
  const feed = connect({ client });
  document.body.append(fromTemplate("desk"));
  byId("user").textContent = user;
  byId("sign-out").onclick = () => setUser(null);
  const sending = new Sending(api, feed, signal);
  takeFiles(api, (parcels) => sending.add(parcels), signal);
  showDetails(api, feed);
  showWorkbench(client, signal);
  feed.uploads.summary.subscribe(({ total, finished, progress }) => {
    if (!signal.aborted) document.title = total > finished ? `${Math.floor(progress)}% · ${TITLE}` : TITLE;
  });
}
