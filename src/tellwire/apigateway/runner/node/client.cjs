// A client of Lambda's Runtime API, on one connection.

"use strict";

const http = require("node:http");

class RuntimeClient {
  constructor(address) {
    const [authority, ...secret] = address.split("/");
    const [host, port] = authority.split(":");
    this.options = { host, port, agent: new http.Agent({ keepAlive: true, maxSockets: 1 }) };
    this.root = `/${secret.join("/")}/2018-06-01/runtime`;
  }

  next() {
    return this.ask("GET", "/invocation/next");
  }

  async end(requestId, outcome) {
    if (outcome.failure) {
      await this.ask("POST", `/invocation/${requestId}/error`, JSON.stringify(told(outcome.failure)));
    } else {
      await this.ask("POST", `/invocation/${requestId}/response`, outcome.result);
    }
  }

  cannotStart(failure) {
    return this.ask("POST", "/init/error", JSON.stringify(told(failure)));
  }

  ask(method, path, body = "") {
    return new Promise((resolve, reject) => {
      const headers = { "Content-Length": Buffer.byteLength(body) };
      const request = http.request({ ...this.options, method, path: this.root + path, headers }, (answer) => {
        const pieces = [];
        answer.on("data", (piece) => pieces.push(piece));
        answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(pieces).toString() }));
        answer.on("error", gone);
      });
      const gone = (error) => reject(Object.assign(error, { isGone: true }));
      request.on("error", gone);
      // It waits as long as nothing happens.
      request.setTimeout(0);
      request.end(body);
    });
  }
}

function told({ errorType, errorMessage, trace }) {
  return { errorType, errorMessage, trace };
}

module.exports = { RuntimeClient };
