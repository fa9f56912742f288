// The name of the application, with its mark.

import type { ReactElement } from "react";
import brick from "./brick.svg";

export function Brand(): ReactElement {
  return (
    <span className="brand">
      <img src={brick} alt="" width="28" height="28" />
      <span className="brand-name">Partsbook</span>
    </span>
  );
}
