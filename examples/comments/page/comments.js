// The page: who is here, and what they say about a MOC.

import { TellwireClient } from "/client/index.js";

const $ = (id) => document.getElementById(id);
const moc = new URLSearchParams(location.search).get("moc") ?? "1";
const STATES = { connecting: "Connecting …", waiting: "No connection, trying again …", closed: "The connection has ended" };

$("moc").textContent = moc;
document.title = `Comments on MOC ${moc}`;

async function signIn(name) {
  const answer = await fetch("/token", { method: "POST", body: JSON.stringify({ name }) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.message);
  return body;
}

function follow(name, { url, userId }) {
  const client = new TellwireClient({ url, user: userId, getToken: async () => (await signIn(name)).token });
  client.onState(({ status, reason }) => {
    $("state").textContent = status === "open" ? `Live, as ${name}` : (STATES[status] ?? "");
    if (status === "closed" && reason) $("trouble").textContent = reason.message;
  });

  // From the oldest comment that is kept on: so a page that is loaded anew has them all.
  const topic = client.topic(`moc:${moc}:comments`, { startFrom: "oldest" });
  topic.on("comment_added", ({ data, timestamp }) => showComment(data, timestamp));
  topic.onState(({ recovered, error }) => {
    $("missing").hidden = recovered !== false;
    $("trouble").textContent = error?.message ?? "";
  });

  const presence = topic.presence;
  presence.subscribe(() => showMembers(presence.getSnapshot()));

  $("write").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("trouble").textContent = "";
    try {
      await client.send("add_comment", { moc, text: $("text").value });
      $("write").reset();
    } catch (error) {
      $("trouble").textContent = error.message; // what was written stays
    }
  });
  client.connect();
}

function showComment({ author, text }, timestamp) {
  const item = document.createElement("li");
  const by = document.createElement("b");
  by.textContent = author;
  item.append(by, text);
  item.title = new Date(timestamp).toLocaleString();
  $("comments").append(item);
}

function showMembers({ members, count, isComplete }) {
  const names = members.map(({ userId, info }) => info?.name ?? userId);
  if (!isComplete) names.push("…");
  $("members").replaceChildren(
    ...names.map((name) => Object.assign(document.createElement("li"), { textContent: name })),
  );
  $("count").textContent = count === 0 ? "Nobody" : count;
}

async function begin(name) {
  try {
    const answer = await signIn(name);
    sessionStorage.setItem("name", name);
    $("sign-in").hidden = true;
    $("room").hidden = false;
    follow(name, answer);
  } catch (error) {
    $("state").textContent = error.message;
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  begin($("name").value.trim());
});
const known = sessionStorage.getItem("name");
if (known) begin(known);
