// The console's page: views of a node, made of the facts that the gateway tells. Every text goes through textContent.

const EVERY_MS = 2000;
const POINTS = 60;
const TAIL_LINES = 500;

const base = location.pathname.replace(/\/$/, "");
const main = document.querySelector("#main");
const tabs = document.querySelector("#tabs");
const health = document.querySelector("#health");
const messages = document.querySelector("#messages");
const signOut = document.querySelector("#sign-out");

let session = null;
let stopView = () => {};

// --- elements ---------------------------------------------------------------------------------------------------------

/** Return an element. Children are nodes or texts; null is left out. */
function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

function table(caption, heads, rows, none) {
  if (!rows.length) return h("p", { class: "soft" }, none);
  const kind = (index) => ({ class: heads[index].startsWith("#") ? "number" : null });
  return h(
    "div",
    { class: "table", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, heads.map((head, index) => h("th", { scope: "col", ...kind(index) }, head.replace(/^#/, ""))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) => h("td", kind(index), cell))))),
    ),
  );
}

const number = (value) => (value == null ? "?" : value.toLocaleString());
const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);
const time = (text) => h("time", { datetime: text, title: text }, new Date(text).toLocaleTimeString());
const link = (view, id, text = id) => h("a", { href: `#${view}/${encodeURIComponent(id)}` }, h("bdi", {}, text));

function say(text, isBad = false) {
  const line = h("p", { class: isBad ? "bad" : "good" }, text);
  messages.append(line);
  setTimeout(() => line.remove(), isBad ? 12000 : 5000);
}

/** Ask before something that cannot be taken back; resolve to true if the operator agrees. */
function agree(question, verb) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "question", onclose: () => (resolve(dialog.returnValue === "yes"), dialog.remove()) },
      h("p", { id: "question" }, question),
      h("form", { method: "dialog" }, h("button", { value: "no" }, "Cancel"), h("button", { value: "yes", class: "bad" }, verb)),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

// --- the gateway ------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body, headers = {}) {
  if (session && method !== "GET") headers["x-csrf-token"] = session.csrfToken;
  let response;
  try {
    response = await fetch(`${base}${path}`, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(15000),
    });
  } catch {
    throw new Refused(0, "UNREACHABLE", "The gateway cannot be reached.");
  }
  const text = response.status === 204 ? "" : await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  const problem = text.startsWith("{") ? JSON.parse(text) : {};
  if (response.status === 401 && session) showDoor("The session has ended. Sign in again.");
  throw new Refused(response.status, problem.code, problem.message ?? `The gateway answered ${response.status}.`);
}

const api = (method, path, body) => ask(method, `/api${path}`, body);
const query = (name, value) => `?${name}=${encodeURIComponent(value)}`;

/** Do what a button is for; it is disabled meanwhile. */
function action(label, work, attributes = {}) {
  const button = h("button", {
    type: "button",
    ...attributes,
    onclick: async () => {
      button.disabled = true;
      try {
        const words = await work();
        if (words) say(words);
      } catch (error) {
        say(error.message, true);
      }
      button.disabled = false;
    },
  });
  button.textContent = label;
  return button;
}

