// The drop zone: files are dropped or chosen, or the samples taken. It is the label of a file input, so it works by keyboard.

import { type DragEvent, type ReactElement, useState } from "react";
import { Icon } from "./icons.tsx";
import type { Sending } from "./use-sending.ts";

export function DropZone({ sending }: { sending: Sending }): ReactElement {
  const [isPaced, setPaced] = useState(true);
  const [isOver, setOver] = useState(false);
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    void sending.send([...event.dataTransfer.files], isPaced);
  };
  const over = (event: DragEvent): void => {
    event.preventDefault();
    setOver(true);
  };
  return (
    <section className="card intake" aria-label="Upload files">
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is for pointers; the input inside is for everybody */}
      <div className="zone" data-over={isOver} onDrop={drop} onDragOver={over} onDragLeave={() => setOver(false)}>
        <label className="zone-label">
          <input
            type="file"
            multiple
            accept=".csv,.tsv,.txt,.xlsx,.xlsm,.ods,.gz,.zip,text/csv,image/*,.avif,.heic,.heif"
            className="visually-hidden"
            onChange={({ currentTarget }) => {
              void sending.send([...(currentTarget.files ?? [])], isPaced);
              // Choosing the same file again has to be a change, too.
              currentTarget.value = "";
            }}
          />
          <Icon name="upload" />
          <span className="zone-words">
            <b>Choose files</b> or drop them here
          </span>
          <span className="quiet small">Parts lists as CSV, pictures as JPEG, PNG, HEIC, AVIF, WebP or GIF</span>
        </label>
      </div>
      <div className="intake-row">
        <button type="button" className="button" onClick={() => sending.sendSamples(isPaced)}>
          Use the sample files
        </button>
        <label className="check">
          <input type="checkbox" checked={isPaced} onChange={({ currentTarget }) => setPaced(currentTarget.checked)} />
          Slow motion
          <span className="quiet small">10,000 rows take a twentieth of a second otherwise</span>
        </label>
      </div>
      <div role="alert">
        {sending.trouble.map((text) => (
          <p key={text} className="trouble">
            <Icon name="alert" /> {text}
          </p>
        ))}
      </div>
    </section>
  );
}
