// @ts-check
/**
 * The one script tag of a page:
 *
 *   <script type="module" src="ADDRESS/w/widget.js" data-workspace="demo" data-language="auto"></script>
 *
 * data-language: auto | zh | en · data-theme: auto | light | dark · data-accent: "#rrggbb" · data-open: open at once.
 * Afterwards `document.querySelector("duomo-chat")` has open(), close(), ask(text) and speak(language).
 */

// Served as /w/widget.js and as /w/widget/widget.js: everything else is found from the /w/ above it.
const root = new URL(import.meta.url.includes("/widget/widget.js") ? "../" : "./", import.meta.url);

const tag = [...document.querySelectorAll("script[src]")].find((one) => /\/w\/(widget\/)?widget\.js(\?|$)/.test(/** @type {HTMLScriptElement} */ (one).src));
const { workspace = "demo", language = "auto", theme = "auto", accent = "", open } = /** @type {HTMLElement | undefined} */ (tag)?.dataset ?? {};

await import(new URL("widget/chat.js", root).href);
if (!document.querySelector("duomo-chat")) {
  const chat = document.createElement("duomo-chat");
  Object.assign(chat, { server: root.origin, workspace, wantedLanguage: language, wantedTheme: theme, accent });
  document.body.append(chat);
  if (open !== undefined) /** @type {any} */ (chat).open();
}

export {};
