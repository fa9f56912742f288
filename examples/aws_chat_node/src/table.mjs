// The table of connections: one item for each.

import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DeleteCommand, DynamoDBDocumentClient, PutCommand, paginateScan } from "@aws-sdk/lib-dynamodb";

const client = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const TableName = process.env.CONNECTIONS_TABLE_NAME;
const TWO_HOURS = 2 * 60 * 60;

export async function add(connectionId, name) {
  const expiresAt = Math.floor(Date.now() / 1000) + TWO_HOURS;
  await client.send(new PutCommand({ TableName, Item: { connectionId, name, expiresAt } }));
}

export async function remove(connectionId) {
  await client.send(new DeleteCommand({ TableName, Key: { connectionId } }));
}

export async function* everyone() {
  for await (const page of paginateScan({ client }, { TableName })) {
    yield* page.Items;
  }
}
