// Files that are being sent to the server: for which worker, and which failed.

import { useCallback, useState } from "react";
import type { Api, Kind, Limits } from "./api.ts";

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
  send(files: readonly File[], paced: boolean): Promise<void>;
  sendSamples(paced: boolean): void;
}

const PARTS_LIST = /\.(csv|tsv|txt|xlsx|xlsm|ods|gz|zip)$/i;
const IMAGE = /\.(avif|gif|hei[cf]|jpe?g|png|webp)$/i;

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
    async (files: readonly File[], paced: boolean) => {
      setTrouble([]);
      await attempt(files.length === 1 ? (files[0] as File).name : `${files.length} files`, async () => {
        const [wanted, refused] = parcelsOf(files, await api.limits());
        setTrouble(refused);
        setParcels((before) => [...before, ...wanted]);
        for (const parcel of wanted) {
          const { id, kind, files } = parcel;
          void attempt(nameOf(parcel), () => api.upload(id, kind, files, paced)).then(() =>
            setParcels((before) => before.filter((each) => each.id !== id)),
          );
        }
      });
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

/** Return one parcel for each parts list and one for all images, and the reasons why other files are not sent. */
function parcelsOf(files: readonly File[], limits: Limits): [Parcel[], string[]] {
  const { maxFiles, maxFileBytes, maxImageBytes } = limits;
  const refused: string[] = [];
  const fits = (file: File, maxBytes: number): boolean => {
    if (file.size <= maxBytes) return true;
    refused.push(`${file.name} is too big: it has ${megabytes(file.size)}, and ${megabytes(maxBytes)} are allowed.`);
    return false;
  };
  const lists = files.filter((file) => isCsv(file) && fits(file, maxFileBytes));
  const images = files.filter((file) => isImage(file) && fits(file, maxImageBytes));
  const others = files.filter((file) => !isCsv(file) && !isImage(file));
  refused.push(...others.map(({ name }) => `${name} is neither a parts list nor an image.`));
  if (images.length > maxFiles) refused.push(`${images.length} images are too many: ${maxFiles} at once are allowed.`);
  const parcels: Parcel[] = lists.map((file) => ({ id: crypto.randomUUID(), kind: "parts", files: [file] }));
  if (images.length > 0 && images.length <= maxFiles)
    parcels.push({ id: crypto.randomUUID(), kind: "images", files: images });
  return [parcels, refused];
}

function megabytes(bytes: number): string {
  return `${(Math.ceil((bytes / 1024 ** 2) * 10) / 10).toLocaleString("en")} MB`;
}

function isCsv({ name, type }: File): boolean {
  return type === "text/csv" || PARTS_LIST.test(name);
}

/** Browsers do not know the types of all formats. */
function isImage(file: File): boolean {
  return !isCsv(file) && (file.type.startsWith("image/") || IMAGE.test(file.name));
}
