// `$disconnect`: forget the connection.

import { remove } from "./table.mjs";

export const handler = async (event) => {
  await remove(event.requestContext.connectionId);
  return { statusCode: 200 };
};
