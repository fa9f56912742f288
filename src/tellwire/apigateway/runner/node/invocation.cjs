// One invocation: its context, and the ways in which a handler may end it.
//
// A handler returns a promise, or calls back. After a callback Lambda waits until nothing is left to do, unless the handler
// says `context.callbackWaitsForEmptyEventLoop = false`; a promise ends the invocation at once.

"use strict";

const { failureOf } = require("./failure.cjs");

class Invocation {
  constructor(headers, settings) {
    this.requestId = headers["lambda-runtime-aws-request-id"];
    this.headers = headers;
    this.settings = settings;
    this.outcome = new Promise((resolve) => {
      this.finish = resolve;
    });
    this.afterLoop = null;
  }

  async run(handler, body) {
    process.env._X_AMZN_TRACE_ID = this.headers["lambda-runtime-trace-id"];
    const context = this.context();
    const callback = (error, result) => this.calledBack(context, error, result);
    try {
      const returned = handler(JSON.parse(body), context, callback);
      if (typeof returned?.then === "function") {
        returned.then(
          (result) => this.succeed(result),
          (error) => this.fail(error),
        );
      }
    } catch (error) {
      this.fail(error);
    }
    return this.outcome;
  }

  calledBack(context, error, result) {
    const end = () => (error === undefined || error === null ? this.succeed(result) : this.fail(error));
    if (context.callbackWaitsForEmptyEventLoop === false) {
      // What the handler does after the call still belongs to it.
      setImmediate(end);
    } else {
      this.afterLoop ??= end;
    }
  }

  // The event loop is empty: a callback has been called, or nobody will ever end this invocation, which is null then.
  nothingIsLeft() {
    (this.afterLoop ?? (() => this.succeed(null)))();
  }

  succeed(result) {
    try {
      // A function or undefined has no JSON: it is null, as on Lambda.
      this.finish({ result: JSON.stringify(result === undefined ? null : result) ?? "null" });
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    this.finish({ failure: failureOf(error), error });
  }

  context() {
    const env = process.env;
    const deadline = Number(this.headers["lambda-runtime-deadline-ms"]);
    const context = {
      callbackWaitsForEmptyEventLoop: true,
      functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION ?? "$LATEST",
      functionName: env.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME ?? `/aws/lambda/${env.AWS_LAMBDA_FUNCTION_NAME}`,
      logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
      clientContext: parsed(this.headers["lambda-runtime-client-context"]),
      identity: parsed(this.headers["lambda-runtime-cognito-identity"]),
      invokedFunctionArn: this.headers["lambda-runtime-invoked-function-arn"],
      awsRequestId: this.requestId,
      getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    };
    if (this.settings.hasCallbacks) {
      Object.assign(context, {
        succeed: (result) => this.succeed(result),
        fail: (error) => this.fail(error),
        done: (error, result) => (error === undefined || error === null ? this.succeed(result) : this.fail(error)),
      });
    }
    return context;
  }
}

function parsed(header) {
  return header ? JSON.parse(header) : undefined;
}

module.exports = { Invocation };
