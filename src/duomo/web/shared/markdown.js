// @ts-check
/** Markdown as safe DOM. marked and DOMPurify are loaded at the first use; no picture of another host is ever loaded. */

/** @type {Promise<{marked: any, purify: any}> | null} */
let loading = null;

/** Starts loading the parser, e.g. while an answer still streams. */
export function preloadMarkdown() {
  loading ??= Promise.all([import("../vendor/marked.js"), import("../vendor/purify.js")]).then(([{ marked }, { default: purify }]) => ({ marked, purify }));
  loading.catch(() => {
    loading = null; // the next call tries again
  });
  return loading;
}

const TAGS = ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li",
  "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"];
const ATTRIBUTES = ["href", "src", "alt", "title", "start", "align", "colspan", "rowspan"];

/**
 * @param {string} text Markdown, written by anybody
 * @param {object} options
 * @param {string} options.origin the server's origin; only its own media are shown, other pictures become their alt text
 * @returns {Promise<HTMLElement>} a detached element with class "markdown"
 */
export async function renderMarkdown(text, { origin }) {
  const { marked, purify } = await preloadMarkdown();
  /** @type {DocumentFragment} */
  const parts = purify.sanitize(marked.parse(text, { gfm: true, breaks: true, async: false }), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  // The parts belong to an inert document: no picture is fetched before the append below.
  for (const picture of parts.querySelectorAll("img")) tamePicture(picture, origin);
  for (const link of parts.querySelectorAll("a")) tameLink(link, origin);
  for (const wide of parts.querySelectorAll("table, pre")) makeScrollable(wide);
  const root = document.createElement("div");
  root.className = "markdown";
  root.append(parts);
  return root;
}

/** @param {string} address @param {string} origin @returns {URL | null} */
export function ownMedia(address, origin) {
  try {
    const url = new URL(address, origin);
    return url.origin === origin && /^\/(api\/v1\/media|w)\//.test(url.pathname) ? url : null;
  } catch {
    return null;
  }
}

/** @param {HTMLImageElement} picture @param {string} origin */
function tamePicture(picture, origin) {
  const url = ownMedia(picture.getAttribute("src") ?? "", origin);
  if (!url) {
    picture.replaceWith(picture.alt);
    return;
  }
  picture.setAttribute("src", url.href);
  picture.setAttribute("loading", "lazy");
  picture.setAttribute("alt", picture.alt);
}

/** @param {HTMLAnchorElement} link @param {string} origin */
function tameLink(link, origin) {
  const address = link.getAttribute("href") ?? "";
  let url;
  try {
    url = new URL(address, origin);
  } catch {
    url = null;
  }
  if (!address || !url || !["http:", "https:", "mailto:", "tel:"].includes(url.protocol)) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.setAttribute("href", url.href);
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer nofollow");
}

/** Reachable by keyboard where it is wider than the screen. @param {Element} wide */
function makeScrollable(wide) {
  const frame = wide.ownerDocument.createElement("div");
  frame.className = "scroll";
  frame.setAttribute("tabindex", "0");
  wide.replaceWith(frame);
  frame.append(wide);
}

/**
 * Turns the [1] of an answer into chips: `<button class="cite" data-n="1">`.
 * @param {HTMLElement} root
 * @param {{n: number, title: string}[]} citations numbers without a citation stay text
 * @param {(citation: {n: number, title: string}) => string} label for screen readers
 */
export function chipCitations(root, citations, label) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) {
    const text = /** @type {Text} */ (walker.currentNode);
    if (/\[\d{1,2}\]/.test(text.data) && !text.parentElement?.closest("a, code, pre")) texts.push(text);
  }
  for (const text of texts) {
    const pieces = text.data.split(/\s?\[(\d{1,2})\]/);
    text.replaceWith(...pieces.map((piece, i) => (i % 2 ? chip(Number(piece), citations, label) : piece)));
  }
}

/** @param {number} n @param {{n: number, title: string}[]} citations @param {(citation: {n: number, title: string}) => string} label */
function chip(n, citations, label) {
  const citation = citations.find((one) => one.n === n);
  if (!citation) return `[${n}]`;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "cite";
  button.dataset.n = String(n);
  button.textContent = String(n);
  button.setAttribute("aria-label", label(citation));
  return button;
}

/**
 * Marks where `quote` stands in `root`, whatever Markdown signs, spaces or punctuation lie between.
 * @param {HTMLElement} root
 * @param {string} quote
 * @returns {HTMLElement | null} the first mark, to scroll to
 */
export function markQuote(root, quote) {
  const whole = markRun(root, quote);
  if (whole) return whole;
  // Rows of a table are quoted with its head, sentences with a gap between: each line is looked for by itself.
  const lines = quote.replace(/^\|.*\|\s*\n\|[\s:|-]+\|\s*$/gm, "").split("\n");
  const marks = lines.map((line) => markRun(root, line)).filter((mark) => mark !== null);
  return marks[0] ?? null;
}

/** @param {HTMLElement} root @param {string} quote @returns {HTMLElement | null} */
function markRun(root, quote) {
  const wanted = letters(quote).map(([letter]) => letter).join("");
  if (!wanted) return null;
  /** @type {{node: Text, at: number, end: number}[]} where each letter of the whole text stands */
  const places = [];
  let whole = "";
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = /** @type {Text} */ (walker.currentNode);
    for (const [letter, at, end] of letters(node.data)) {
      whole += letter;
      for (let unit = 0; unit < letter.length; unit += 1) places.push({ node, at, end });
    }
  }
  const found = whole.indexOf(wanted);
  if (found < 0) return null;
  /** @type {Map<Text, [number, number]>} */
  const ranges = new Map();
  for (const { node, at, end } of places.slice(found, found + wanted.length)) {
    const [start] = ranges.get(node) ?? [at];
    ranges.set(node, [start, end]);
  }
  const marks = [...ranges].map(([node, [start, end]], i) => {
    const range = document.createRange();
    range.setStart(node, i ? 0 : start); // spaces and signs at the seams belong to the quote
    range.setEnd(node, i < ranges.size - 1 ? node.length : end);
    const mark = document.createElement("mark");
    range.surroundContents(mark);
    return mark;
  });
  return marks[0] ?? null;
}

/** Letters and digits, lower case, with their places in UTF-16 units. @param {string} text @returns {[string, number, number][]} */
function letters(text) {
  return [...text.matchAll(/[\p{L}\p{N}]/gu)].map((match) => [match[0].toLowerCase(), match.index, match.index + match[0].length]);
}
