// A table of the parts of an upload. Of a million of them, those that are seen are on the page: they are asked for in pages.

import type { Api } from "./api.ts";
import { el } from "./dom.ts";

interface Part {
  readonly part: string;
  readonly colour: string;
  readonly quantity: number;
  readonly name: string;
}

const ROW_PX = 32;
const PAGE = 100;
const MAX_PAGES = 40;
/** Rows above and below those that are seen. */
const MARGIN = 8;
/** A browser's limit: an element cannot be higher than 33 million pixels. */
const MAX_ROWS = 1_000_000;

export function partsTable(api: Api, uploadId: string, fileName: string): HTMLElement {
  const pages = new Map<number, readonly Part[] | undefined>();
  let total = 0;
  const words = el("p", { className: "quiet small", textContent: "Loading …" });
  words.setAttribute("role", "status");
  const head = el(
    "tr",
    {},
    ...["Part", "Colour", "Quantity", "Name"].map((textContent) => el("th", { textContent, scope: "col" })),
  );
  const body = el("tbody");
  const table = el("table", { ariaLabel: `Parts of ${fileName}` }, el("thead", {}, head), body);
  const sizer = el("div", {}, table);
  const scroller = el(
    "div",
    { className: "parts", tabIndex: 0, role: "region", ariaLabel: `Parts of ${fileName}`, hidden: true },
    sizer,
  );

  const load = async (page: number): Promise<void> => {
    pages.set(page, undefined);
    try {
      const answer = await api.send("GET", `/demo/uploads/${uploadId}/parts?offset=${page * PAGE}&limit=${PAGE}`);
      const found = (await answer.json()) as { total: number; parts: readonly Part[] };
      pages.set(page, found.parts);
      if (pages.size > MAX_PAGES) pages.delete(pages.keys().next().value as number);
      total = found.total;
      words.textContent = total === 0 ? "No parts of it are kept here." : `${total.toLocaleString("en")} parts`;
      scroller.hidden = total === 0;
      table.setAttribute("aria-rowcount", String(total + 1));
    } catch (error) {
      // The next scroll tries again.
      pages.delete(page);
      words.textContent = `The parts cannot be loaded: ${(error as Error).message}.`;
    }
    draw();
  };
  const partAt = (index: number): Part | undefined => {
    const page = Math.floor(index / PAGE);
    if (!pages.has(page)) void load(page);
    return pages.get(page)?.[index % PAGE];
  };
  const draw = (): void => {
    const rows = Math.min(total, MAX_ROWS);
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW_PX) - MARGIN);
    const last = Math.min(rows, first + Math.ceil(scroller.clientHeight / ROW_PX) + 2 * MARGIN);
    sizer.style.blockSize = `${(rows + 1) * ROW_PX}px`;
    table.style.translate = `0 ${first * ROW_PX}px`;
    body.replaceChildren(...Array.from({ length: last - first }, (_, at) => rowOf(first + at, partAt(first + at))));
  };
  let isDue = false;
  scroller.onscroll = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
  void load(0);
  return el("div", {}, words, scroller);
}

function rowOf(index: number, part: Part | undefined): HTMLElement {
  const cells = part ? [part.part, part.colour, part.quantity.toLocaleString("en"), part.name] : ["…", "", "", ""];
  const row = el("tr", {}, ...cells.map((text) => el("td", { title: text }, el("bdi", { textContent: text }))));
  row.setAttribute("aria-rowindex", String(index + 2));
  return row;
}
