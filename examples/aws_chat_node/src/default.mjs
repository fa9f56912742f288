// `$default`: tell the client its connection, and how to use the chat.

import {
  ApiGatewayManagementApiClient,
  GetConnectionCommand,
  PostToConnectionCommand,
} from "@aws-sdk/client-apigatewaymanagementapi";

export const handler = async (event) => {
  const { domainName, stage, connectionId } = event.requestContext;
  const api = new ApiGatewayManagementApiClient({ endpoint: `https://${domainName}/${stage}` });
  const connection = await api.send(new GetConnectionCommand({ ConnectionId: connectionId }));
  const help = {
    connectedAt: connection.ConnectedAt,
    usage: { action: "sendmessage", message: "..." },
  };
  await api.send(new PostToConnectionCommand({ ConnectionId: connectionId, Data: JSON.stringify(help) }));
  return { statusCode: 200 };
};
