// The progress of uploads in the title of the tab.

import { useUploads } from "@tellwire/react";
import { useEffect } from "react";

export function useTitle(): void {
  const percent = useUploads((uploads) => {
    const running = uploads.filter(({ status }) => status === "running").map(({ progress }) => progress);
    return running.length === 0 ? undefined : Math.floor(running.reduce((sum, each) => sum + each) / running.length);
  });
  useEffect(() => {
    document.title = percent === undefined ? "Partsbook" : `${percent} % · Partsbook`;
  }, [percent]);
}
