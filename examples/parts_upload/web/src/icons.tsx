// The icons, on a grid of 20. The words beside them say the same.

import type { ReactElement } from "react";

const PATHS = {
  alert: "M10 6.5v4.5M10 14v.01M10 2.5 18 16.5H2z",
  bell: "M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5.5-1.5 5.5h12s-1.5-1.5-1.5-5.5A4.5 4.5 0 0 0 10 3zM8.5 16a1.6 1.6 0 0 0 3 0",
  check: "m4.5 10.5 3.5 3.5 7.5-8",
  close: "m5 5 10 10M15 5 5 15",
  device: "M6.5 2.5h7a1 1 0 0 1 1 1v13a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-13a1 1 0 0 1 1-1zM9 15h2",
  download: "M10 3.5v9M6 9l4 4 4-4M3.5 13v3.5h13V13",
  images: "M3 4.5h14v11H3zM3 13l4-4 4 4 2.5-2.5L17 14M13 7.5v.01",
  info: "M10 9v5M10 6v.01M10 2.5a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15z",
  parts: "M4 2.5h8l4 4v11H4zM12 2.5v4h4M7 10h6M7 13.5h6",
  upload: "M10 13.5v-9M6 8l4-4 4 4M3.5 13v3.5h13V13",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): ReactElement {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
