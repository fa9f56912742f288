// The entry of the page. App.tsx is the README's example, Panel.tsx a component of the usage guide.

import { useWebSocket } from "@tellwire/react/guide";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./App";
import { panelOf } from "./Panel";

const Panel = panelOf(useWebSocket);

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
    <Panel token="token-1" toast={console.log} />
  </StrictMode>,
);
