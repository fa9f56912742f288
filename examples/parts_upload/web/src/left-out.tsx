// What was left out of an upload, by cause, or why it failed as a whole.

import type { ReactElement } from "react";
import { Icon } from "./icons.tsx";
import type { Cause, Problem } from "./words.ts";

const SHOWN = 8;

export function LeftOut({ problem }: { problem: Problem }): ReactElement {
  const { message, causes } = problem;
  if (causes.length === 0) {
    return (
      <p className="trouble">
        <Icon name="alert" /> {message}
      </p>
    );
  }
  return (
    <details className="left-out">
      <summary>
        <Icon name="alert" />
        <span>
          {message} <span className="quiet small">{causes.length === 1 ? "1 cause" : `${causes.length} causes`}</span>
        </span>
      </summary>
      <ul>
        {causes.map((cause) => (
          <CauseLine key={cause.reason} cause={cause} />
        ))}
      </ul>
    </details>
  );
}

function CauseLine({ cause }: { cause: Cause }): ReactElement {
  const { reason, count, items, more } = cause;
  const what = typeof items[0] === "number" ? (count === 1 ? "row" : "rows") : "";
  return (
    <li>
      <span className="count">{count.toLocaleString("en")}</span>
      <span>
        {reason}
        <span className="quiet small items">
          {what} {items.slice(0, SHOWN).map(String).join(", ")}
          {(more || items.length > SHOWN) && " …"}
        </span>
      </span>
    </li>
  );
}
