// The runtime of Node: loads a function's handler, and runs the invocations that Lambda's Runtime API gives it.
//
//     start ─▶ load ─▶ next ─▶ handler ─▶ response │ error ─▶ next ─▶ …
//
// What it prints goes to the terminal: `tellwire local` puts the function and the request in front of each line.

"use strict";

const { RuntimeClient } = require("./client.cjs");
const { Invocation } = require("./invocation.cjs");
const { failureOf, printed } = require("./failure.cjs");
const { loadHandler } = require("./load.cjs");
const { requireAsOnLambda, missingSdk } = require("./resolve.cjs");

const settings = JSON.parse(process.env.TELLWIRE_NODE);
delete process.env.TELLWIRE_NODE;

// Lambda's own exit codes for these two.
const UNHANDLED_REJECTION = 128;
const UNCAUGHT_EXCEPTION = 129;

const client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API);
let current = null;

async function main() {
  const handler = await load();
  for (;;) {
    const event = await client.next();
    current = new Invocation(event.headers, settings);
    const outcome = await current.run(handler, event.body);
    const invocation = current;
    current = null;
    if (outcome.failure) {
      printed("Invoke Error", outcome.failure, outcome.error);
    }
    await client.end(invocation.requestId, outcome);
  }
}

async function load() {
  try {
    requireAsOnLambda(settings);
    return await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER, settings);
  } catch (error) {
    const failure = failureOf(error);
    printed("Init Error", failure, error);
    const hint = missingSdk(error, settings);
    if (hint) {
      process.stderr.write(`[ERROR] ${hint}\n`);
    }
    await client.cannotStart(failure);
    process.exit(1);
  }
}

function die(error, type, code) {
  const failure = failureOf(error);
  if (type) {
    failure.errorType = type;
    failure.errorMessage = `${failure.errorName ?? "Error"}: ${failure.errorMessage}`;
  }
  printed(type ? "Unhandled Promise Rejection" : "Uncaught Exception", failure, error);
  const told = current ? client.end(current.requestId, { failure }) : client.cannotStart(failure);
  told.finally(() => process.exit(code));
}

process.on("unhandledRejection", (reason) => die(reason, "Runtime.UnhandledPromiseRejection", UNHANDLED_REJECTION));
process.on("uncaughtException", (error) => die(error, "", UNCAUGHT_EXCEPTION));
// The handler has ended, or will never: nothing is left that could wake this process.
process.on("beforeExit", () => current?.nothingIsLeft());

main().catch((error) => {
  // The connection to the Runtime API is gone, and with it `tellwire local`.
  process.exit(error instanceof Error && error.isGone ? 0 : 1);
});