/** Load now and every few seconds, while the view is shown and the page is visible. */
function repeat(load) {
  let timer;
  let isOver = false;
  const run = async () => {
    if (!document.hidden) {
      try {
        await load();
      } catch (error) {
        if (!isOver) showHealth(null, error.message);
      }
    }
    if (!isOver) timer = setTimeout(run, EVERY_MS);
  };
  run();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

function showHealth(overview, trouble) {
  const words = trouble ?? overview.trouble ?? (overview.isDraining ? "This node drains." : "Well");
  health.textContent = words;
  health.className = trouble || overview.trouble ? "bad" : overview.isDraining ? "soft" : "good";
}

// --- views ------------------------------------------------------------------------------------------------------------

const series = { publishes: [], deliveries: [] };
let previous = null;

function note(overview) {
  const at = Date.parse(overview.now);
  const now = { at, publishes: sum(overview.publishes), deliveries: overview.deliveries.delivered };
  if (previous && at > previous.at) {
    for (const name of ["publishes", "deliveries"]) {
      // After a restart, counts begin anew.
      series[name].push(Math.max(0, ((now[name] - previous[name]) * 1000) / (at - previous.at)));
      if (series[name].length > POINTS) series[name].shift();
    }
  }
  previous = now;
}

function card(label, value, more) {
  return h("dl", { class: "card" }, h("dt", {}, label), h("dd", {}, value), more ? h("dd", {}, h("small", {}, more)) : null);
}

function rates(label, values) {
  const most = Math.max(1, ...values);
  const newest = values.at(-1) ?? 0;
  const text = `${number(Math.round(newest * 10) / 10)} per second`;
  const bars = h("div", { class: "bars", role: "img", "aria-label": `${label}: now ${text}, at most ${number(Math.round(most))}` });
  for (const value of values) {
    const bar = h("i");
    bar.style.height = `${(100 * value) / most}%`;
    bars.append(bar);
  }
  return h("dl", { class: "card" }, h("dt", {}, label), h("dd", {}, text), h("dd", {}, bars));
}

const words = (counts) => Object.entries(counts).map(([name, count]) => [name, number(count)]);

function overviewView() {
  main.replaceChildren(h("h1", {}, "Overview"), h("div"));
  return repeat(async () => {
    const facts = await api("GET", "/overview");
    note(facts);
    showHealth(facts);
    main.lastElementChild.replaceChildren(
      h(
        "div",
        { class: "cards" },
        card("Connections", number(facts.connections), `${number(facts.connectionsOnAllNodes)} on all nodes (${number(facts.nodes)})`),
        card("Subscriptions to topics", number(facts.subscriptions)),
        card("Slow consumers", number(facts.slowConsumers), `${number(facts.slowConsumersClosed)} closed since the start`),
        rates("Publishes", series.publishes),
        rates("Deliveries", series.deliveries),
      ),
      h("h2", {}, "Since the start"),
      h(
        "div",
        { class: "cards" },
        h("div", {}, h("h3", {}, "Publishes"), table("Publishes", ["target", "#number"], words(facts.publishes), "None.")),
        h("div", {}, h("h3", {}, "Deliveries"), table("Deliveries", ["outcome", "#number"], words(facts.deliveries), "None.")),
        h("div", {}, h("h3", {}, "Refused handshakes"), table("Refused handshakes", ["reason", "#number"], words(facts.handshakesRefused), "None.")),
        h("div", {}, h("h3", {}, "Failed publishes"), table("Failed publishes", ["code", "#number"], words(facts.publishesFailed), "None.")),
        h("div", {}, h("h3", {}, "Silent uploads"), table("Silent uploads", ["declared", "#number"], words(facts.leasesExpired), "None.")),
      ),
      h("h2", {}, "This node"),
      h("p", { class: "soft" }, `tellwire ${facts.version}, engine ${facts.engine}, Python ${facts.python}, since `, time(facts.startedAt)),
      action("Drain this node", drain, { class: "bad", disabled: facts.isDraining }),
    );
  });
}

async function drain() {
  if (!(await agree("All connections of this node are closed, and it ends. Clients connect again, elsewhere.", "Drain"))) return null;
  const { withinSeconds } = await api("POST", "/v1/drain");
  return `This node ends within ${withinSeconds} seconds.`;
}

/** A list whose rows are `[name, connections]`. `load` gets the part of the name, and returns the rows and a sentence. */
function listView(title, view, load, none) {
  let part = "";
  const result = h("div");
  const show = async () => {
    const [rows, more] = await load(part);
    result.replaceChildren(
      table(title, [view, "#connections"], rows.map(([name, count]) => [link(view, name), number(count)]), none),
      ...(more ? [h("p", { class: "soft" }, more)] : []),
    );
  };
  const input = h("input", { type: "search", autocomplete: "off", oninput: () => ((part = input.value.trim()), show().catch(() => {})) });
  const open = (event) => {
    event.preventDefault();
    if (part) location.hash = `${view}/${encodeURIComponent(part)}`;
  };
  main.replaceChildren(
    h("h1", {}, title),
    h("form", { class: "row", onsubmit: open }, h("label", {}, "Part of the name", input), h("button", {}, "Open")),
    result,
    h("p", { class: "soft" }, "Of this node. Open a name to see it on all nodes."),
  );
  return repeat(show);
}

async function loadUsers(part) {
  const { users, total } = await api("GET", `/v1/users/connected${query("part", part)}`);
  const more = total > users.length ? `The first ${number(users.length)} of ${number(total)}: narrow the list.` : "";
  return [users.map((each) => [each.user, each.connections]), more];
}

async function loadTopics(part) {
  const { topics, more } = await api("GET", `/topics${query("part", part)}`);
  return [topics.map((each) => [each.topic, each.connections]), more ? "There are more: narrow the list." : ""];
}

function uploadsView() {
  main.replaceChildren(h("h1", {}, "Uploads in progress"), h("div"));
  return repeat(async () => {
    const { uploads, more } = await api("GET", "/uploads");
    main.lastElementChild.replaceChildren(
      table(
        "Uploads in progress",
        ["of", "file", "status", "progress", "message", "last word", "lease until"],
        uploads.map((each) => [
          each.target.startsWith("topic ") ? h("bdi", {}, each.target) : link("user", each.target),
          h("bdi", { title: each.uploadId }, each.fileName),
          each.status,
          h("progress", { max: "100", value: each.progress, "aria-label": `${each.progress} %` }),
          h("bdi", {}, each.message),
          time(each.updatedAt),
          each.silentUntil ? time(each.silentUntil) : "",
        ]),
        "No upload runs.",
      ),
      ...(more ? [h("p", { class: "soft" }, "There are more.")] : []),
    );
  });
}

function userView(user) {
  const connections = h("div");
  const shutOuts = h("div");
  const load = async () => {
    const { connections: found } = await api("GET", `/v1/connections${query("user", user)}`);
    connections.replaceChildren(
      table(
        "Connections",
        ["connection", "since", "last active", "token until", "action"],
        found.map((each) => [
          h("code", {}, each.connectionId),
          time(each.connectedAt),
          time(each.lastActiveAt),
          time(each.expiresAt),
          action("Close", async () => {
            await api("DELETE", `/v1/connections${query("connection", each.connectionId)}`);
            return "The connection is closed. The client may come back.";
          }),
        ]),
        "Not connected.",
      ),
    );
    const list = await api("GET", `/v1/users/disconnect${query("user", user)}`).catch(() => ({ shutOuts: [] }));
    shutOuts.replaceChildren(
      ...list.shutOuts.map((each) => h("p", {}, "Shut out until ", time(each.until), each.reason ? `: ${each.reason}` : "")),
      list.shutOuts.length
        ? action("Let in again", async () => {
            await api("DELETE", `/v1/users/disconnect${query("user", user)}`);
            return "The user may connect again.";
          })
        : action("Shut out for an hour", () => shutOut(user), { class: "bad" }),
    );
  };
  main.replaceChildren(
    h("h1", {}, "User ", h("bdi", {}, user)),
    h("h2", {}, "Connections on all nodes"),
    connections,
    h("h2", {}, "Access"),
    shutOuts,
    ...testMessage(user),
    ...tail(user),
  );
  return repeat(load);
}

async function shutOut(user) {
  const question = `All connections of ${user} are closed, and none can be opened for an hour.`;
  if (!(await agree(question, "Shut out"))) return null;
  const until = Date.now() / 1000 + 3600;
  const { closed } = await api("POST", `/v1/users/disconnect${query("user", user)}`, { until });
  return `Shut out; ${closed} connections were closed.`;
}

function testMessage(user) {
  const title = h("input", { required: true, maxlength: "200", value: "A test from the console" });
  const text = h("input", { maxlength: "1000", value: "You can ignore this." });
  const send = async (event) => {
    event.preventDefault();
    const message = { type: "notification", data: { title: title.value, message: text.value, severity: "info" } };
    try {
      const delivery = await api("POST", "/v1/publish", { target: { user }, message });
      say(`Sent to ${delivery.delivered} devices; it is kept for the others.`);
    } catch (error) {
      say(error.message, true);
    }
  };
  return [
    h("h2", {}, "Send a test notification"),
    h("form", { class: "row", onsubmit: send }, h("label", {}, "Title", title), h("label", {}, "Text", text), h("button", { class: "main" }, "Send")),
  ];
}

function tail(user) {
  const lines = h("pre", { class: "tail", tabindex: "0", "aria-label": "Messages", hidden: true });
  let stop = null;
  const button = h("button", { type: "button", "aria-pressed": "false" }, "Show live messages");
  const add = (text) => {
    const isAtEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 4;
    lines.append(`${text}\n`);
    while (lines.childNodes.length > TAIL_LINES) lines.firstChild.remove();
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  };
  const end = () => {
    stop?.abort();
    stop = null;
    button.textContent = "Show live messages";
    button.setAttribute("aria-pressed", "false");
  };
  button.addEventListener("click", async () => {
    if (stop) return end();
    stop = new AbortController();
    lines.hidden = false;
    button.textContent = "Stop";
    button.setAttribute("aria-pressed", "true");
    try {
      await follow(user, stop.signal, add);
      end();
    } catch (error) {
      if (error.name !== "AbortError") say(error.message, true);
      end();
    }
  });
  addEventListener("hashchange", end, { once: true });
  return [h("h2", {}, "Live messages"), button, lines];
}

async function follow(user, signal, add) {
  const response = await fetch(`${base}/api/v1/users/tail${query("user", user)}`, { signal, cache: "no-store" });
  if (!response.ok) throw new Refused(response.status, "", `Messages cannot be followed (${response.status}).`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const found = (rest + part.value).split("\n");
    rest = found.pop();
    for (const line of found) if (line.trim()) add(line);
  }
}

function topicView(topic) {
  main.replaceChildren(h("h1", {}, "Topic ", h("bdi", {}, topic)), h("div"));
  return repeat(async () => {
    let shown;
    try {
      const { count, members } = await api("GET", `/v1/topics/presence${query("topic", topic)}`);
      shown = [
        h("p", {}, `${number(count)} users, on all nodes.`),
        table("Members", ["user"], members.map((each) => [link("user", each.user ?? each.userId ?? each)]), "Nobody."),
      ];
    } catch (error) {
      shown = [h("p", { class: "soft" }, error.message)];
    }
    main.lastElementChild.replaceChildren(...shown);
  });
}

// --- signing in, and the way between views ----------------------------------------------------------------------------

const VIEWS = {
  overview: ["Overview", overviewView],
  users: ["Users", () => listView("Users", "user", loadUsers, "Nobody is connected.")],
  topics: ["Topics", () => listView("Topics", "topic", loadTopics, "Nobody follows a topic.")],
  uploads: ["Uploads", uploadsView],
};
const PARENTS = { user: "users", topic: "topics" };

function showView() {
  if (!session) return;
  stopView();
  const [name, id] = location.hash.slice(1).split("/");
  const view = VIEWS[name] ? name : (PARENTS[name] ?? "overview");
  tabs.replaceChildren(
    ...Object.entries(VIEWS).map(([each, [title]]) => h("a", { href: `#${each}`, "aria-current": each === view ? "page" : null }, title)),
  );
  const named = id ? decodeURIComponent(id) : "";
  if (name === "user" && named) stopView = userView(named);
  else if (name === "topic" && named) stopView = topicView(named);
  else stopView = VIEWS[view][1]();
  document.title = `${main.querySelector("h1").textContent} · tellwire console`;
}

function showDoor(words = "") {
  session = null;
  stopView();
  stopView = () => {};
  signOut.hidden = true;
  tabs.replaceChildren();
  health.textContent = "";
  document.title = "tellwire console";
  const key = h("input", { type: "password", autocomplete: "current-password", required: true });
  const error = h("p", { class: "bad", role: "alert" }, words);
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await signIn(key.value.trim());
    } catch (refused) {
      error.textContent = refused.message;
      key.select();
    }
  };
  main.replaceChildren(
    h(
      "form",
      { class: "card door", onsubmit: submit },
      h("h1", {}, "Console"),
      h("input", { type: "text", autocomplete: "username", value: "console", hidden: true }),
      h("label", {}, "An API key with the scope admin", key),
      error,
      h("button", { class: "main" }, "Sign in"),
    ),
  );
  key.focus();
}

async function signIn(key) {
  begin(await ask("POST", "/session", undefined, key ? { authorization: `Bearer ${key}` } : {}));
}

function begin(opened) {
  session = opened;
  signOut.hidden = false;
  showView();
  main.focus();
}

signOut.addEventListener("click", async () => {
  await ask("DELETE", "/session").catch(() => {});
  showDoor("You have signed out.");
});
addEventListener("hashchange", showView);

try {
  begin(await ask("GET", "/session"));
} catch (refused) {
  if (refused.code === "NO_KEY_NEEDED") await signIn("").catch((error) => showDoor(error.message));
  else showDoor(refused.status === 401 ? "" : refused.message);
}
