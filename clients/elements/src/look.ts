// The look that all elements have in common. A page changes it by variables, or by `::part(…)`.

export const LOOK = `
  :host {
    --accent: var(--tellwire-accent, light-dark(#1f5fd0, #7cabff));
    --surface: var(--tellwire-surface, light-dark(#fff, #1d2026));
    --text: var(--tellwire-text, light-dark(#1b1d22, #eceef2));
    --muted: var(--tellwire-muted, light-dark(#5c626e, #a5acb9));
    --line: var(--tellwire-border, light-dark(#d9dce3, #3a3f4a));
    --good: var(--tellwire-good, light-dark(#1a7f42, #63cf8d));
    --warn: var(--tellwire-warn, light-dark(#8f5b00, #efb751));
    --bad: var(--tellwire-bad, light-dark(#c0291f, #ff8f86));
    --radius: var(--tellwire-radius, 10px);
    display: block;
    color: var(--text);
    font: var(--tellwire-font, 15px / 1.45 system-ui, sans-serif);
  }
  :host([hidden]), [hidden] { display: none !important; }
  * { box-sizing: border-box; }
  p, ol, ul { margin: 0; padding: 0; list-style: none; }
  svg { inline-size: 1.15em; block-size: 1.15em; flex: none; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
  button, .action {
    font: inherit; font-size: .9em; color: inherit; text-decoration: none; cursor: pointer;
    background: var(--surface); border: 1px solid var(--line); border-radius: calc(var(--radius) * .7); padding: .25em .7em;
  }
  button:hover, .action:hover { border-color: var(--muted); }
  button:disabled { opacity: .55; cursor: default; }
  .icon { display: grid; place-items: center; border-color: transparent; background: none; padding: .35em; min-inline-size: 2em; min-block-size: 2em; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  .card { background: var(--surface); border: 1px solid var(--line); border-radius: var(--radius); }
  .quiet { color: var(--muted); font-size: .9em; }
  [data-tone="good"] { --tone: var(--good); }
  [data-tone="busy"] { --tone: var(--accent); }
  [data-tone="warn"] { --tone: var(--warn); }
  [data-tone="bad"] { --tone: var(--bad); }
  .tone { color: var(--tone); padding-block-start: .15em; }
  .texts { flex: 1; min-inline-size: 0; overflow-wrap: anywhere; display: grid; gap: .2em; justify-items: start; }
  .hidden { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  @media (prefers-reduced-motion: reduce) { *, ::before { transition: none !important; animation: none !important; } }
`;
