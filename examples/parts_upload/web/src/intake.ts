// Files that are chosen, or dropped anywhere on the page: those within the limits are sent, and the others are refused here.

import type { Api, Limits } from "./api.ts";
import { byId, el } from "./dom.ts";
import type { Parcel } from "./kept-files.ts";
import { megabytes } from "./sending.ts";

const PARTS_LIST = /\.(csv|tsv|txt|xlsx|xlsm|ods|gz|zip)$/i;
const IMAGE = /\.(avif|gif|hei[cf]|jpe?g|png|webp)$/i;

/** Hand out the files that the user gives, until the signal. */
export function takeFiles(api: Api, send: (parcels: readonly Parcel[]) => void, signal: AbortSignal): void {
  const isPaced = (): boolean => byId<HTMLInputElement>("paced").checked;
  const take = async (files: readonly File[]): Promise<void> => {
    byId("trouble").replaceChildren();
    try {
      send(sorted(files, await api.limits(), api.user, isPaced()));
    } catch {
      const name = files.length === 1 ? (files[0] as File).name : `${files.length} files`;
      tell(name, "cannot be sent: there is no connection. Try again.");
    }
  };
  const input = byId<HTMLInputElement>("files");
  input.onchange = () => {
    void take([...(input.files ?? [])]);
    // Choosing the same file again has to be a change, too.
    input.value = "";
  };
  byId("samples").onclick = byId("try").onclick = async () => {
    byId("trouble").replaceChildren();
    const sent = api.send("POST", "/demo/samples", { paced: isPaced() });
    await sent.catch((error: Error) => tell("The sample files", `cannot be used: ${error.message}.`));
  };
  onDrop((files) => void take(files), signal);
  const say = ({ maxFiles, maxFileBytes, maxImageBytes }: Limits): void => {
    const [list, image] = [megabytes(maxFileBytes), megabytes(maxImageBytes)];
    byId("limits").textContent = `Lists up to ${list}; ${maxFiles} pictures at once, up to ${image} each.`;
  };
  api.limits().then(say, () => {});
}

/** Take files that are dropped, and say how many there are while they are above the page. */
function onDrop(take: (files: File[]) => void, signal: AbortSignal): void {
  const curtain = byId("drop");
  const on = (name: "dragover" | "dragleave" | "drop", isShown: boolean, act: (event: DragEvent) => void): void => {
    const listener = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      curtain.hidden = !isShown;
      act(event);
    };
    window.addEventListener(name, listener, { signal });
  };
  on("dragover", true, ({ dataTransfer }) => {
    const count = dataTransfer?.items.length ?? 0;
    curtain.textContent = `Drop ${count > 1 ? `${count} files` : "the file"} to upload`;
  });
  on("dragleave", false, () => {});
  on("drop", false, ({ dataTransfer }) => take([...(dataTransfer?.files ?? [])]));
}

/** Say about something why it is not sent, until it is closed or there are other files. */
function tell(name: string, why: string): void {
  const line = el("p", { className: "trouble" }, el("span", {}, el("bdi", { textContent: name }), ` ${why}`));
  const onclick = (): void => {
    line.remove();
    byId("files").focus();
  };
  line.append(el("button", { className: "ghost", textContent: "✕", ariaLabel: `Close: ${name}`, onclick }));
  byId("trouble").append(line);
}

/** Return a parcel for each parts list and one for all images, and say why other files are not sent. */
function sorted(files: readonly File[], limits: Limits, user: string, paced: boolean): Parcel[] {
  const { maxFiles, maxFileBytes, maxImageBytes } = limits;
  const fits = ({ name, size }: File, maxBytes: number): boolean => {
    if (size > maxBytes) tell(name, `is too big: it has ${megabytes(size)}, and ${megabytes(maxBytes)} are allowed.`);
    return size <= maxBytes;
  };
  const lists = files.filter((file) => isList(file) && fits(file, maxFileBytes));
  const images = files.filter((file) => isImage(file) && fits(file, maxImageBytes));
  for (const file of files)
    if (!isList(file) && !isImage(file)) tell(file.name, "is neither a parts list nor an image.");
  const tooMany = images.length > maxFiles;
  if (tooMany) tell(`${images.length} images`, `are too many: ${maxFiles} at once are allowed.`);
  const parcel = (kind: Parcel["kind"], files: readonly File[], number: number): Parcel => {
    return { id: crypto.randomUUID(), user, kind, paced, files, begunAt: Date.now() + number };
  };
  const parcels = lists.map((file, index) => parcel("parts", [file], index));
  return tooMany || images.length === 0 ? parcels : [...parcels, parcel("images", images, lists.length)];
}

function isList({ name, type }: File): boolean {
  return type === "text/csv" || PARTS_LIST.test(name);
}

/** Browsers do not know the types of all formats. */
function isImage(file: File): boolean {
  return !isList(file) && (file.type.startsWith("image/") || IMAGE.test(file.name));
}
