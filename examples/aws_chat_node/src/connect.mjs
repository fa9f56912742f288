// `$connect`: store the connection, under the name in the query string.

import { add } from "./table.mjs";

export const handler = async (event) => {
  const name = event.queryStringParameters?.name ?? "somebody";
  await add(event.requestContext.connectionId, name);
  return { statusCode: 200 };
};
