// `sendmessage`: post the message to all other connections.

import {
  ApiGatewayManagementApiClient,
  GoneException,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";

import { everyone, remove } from "./table.mjs";

export const handler = async (event) => {
  const { domainName, stage, connectionId } = event.requestContext;
  const api = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
  const people = [];
  for await (const person of everyone()) {
    people.push(person);
  }
  const sender = people.find((person) => person.connectionId === connectionId);
  const Data = JSON.stringify({ from: sender?.name, message: JSON.parse(event.body).message });
  const others = people.filter((person) => person !== sender);
  await Promise.all(others.map((person) => post(api, person.connectionId, Data)));
  return { statusCode: 200 };
};

async function post(api, ConnectionId, Data) {
  try {
    await api.send(new PostToConnectionCommand({ ConnectionId, Data }));
  } catch (error) {
    if (!(error instanceof GoneException)) {
      throw error;
    }
    await remove(ConnectionId);
  }
}
