// Files that are being sent to the server: for which worker, and which failed.

import { useCallback, useState } from "react";
import type { Api, Kind } from "./api.ts";

/** Files that are being sent. Once the worker has started, the server reports on them. */
export interface Parcel {
  readonly id: string;
  readonly kind: Kind;
  readonly files: readonly File[];
}

export interface Sending {
  readonly parcels: readonly Parcel[];
  /** The reason why something was not sent, for people. */
  readonly trouble: readonly string[];
  send(files: readonly File[], paced: boolean): void;
  sendSamples(paced: boolean): void;
}

const CSV = /\.(csv|tsv|txt)$/i;

/** Return the files that are being sent, and functions to send more. */
export function useSending(api: Api): Sending {
  const [parcels, setParcels] = useState<readonly Parcel[]>([]);
  const [trouble, setTrouble] = useState<readonly string[]>([]);

  const attempt = useCallback(async (what: string, run: () => Promise<void>) => {
    try {
      await run();
    } catch (error) {
      setTrouble((before) => [...before, `${what} could not be sent: ${(error as Error).message}.`]);
    }
  }, []);

  const send = useCallback(
    (files: readonly File[], paced: boolean) => {
      const [wanted, others] = parcelsOf(files);
      setTrouble(others.map((name) => `${name} is neither a CSV file nor an image.`));
      setParcels((before) => [...before, ...wanted]);
      for (const parcel of wanted) {
        const { id, kind, files } = parcel;
        void attempt(nameOf(parcel), () => api.upload(id, kind, files, paced)).then(() =>
          setParcels((before) => before.filter((each) => each.id !== id)),
        );
      }
    },
    [api, attempt],
  );

  const sendSamples = useCallback(
    (paced: boolean) => {
      setTrouble([]);
      void attempt("The sample files", () => api.samples(paced));
    },
    [api, attempt],
  );

  return { parcels, trouble, send, sendSamples };
}

/** The name of a parcel, for people. */
export function nameOf({ files }: Parcel): string {
  return files.length === 1 ? (files[0] as File).name : `${files.length} images`;
}

/** Return one parcel for each parts list and one for all images, and the names of other files. */
function parcelsOf(files: readonly File[]): [Parcel[], string[]] {
  const lists = files.filter(isCsv);
  const images = files.filter((file) => !isCsv(file) && file.type.startsWith("image/"));
  const others = files.filter((file) => !isCsv(file) && !file.type.startsWith("image/"));
  const parcels: Parcel[] = lists.map((file) => ({ id: crypto.randomUUID(), kind: "parts", files: [file] }));
  if (images.length > 0) parcels.push({ id: crypto.randomUUID(), kind: "images", files: images });
  return [parcels, others.map(({ name }) => name)];
}

function isCsv({ name, type }: File): boolean {
  return type === "text/csv" || CSV.test(name);
}
