// Bundles the application with Metro, compiles it with Hermes, and runs the bundle with the globals of React Native only.

const assert = require("node:assert");
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const Metro = require("metro");

const at = (file) => path.join(__dirname, file);
const FOLDER = { darwin: "osx-bin", win32: "win64-bin" }[process.platform] ?? "linux64-bin";
const HERMESC = at(`node_modules/hermes-compiler/hermesc/${FOLDER}/hermesc`);

async function bundle() {
  const errors = [];
  const config = Metro.mergeConfig(await Metro.loadConfig({ cwd: __dirname }), {
    projectRoot: __dirname,
    cacheStores: [],
    maxWorkers: 1,
    reporter: { update: ({ error }) => error && errors.push(error) },
    resolver: {
      unstable_conditionNames: ["react-native"],
      extraNodeModules: {
        "react-native": at("stubs/react-native.js"),
        "@react-native-community/netinfo": at("stubs/netinfo.js"),
      },
    },
  });
  await Metro.runBuild(config, { entry: "index.js", out: at("out.js"), dev: false, minify: false, platform: "ios" });
  assert.deepStrictEqual(errors, []);
}

/** As React Native's: it cannot be changed. */
class URL {
  #text;
  constructor(text) {
    this.#text = /:\/\/[^/]+$/.test(text) ? `${text}/` : text;
  }
  get href() {
    return this.#text;
  }
  get protocol() {
    return `${this.#text.split(":")[0]}:`;
  }
}

class WebSocket {
  static all = [];
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    WebSocket.all.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text).type);
  }
  close() {}
}

async function run() {
  const session = { idToken: async () => "a-token" };
  const globals = { console, queueMicrotask, setTimeout, clearTimeout, URL, WebSocket, session };
  const before = new Set([...Object.keys(globals), "application", "appStateListeners"]);
  const context = vm.createContext(globals);
  vm.runInContext(readFileSync(at("out.js"), "utf8"), context);
  const { mobile } = context.application;
  // Metro's own are `process`, and names such as __d.
  const added = Object.keys(context).filter((name) => !before.has(name) && !/^(process$|__)/.test(name));
  assert.deepStrictEqual(added, []);

  mobile.connect();
  while (WebSocket.all.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const [socket] = WebSocket.all;
  assert.deepStrictEqual([socket.url, [...socket.protocols]], ["wss://live.example.com/", ["tellwire.v1", "token.a-token"]]);
  socket.onopen({});
  const welcome = { type: "welcome", data: { userId: "user-1", cursor: "e:0", recovered: true, state: [], messages: [], last: true }, timestamp: "" };
  socket.onmessage({ data: JSON.stringify(welcome) });
  assert.strictEqual(mobile.state.status, "open");
  for (const listener of context.appStateListeners) listener("active");
  assert.deepStrictEqual(socket.sent, ["hello", "ping"]);
  mobile.close();
  assert.strictEqual(context.appStateListeners.size, 0);
}

async function main() {
  await bundle();
  execFileSync(HERMESC, ["-O", "-emit-binary", "-out", at("out.hbc"), at("out.js")], { stdio: "pipe" });
  await run();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
