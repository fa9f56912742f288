// Calls the management API by the AWS SDK for JavaScript, as told on stdin, and says on stdout what came of each call.
//
//   in    {"endpoint": "http://…/prod", "calls": [{"command": "GetConnection", "input": {…}, "times": 1}]}
//   out   [{"status": 200, "output": {…}} | {"status": 410, "error": "GoneException", "isInstance": true, "message": "…"}]
//
// A call made several times ends with the first that fails. `input.Data` may be a number: so many bytes.

import * as sdk from "@aws-sdk/client-apigatewaymanagementapi";
import { text } from "node:stream/consumers";

const { endpoint, calls } = JSON.parse(await text(process.stdin));
// Credentials and region come from the environment, as they do in a function.
const client = new sdk.ApiGatewayManagementApiClient({ endpoint, maxAttempts: 1 });

async function call({ command, input }) {
  const bytes = typeof input.Data === "number" ? { Data: new Uint8Array(input.Data).fill(0x78) } : {};
  try {
    const { $metadata, ...output } = await client.send(new sdk[`${command}Command`]({ ...input, ...bytes }));
    return { status: $metadata.httpStatusCode, output };
  } catch (error) {
    return {
      status: error.$metadata?.httpStatusCode,
      error: error.name,
      isInstance: sdk[error.name] !== undefined && error instanceof sdk[error.name],
      message: error.message,
    };
  }
}

const results = [];
for (const each of calls) {
  let result;
  for (let count = 0; count < (each.times ?? 1); count++) {
    result = await call(each);
    if (result.error !== undefined) break;
  }
  results.push(result);
}

// A date that is one says so; text that looks like one does not.
function withDates(key, value) {
  return this[key] instanceof Date ? { Date: this[key].toISOString() } : value;
}
console.log(JSON.stringify(results, withDates));
client.destroy();
