// The page's own part of the line of an upload that has ended: its thumbnails and the images that were left out, or its
// parts and a file with the rows that were left out.

import { type Feed, isFinished, type Upload } from "@tellwire/client/feed";
import type { Api } from "./api.ts";
import { el } from "./dom.ts";
import { partsTable } from "./parts-table.ts";

const IMAGES = /\bimages?\b|\.(avif|gif|hei[cf]|jpe?g|png|webp)$/i;

/** Add to the lines of all that have ended. */
export function showDetails(api: Api, feed: Feed): void {
  const host = document.querySelector("tellwire-uploads") as HTMLElement;
  const shown = new Map<string, HTMLElement>();
  const update = (): void => {
    const ended = feed.uploads.get().filter(isFinished);
    const ids = new Set(ended.map(({ uploadId }) => uploadId));
    for (const [id, element] of shown) if (!ids.has(id)) element.remove();
    for (const id of [...shown.keys()]) if (!ids.has(id)) shown.delete(id);
    for (const upload of ended.filter(({ uploadId }) => !shown.has(uploadId))) {
      const details = el("div", { className: "details", slot: upload.uploadId });
      if (upload.status === "complete") details.append(resultsOf(api, upload));
      if (upload.rowErrors) details.append(downloadOf(api, upload));
      shown.set(upload.uploadId, details);
      host.append(details);
    }
    for (const { details } of feed.errors.get().errors) addImagesLeftOut(details, shown);
  };
  feed.uploads.subscribe(update);
  feed.errors.subscribe(update);
}

function resultsOf(api: Api, { uploadId, fileName }: Upload): HTMLElement {
  if (IMAGES.test(fileName)) {
    const list = el("ul", { className: "thumbnails", ariaLabel: `Thumbnails of ${fileName}`, hidden: true });
    void addThumbnails(api, uploadId, list).catch(() => {});
    return list;
  }
  const parts = el("details", {}, el("summary", { textContent: "Show the parts" }));
  parts.ontoggle = () => {
    if (parts.open && parts.childElementCount === 1) parts.append(partsTable(api, uploadId, fileName));
  };
  return parts;
}

async function addThumbnails(api: Api, uploadId: string, list: HTMLElement): Promise<void> {
  const path = `/demo/uploads/${uploadId}/thumbnails`;
  const { thumbnails } = await (await api.send("GET", path)).json();
  for (const { number, name } of thumbnails as { number: string; name: string }[]) {
    // An image element cannot send a token.
    const src = URL.createObjectURL(await (await api.send("GET", `${path}/${number}`)).blob());
    const image = el("img", { src, alt: name, title: name, onload: () => URL.revokeObjectURL(src) });
    list.append(el("li", {}, image));
    list.hidden = false;
  }
}

interface ImagesLeftOut {
  readonly uploadId?: string;
  readonly leftOut: number;
  readonly total: number;
  readonly causes?: readonly { reason: string; images?: readonly string[]; more: boolean }[];
}

/** Add the causes in an `error` that examples/parts_upload/report.py made of images. */
function addImagesLeftOut(given: unknown, shown: ReadonlyMap<string, HTMLElement>): void {
  const { uploadId, leftOut, total, causes } = (given ?? {}) as ImagesLeftOut;
  const place = shown.get(uploadId ?? "");
  if (!place || !causes?.[0]?.images || place.querySelector(".left-out")) return;
  const summary = `${leftOut} of ${total} ${total === 1 ? "image" : "images"} ${leftOut === 1 ? "was" : "were"} left out`;
  const names = (images: readonly string[]): HTMLElement[] => images.map((name) => el("bdi", { textContent: name }));
  const lines = causes.map(({ reason, images = [], more }) =>
    el("li", {}, `${reason}: `, ...names(more ? [...images, "…"] : images)),
  );
  const list = el("ul", {}, ...lines);
  place.append(el("details", { className: "left-out" }, el("summary", { textContent: summary }), list));
}

/** Saves the list of all rows that were left out. A link cannot send a token, so it is fetched. */
function downloadOf(api: Api, { uploadId, fileName }: Upload): HTMLElement {
  const trouble = el("span", { className: "small" });
  trouble.setAttribute("role", "alert");
  const save = async (): Promise<void> => {
    const answer = await api.send("GET", `/v1/uploads/${encodeURIComponent(uploadId)}/row-errors`);
    const url = URL.createObjectURL(await answer.blob());
    el("a", { href: url, download: `${fileName.replace(/\.[^.]*$/, "")}-left-out.csv` }).click();
    // By then the browser has read it, also if it asks where to save it.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    trouble.textContent = "";
  };
  const onclick = (): void => {
    save().catch(({ message }: Error) => {
      trouble.textContent = `The list cannot be downloaded: ${message}.`;
    });
  };
  const button = el("button", { textContent: "Download the rows left out", onclick });
  return el("p", {}, button, " ", trouble);
}
