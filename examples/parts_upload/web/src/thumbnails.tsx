// The thumbnails of an upload of images.

import { type ReactElement, useEffect, useState } from "react";
import type { Api } from "./api.ts";

export function Thumbnails({ api, uploadId }: { api: Api; uploadId: string }): ReactElement | null {
  const urls = useThumbnails(api, uploadId);
  if (urls.length === 0) return null;
  return (
    <ul className="thumbnails" aria-label="Thumbnails">
      {urls.map((url, index) => (
        <li key={url}>
          <img src={url} alt={`Thumbnail ${index + 1}`} />
        </li>
      ))}
    </ul>
  );
}

/** Load the thumbnails of an upload. An image element cannot send a token, so they are fetched. */
function useThumbnails(api: Api, uploadId: string): readonly string[] {
  const [urls, setUrls] = useState<readonly string[]>([]);
  useEffect(() => {
    let made: string[] = [];
    let isWanted = true;
    const load = async (): Promise<void> => {
      const blobs = await api.thumbnails(uploadId).catch(() => []);
      if (!isWanted) return;
      made = blobs.map((blob) => URL.createObjectURL(blob));
      setUrls(made);
    };
    void load();
    return () => {
      isWanted = false;
      for (const url of made) URL.revokeObjectURL(url);
    };
  }, [api, uploadId]);
  return urls;
}
