// A page as the usage guide has it: its hook, and its switch over the types of messages. `?hook=tellwire` puts the hook of
// @tellwire/react/guide in the place of the guide's, and changes nothing else.

import { useWebSocket as useTellwires } from "@tellwire/react/guide";
import { createRoot } from "react-dom/client";
import { useWebSocket as useGuides } from "../../../clients/react/test/guide/hook.ts";

const parameters = new URLSearchParams(location.search);
const useWebSocket = parameters.get("hook") === "tellwire" ? useTellwires : useGuides;
const token = parameters.get("token") ?? "";

function App() {
  const { ws, messages } = useWebSocket(token);
  let progress = 0;
  let words = "";
  let toast = "";
  for (const message of messages) {
    switch (message.type) {
      case "upload_progress":
        progress = message.data.progress;
        words = message.data.message;
        break;
      case "notification":
        toast = `${message.data.severity}: ${message.data.title}`;
        break;
    }
  }
  return (
    <>
      <progress max="100" value={progress} />
      <p id="words">{words}</p>
      <p id="toast">{toast}</p>
      <button type="button" onClick={() => ws?.send(JSON.stringify({ type: "ping" }))}>
        Ping
      </button>
      <p id="last">{messages.at(-1)?.type}</p>
    </>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(<App />);
