// The hook of the usage guide. It is apart from the others for its `import.meta`, which Jest and React Native do not know.

"use client";

export { type UseWebSocketOptions, useWebSocket, type WebSocketAndMessages } from "./useWebSocket.js";
