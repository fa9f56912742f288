// The functions behind the contract tests, in JavaScript: they do what those of `handlers.py` do.

import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ApiGatewayManagementApiClient,
  GoneException,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";

const CONNECT_ARN = "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/$connect";

function record(event) {
  appendFileSync(process.env.EVENTS_FILE, `${JSON.stringify(event)}\n`);
}

function client(event) {
  const { domainName, stage } = event.requestContext;
  return new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
}

async function waitFor(file) {
  const end = Date.now() + 60_000;
  while (!existsSync(file) && Date.now() < end) {
    await sleep(10);
  }
}

export async function connect(event) {
  record(event);
  const query = event.queryStringParameters ?? {};
  if ("raise" in query) {
    throw new Error(query.raise);
  }
  if ("return" in query) {
    return JSON.parse(query.return);
  }
  if ("post" in query) {
    const input = { ConnectionId: event.requestContext.connectionId, Data: "too early" };
    try {
      await client(event).send(new PostToConnectionCommand(input));
    } catch (error) {
      if (error instanceof GoneException) {
        return { statusCode: 418 };
      }
      throw error;
    }
  }
  if ("until" in query) {
    await waitFor(query.until);
  }
  const headers = "protocol" in query ? { "Sec-WebSocket-Protocol": query.protocol } : {};
  return { statusCode: Number(query.status ?? 200), headers, body: query.body ?? "" };
}

export async function disconnect(event) {
  record(event);
}

export async function failing_disconnect(event) {
  record(event);
  throw new Error("nobody minds");
}

export async function fallback(event) {
  record(event);
  return { statusCode: 200, body: `default ${event.body}` };
}

// With a callback, as older functions have it.
export function custom(event, context, callback) {
  act(event).then((result) => callback(null, result), callback);
}

async function act(event) {
  record(event);
  const body = JSON.parse(event.body);
  switch (body.do) {
    case "raise":
      throw new Error("broken");
    case "malformed":
      return ["no", "response"];
    case "status":
      return { statusCode: body.status, body: "unheard" };
    case "long":
      return { statusCode: 200, body: "x".repeat(body.bytes) };
    case "wait":
      await waitFor(body.until);
      break;
    case "post": {
      const input = { ConnectionId: event.requestContext.connectionId, Data: body.text };
      await client(event).send(new PostToConnectionCommand(input));
      break;
    }
  }
  return { statusCode: 200, body: body.body ?? "unheard" };
}

export function authorize(event, context, callback) {
  record(event);
  const wanted = event.queryStringParameters.auth;
  if (wanted === "Unauthorized") {
    callback("Unauthorized");
  } else if (wanted === "something else") {
    throw new Error(wanted);
  } else {
    callback(null, VERDICTS[wanted]);
  }
}

function policy(effect, resource) {
  return {
    principalId: "user-1",
    policyDocument: {
      Version: "2012-10-17",
      Statement: [{ Action: "execute-api:Invoke", Effect: effect, Resource: resource }],
    },
    context: { name: "Ada", number: 123, flag: true },
  };
}

const VERDICTS = {
  allow: policy("Allow", CONNECT_ARN),
  wide: policy("Allow", "arn:aws:execute-api:*:*:tellwire00/prod/*"),
  deny: policy("Deny", CONNECT_ARN),
  "too-narrow": policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/*/*"),
  "no-policy": { statusCode: 401 },
  objects: { ...policy("Allow", CONNECT_ARN), context: { list: [1] } },
};
