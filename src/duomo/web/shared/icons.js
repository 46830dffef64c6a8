// @ts-check
import { html, svg } from "../vendor/lit.js";

/** Drawn on a 24 x 24 grid with a 1.75 stroke in the colour of the text. */
const SHAPES = {
  chat: svg`<path d="M20 11.5a7.5 7.5 0 0 1-7.5 7.5c-1.2 0-2.4-.3-3.4-.8L4 19.5l1.4-4.4A7.5 7.5 0 1 1 20 11.5Z"/><path d="M9 11.5h.01M12.5 11.5h.01M16 11.5h.01" stroke-width="2.4"/>`,
  close: svg`<path d="m6 6 12 12M18 6 6 18"/>`,
  minimise: svg`<path d="m6 9.5 6 6 6-6"/>`,
  back: svg`<path d="M19 12H5M11 6l-6 6 6 6"/>`,
  send: svg`<path d="M12 19.5V5M5.5 11.5 12 5l6.5 6.5"/>`,
  attach: svg`<path d="m19.5 11.5-7.8 7.8a4.6 4.6 0 0 1-6.5-6.5l8-8a3.1 3.1 0 0 1 4.4 4.4l-8 8a1.5 1.5 0 0 1-2.2-2.2l7.3-7.2"/>`,
  image: svg`<rect x="3.5" y="4.5" width="17" height="15" rx="2.5"/><circle cx="8.8" cy="9.8" r="1.6"/><path d="m4 17 4.6-4.4a1.5 1.5 0 0 1 2 0L17 18.9M13.8 15.6l1.9-1.8a1.5 1.5 0 0 1 2 0l2.6 2.5"/>`,
  camera: svg`<path d="M4.5 8h2.7l1.5-2.5h6.6L16.8 8h2.7A1.5 1.5 0 0 1 21 9.5v8a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5v-8A1.5 1.5 0 0 1 4.5 8Z"/><circle cx="12" cy="13.2" r="3.3"/>`,
  flip: svg`<path d="M4 10a8 8 0 0 1 14-3.8L20 8M20 4v4h-4M20 14a8 8 0 0 1-14 3.8L4 16M4 20v-4h4"/>`,
  mic: svg`<rect x="9" y="3.5" width="6" height="10.5" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>`,
  stop: svg`<rect x="6.5" y="6.5" width="11" height="11" rx="2" fill="currentColor" stroke="none"/>`,
  play: svg`<path d="M8 5.6v12.8a.8.8 0 0 0 1.2.7l10-6.4a.8.8 0 0 0 0-1.4l-10-6.4a.8.8 0 0 0-1.2.7Z" fill="currentColor" stroke="none"/>`,
  pause: svg`<rect x="6.5" y="5.5" width="4" height="13" rx="1.2" fill="currentColor" stroke="none"/><rect x="13.5" y="5.5" width="4" height="13" rx="1.2" fill="currentColor" stroke="none"/>`,
  document: svg`<path d="M13.5 3.5H7A1.5 1.5 0 0 0 5.5 5v14A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5l-5-5Z"/><path d="M13.5 3.5v5h5M9 13h6M9 16.5h4"/>`,
  person: svg`<circle cx="12" cy="8.2" r="3.7"/><path d="M4.5 20a7.5 7.5 0 0 1 15 0"/>`,
  people: svg`<circle cx="9" cy="8.5" r="3.2"/><path d="M2.8 19.5a6.2 6.2 0 0 1 12.4 0M15.5 5.6a3.2 3.2 0 0 1 0 5.8M17.5 14a6.2 6.2 0 0 1 3.7 5.5"/>`,
  spark: svg`<path d="M12 3.5c.5 4.8 2.7 7.5 8 8.5-5.3 1-7.5 3.7-8 8.5-.5-4.8-2.7-7.5-8-8.5 5.3-1 7.5-3.7 8-8.5Z"/>`,
  up: svg`<path d="M7.5 10.5v9h-3v-9h3Zm0 0 3.8-6.6a1.9 1.9 0 0 1 2 2.2l-.6 3.4h4.6a2 2 0 0 1 2 2.4l-1.1 6a2 2 0 0 1-2 1.6H7.5"/>`,
  down: svg`<path d="M16.5 13.5v-9h3v9h-3Zm0 0-3.8 6.6a1.9 1.9 0 0 1-2-2.2l.6-3.4H6.7a2 2 0 0 1-2-2.4l1.1-6a2 2 0 0 1 2-1.6h8.7"/>`,
  edit: svg`<path d="m4.5 19.5.9-4L16 4.9a1.6 1.6 0 0 1 2.2 0l.9.9a1.6 1.6 0 0 1 0 2.2L8.5 18.6l-4 .9ZM14 7l3 3"/>`,
  check: svg`<path d="m5 12.5 4.5 4.5L19 7.5"/>`,
  clock: svg`<circle cx="12" cy="12" r="8.2"/><path d="M12 7.5V12l3 2"/>`,
  alert: svg`<path d="M12 4 2.9 19.5h18.2L12 4Z"/><path d="M12 10v4.2M12 16.9h.01" stroke-width="2"/>`,
  info: svg`<circle cx="12" cy="12" r="8.5"/><path d="M12 11.2V16M12 8h.01" stroke-width="2"/>`,
  offline: svg`<path d="M3.5 9.5a13 13 0 0 1 4-2.6M20.5 9.5A13 13 0 0 0 11 6.1M6.8 13a8.3 8.3 0 0 1 3.7-2.1M17.2 13a8.3 8.3 0 0 0-1.6-1.2M9.8 16.2a3.8 3.8 0 0 1 4.4 0M12 19h.01M4 4l16 16"/>`,
  retry: svg`<path d="M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15"/>`,
  plus: svg`<path d="M12 5v14M5 12h14"/>`,
  more: svg`<path d="M6 12h.01M12 12h.01M18 12h.01" stroke-width="2.8"/>`,
  globe: svg`<circle cx="12" cy="12" r="8.5"/><path d="M3.5 12h17M12 3.5c2.4 2.3 3.6 5.1 3.6 8.5s-1.2 6.2-3.6 8.5c-2.4-2.3-3.6-5.1-3.6-8.5S9.6 5.8 12 3.5Z"/>`,
  sun: svg`<circle cx="12" cy="12" r="3.8"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4"/>`,
  moon: svg`<path d="M19.5 14.3A8 8 0 0 1 9.7 4.5a8 8 0 1 0 9.8 9.8Z"/>`,
  book: svg`<path d="M5.5 5.5A2 2 0 0 1 7.5 3.5h11v17h-11a2 2 0 0 1-2-2v-13Z"/><path d="M5.5 18.2a2 2 0 0 1 2-1.7h11M9.5 8h5"/>`,
  external: svg`<path d="M13.5 4.5h6v6M19.5 4.5 11 13M18 14v4.5a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 4 18.5v-11A1.5 1.5 0 0 1 5.5 6H10"/>`,
  chevron: svg`<path d="m9.5 6 6 6-6 6"/>`,
  star: svg`<path d="m12 3.8 2.5 5.3 5.7.7-4.2 4 1.1 5.7L12 16.7l-5.1 2.8L8 13.8l-4.2-4 5.7-.7L12 3.8Z"/>`,
  trash: svg`<path d="M4.5 6.5h15M9.5 6.5v-2h5v2M6.5 6.5l.8 12.5A1.5 1.5 0 0 0 8.8 20.5h6.4a1.5 1.5 0 0 0 1.5-1.5l.8-12.5M10 10.5v6M14 10.5v6"/>`,
  search: svg`<circle cx="10.8" cy="10.8" r="6.3"/><path d="m15.5 15.5 4.5 4.5"/>`,
  inbox: svg`<path d="M4 13.5 6.5 5h11l2.5 8.5V18a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 18v-4.5Z"/><path d="M4 13.5h4.5l1.2 2.5h4.6l1.2-2.5H20"/>`,
  note: svg`<path d="M5 4.5h14v10l-5 5H5v-15Z"/><path d="M14 19.5v-5h5M8.5 9h7M8.5 12.5h4"/>`,
  pause_clock: svg`<path d="M19.8 10.5A8 8 0 1 0 12 20M12 7.5V12l2 1.5M16.5 15v5M20 15v5"/>`,
  settings: svg`<circle cx="12" cy="12" r="3"/><path d="M12 3.5v2.2M12 18.3v2.2M3.5 12h2.2M18.3 12h2.2M6 6l1.6 1.6M16.4 16.4 18 18M18 6l-1.6 1.6M7.6 16.4 6 18"/>`,
  logout: svg`<path d="M10 4.5H6A1.5 1.5 0 0 0 4.5 6v12A1.5 1.5 0 0 0 6 19.5h4M14.5 8l4 4-4 4M18.5 12H9.5"/>`,
  upload: svg`<path d="M12 16V4.5M7 9.5l5-5 5 5M4.5 15.5V18A1.5 1.5 0 0 0 6 19.5h12a1.5 1.5 0 0 0 1.5-1.5v-2.5"/>`,
  download: svg`<path d="M12 4.5V16M7 11l5 5 5-5M4.5 15.5V18A1.5 1.5 0 0 0 6 19.5h12a1.5 1.5 0 0 0 1.5-1.5v-2.5"/>`,
  help: svg`<circle cx="12" cy="12" r="8.5"/><path d="M9.6 9.6a2.5 2.5 0 1 1 3.7 2.2c-.8.5-1.3 1-1.3 1.9M12 16.6h.01" stroke-width="1.9"/>`,
  bell: svg`<path d="M6.5 10a5.5 5.5 0 0 1 11 0c0 4.5 1.7 5.6 1.7 6.5H4.8c0-.9 1.7-2 1.7-6.5ZM10 19.5a2.2 2.2 0 0 0 4 0"/>`,
  bell_off: svg`<path d="M17.4 13.3c-.1-.9.1-2-.1-3.3A5.5 5.5 0 0 0 8.6 5.6M6.5 9.5c0 4.7-1.7 6.1-1.7 7H16.5M10 19.5a2.2 2.2 0 0 0 4 0M4 4l16 16"/>`,
  minus: svg`<path d="M5 12h14"/>`,
  scan: svg`<path d="M4 8.5V6a2 2 0 0 1 2-2h2.5M15.5 4H18a2 2 0 0 1 2 2v2.5M20 15.5V18a2 2 0 0 1-2 2h-2.5M8.5 20H6a2 2 0 0 1-2-2v-2.5M8 10h8M8 14h5"/>`,
  lock: svg`<rect x="5.5" y="10.5" width="13" height="9.5" rx="2"/><path d="M8.5 10.5V8a3.5 3.5 0 0 1 7 0v2.5"/>`,
  copy: svg`<rect x="8.5" y="8.5" width="11" height="11" rx="2"/><path d="M15.5 8.5v-2a2 2 0 0 0-2-2h-7a2 2 0 0 0-2 2v7a2 2 0 0 0 2 2h2"/>`,
  bolt: svg`<path d="M13 3.5 5.5 13.5H12l-1 7 7.5-10H12l1-7Z"/>`,
  tag: svg`<path d="M4 5.5v6.3a1.5 1.5 0 0 0 .44 1.06l6.7 6.7a1.5 1.5 0 0 0 2.12 0l6.3-6.3a1.5 1.5 0 0 0 0-2.12l-6.7-6.7A1.5 1.5 0 0 0 11.8 4H5.5A1.5 1.5 0 0 0 4 5.5Z"/><path d="M8.3 8.3h.01" stroke-width="2.6"/>`,
  undo: svg`<path d="M8.5 5 4.5 9l4 4M4.5 9h9.3a5.2 5.2 0 0 1 0 10.4H9"/>`,
  keyboard: svg`<rect x="3" y="6" width="18" height="12.5" rx="2"/><path d="M7 10h.01M10.3 10h.01M13.7 10h.01M17 10h.01M7 14.5h10" stroke-width="2"/>`,
  skip: svg`<path d="m6 6 7 6-7 6V6ZM17.5 6v12"/>`,
  chart: svg`<path d="M4.5 4.5v15h15M8.5 16v-4M12.5 16V8M16.5 16v-6" />`,
  truck: svg`<path d="M3 6.5h11v10H3zM14 10h4l3 3.2v3.3h-7"/><circle cx="7.2" cy="17.5" r="1.8"/><circle cx="17" cy="17.5" r="1.8"/>`,
  cube: svg`<path d="m12 3.5 7.5 4.2v8.6L12 20.5l-7.5-4.2V7.7L12 3.5Z"/><path d="M4.8 7.9 12 12l7.2-4.1M12 12v8.2"/>`,
  shield: svg`<path d="M12 3.5 5 6v5.5c0 4.3 2.9 7.6 7 9 4.1-1.4 7-4.7 7-9V6l-7-2.5Z"/><path d="m9 12 2.2 2.2L15.2 10"/>`,
};

/** @typedef {keyof typeof SHAPES} IconName */
/** Every name `icon` knows. */
export const ICON_NAMES = /** @type {IconName[]} */ (Object.keys(SHAPES));

/**
 * A decorative icon: the button around it carries the label.
 * @param {IconName} name
 * @param {number} [size] pixels
 */
export function icon(name, size = 20) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${SHAPES[name]}</svg>`;
}
