// Failures in Lambda's shape: errorType, errorMessage, trace.

"use strict";

const path = require("node:path");
const { types, inspect } = require("node:util");

const OURS = path.join(__dirname, path.sep);

function failureOf(error) {
  try {
    if (types.isNativeError(error) || (error && error.name && error.message && error.stack)) {
      return {
        errorType: String(error.name),
        errorName: String(error.name),
        errorMessage: String(error.message),
        trace: stackOf(error),
      };
    }
    const kind = error === null ? "null" : typeof error;
    return { errorType: kind, errorName: kind, errorMessage: textOf(error), trace: [] };
  } catch {
    return { errorType: "handled", errorName: "Error", errorMessage: "an error that cannot be read", trace: [] };
  }
}

function textOf(error) {
  return error !== null && typeof error === "object" && error.toString === Object.prototype.toString
    ? JSON.stringify(error)
    : String(error);
}

// Without the frames of this runtime, and of Node's own machinery below them.
function stackOf(error) {
  const lines = String(error.stack).split("\n");
  const end = lines.findIndex((line) => line.includes(OURS));
  return end > 0 ? lines.slice(0, end) : lines;
}

function printed(title, failure, error) {
  const lines = failure.trace.length > 0 ? failure.trace : [`${failure.errorType}: ${failure.errorMessage}`];
  const cause = error?.cause === undefined ? "" : `\n[cause]: ${inspect(error.cause)}`;
  process.stderr.write(`[ERROR] ${title} ${lines.join("\n")}${cause}\n`);
}

class RuntimeError extends Error {
  constructor(type, message, cause) {
    super(message);
    this.name = type;
    this.from = cause;
    if (cause?.stack) {
      this.stack = `${type}: ${message}\n${String(cause.stack).split("\n").slice(0).join("\n")}`;
    }
  }
}

module.exports = { failureOf, printed, RuntimeError };
