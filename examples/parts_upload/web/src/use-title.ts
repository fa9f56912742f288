// The title of the tab says how far the uploads are, for those who look at another one.

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
