// @ts-check
/** The console's frame: which page is shown, the rail, the keys, and what lies over it all. */
import { html, nothing, repeat } from "../vendor/lit.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { closeMenu, menu, modal } from "./modal.js";
import "./sign_in.js";
import "./inbox.js";
import "./media_view.js";
import "./evidence.js";
import "./composer.js";
import "./conversation.js";
import "./details.js";
import "./knowledge.js";
import "./insights.js";
import { alarms } from "./models.js";
import "./policy.js";
import "./drafts.js";
import "./review.js";
import "./system.js";

/** @typedef {{page: string, path: string[], id: string | null, details: boolean}} Route path: what follows the page; id: of the open conversation */
/** @typedef {{sign: import("../shared/icons.js").IconName, view: ((path: string[]) => unknown) | null}} Page */

/** The rail, in its order; the first page is where one begins. @type {Record<string, Page>} */
const PAGES = {
  inbox: { sign: "inbox", view: null },
  review: { sign: "tag", view: (path) => html`<console-review .path=${path}></console-review>` },
  knowledge: { sign: "book", view: () => html`<console-knowledge></console-knowledge>` },
  insights: { sign: "chart", view: (path) => html`<console-insights .path=${path}></console-insights>` },
  policy: { sign: "shield", view: (path) => html`<console-policy .path=${path}></console-policy>` },
  models: { sign: "cube", view: (path) => html`<console-models .path=${path}></console-models>` },
  system: { sign: "settings", view: () => html`<console-system></console-system>` },
};
const AT_HAND = 4; // pages that a phone shows beside its menu

/** #/inbox/ID/details -> a page. @returns {Route} */
function routeOf() {
  const [page, ...path] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const known = page in PAGES ? page : "inbox";
  return { page: known, path, id: (known === "inbox" && path[0]) || null, details: path[1] === "details" };
}

/** Whether keys mean text here. @param {EventTarget | null} target */
function writes(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=range], [type=checkbox]), textarea, select"));
}

class Console extends Pane {
  static properties = { helps: { state: true } };

  constructor() {
    super();
    this.helps = false;
    this.route = routeOf();
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener("hashchange", this.#navigate);
    addEventListener("keydown", this.#key);
    void desk.start().then(this.#navigate);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener("hashchange", this.#navigate);
    removeEventListener("keydown", this.#key);
  }

  #navigate = () => {
    this.route = routeOf();
    desk.openThread(this.route.page === "inbox" ? this.route.id : null);
    this.requestUpdate();
  };

  willUpdate() {
    // signing in later must open what the address says
    if (desk.session && this.route.id && !desk.thread) desk.openThread(this.route.id);
  }

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.key === "Escape") {
      const open = document.querySelector("details.menu[open]");
      if (open instanceof HTMLDetailsElement) {
        open.open = false;
        open.querySelector("summary")?.focus();
      } else if (writes(event.target)) /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    const held = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
    if (held || !desk.session || !desk.shortcuts || writes(event.target) || document.querySelector("dialog[open]")) return;
    const act = this.#shortcuts()[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  /** @returns {Record<string, () => void>} */
  #shortcuts() {
    const { thread } = desk;
    const composer = /** @type {any} */ (this.querySelector("console-composer"));
    /** @param {1 | -1} step */
    const move = (step) => {
      const next = desk.neighbour(step);
      if (next) location.hash = `#/inbox/${next.id}`;
    };
    /** @param {string} action */
    const act = (action) => thread?.allowed.includes(action) && void thread.act(action);
    return {
      j: () => move(1),
      k: () => move(-1),
      "/": () => /** @type {HTMLElement | null} */ (this.querySelector("#search"))?.focus(),
      r: () => composer?.write(false),
      n: () => composer?.write(true),
      t: () => act("take_over"),
      e: () => act("resolve"),
      "?": () => (this.helps = true),
    };
  }

  render() {
    if (desk.session === undefined) return html`<p class="empty muted" role="status">${desk.t("loading")}</p>`;
    if (!desk.session) return html`<console-sign-in></console-sign-in>${this.#toasts()}`;
    const { page, id, details } = this.route;
    const view = page !== "inbox" ? "page" : details && id ? "details" : id ? "thread" : "list";
    return html`<a class="skip" href="#main" @click=${this.#skip}>${desk.t("skip")}</a>
      <div class="shell" data-view=${view} data-page=${page}>
        ${this.#rail()}
        ${page === "inbox" ? html`<console-inbox></console-inbox><main id="main" tabindex="-1"><console-conversation></console-conversation></main>${id ? html`<console-details></console-details>` : nothing}`
          : html`<main id="main" tabindex="-1">${PAGES[page].view?.(this.route.path)}</main>`}
      </div>
      <draft-sheet></draft-sheet>
      <article-sheet></article-sheet>
      ${this.helps ? this.#help() : nothing} ${this.#toasts()}`;
  }

  /** @param {Event} event */
  #skip = (event) => {
    event.preventDefault(); // the address says which conversation is open
    this.querySelector("main")?.focus();
  };

  #rail() {
    const { t } = desk;
    const names = Object.keys(PAGES);
    const rest = [...names.slice(AT_HAND).map((name) => this.#railPage(name)), ...this.#railTools()];
    return html`<nav class="rail" aria-label=${t("console")}>
      <img class="logo" src="/w/console/icon.svg" alt="Duomo" width="32" height="32" />
      ${names.slice(0, AT_HAND).map((name) => this.#railPage(name))}
      ${names.slice(AT_HAND).map((name) => html`<span class="not-phone">${this.#railPage(name)}</span>`)}
      <span class="gap"></span>
      ${this.#railTools().map((tool) => html`<span class="not-phone">${tool}</span>`)}
      <span class="only-phone" @click=${this.#chosen}>${menu({ label: t("rail_more"), cls: "rail-item", face: html`${icon("more", 22)}<span class="rail-label">${t("rail_more")}</span>` }, rest)}</span>
    </nav>`;
  }

  /** @param {Event} event */
  #chosen = (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!target.closest("summary")) closeMenu(target);
  };

  /** @param {string} name */
  #railPage(name) {
    const { t } = desk;
    return html`<a class="rail-item" href="#/${name}" aria-current=${this.route.page === name ? "page" : nothing} title=${t(name)}>${icon(PAGES[name].sign, 22)}<span class="rail-label">${t(name)}</span>
      ${name === "inbox" && desk.waiting.size ? html`<span class="badge" aria-hidden="true">${desk.waiting.size}</span>` : nothing}
      ${name === "models" && alarms.open ? html`<span class="dot" role="img" aria-label=${t("alarms_open", { n: alarms.open })}></span>` : nothing}</a>`;
  }

  #railTools() {
    const { t } = desk;
    /** @param {string} label @param {import("../shared/icons.js").IconName} sign @param {() => void} act */
    const tool = (label, sign, act) => html`<button class="rail-item" type="button" aria-label=${label} title=${label} @click=${act}>${icon(sign, 22)}<span class="rail-label only-phone" aria-hidden="true">${label}</span></button>`;
    return [
      tool(t(desk.sound ? "sound_on" : "sound_off"), desk.sound ? "bell" : "bell_off", () => desk.switchSound()),
      tool(t("language"), "globe", () => desk.switchLanguage()),
      tool(t(desk.dark ? "theme_light" : "theme_dark"), desk.dark ? "sun" : "moon", () => desk.switchTheme()),
      tool(t("help"), "help", () => (this.helps = true)),
      tool(`${t("sign_out")} (${desk.me.name})`, "logout", () => desk.signOut()),
    ];
  }

  #toasts() {
    const { t } = desk;
    return html`<div class="toasts" role="status" aria-live="polite">
      ${desk.session && !desk.online ? html`<p class="toast danger">${icon("offline", 18)}<span>${t("offline")}</span></p>` : nothing}
      ${repeat(desk.toasts, (toast) => toast.id, (toast) => html`<p class="toast ${toast.tone}">${icon(toast.tone === "danger" ? "alert" : "bell", 18)}
        ${toast.href ? html`<a href=${toast.href} @click=${() => desk.dismiss(toast.id)}>${toast.text}</a>` : html`<span>${toast.text}</span>`}
        ${toast.action ? html`<button class="button small" type="button" @click=${() => { desk.dismiss(toast.id); toast.action?.act(); }}>${toast.action.label}</button>` : nothing}
        <button class="icon-button small" type="button" aria-label=${t("close")} @click=${() => desk.dismiss(toast.id)}>${icon("close", 15)}</button></p>`)}
    </div>`;
  }

  #help() {
    const { t } = desk;
    /** @type {[string[], string][]} */
    const keys = [
      [["j", "k"], "keys_move"], [["/"], "keys_search"], [["r"], "keys_reply"], [["n"], "keys_note"], [["t"], "keys_take_over"],
      [["e"], "keys_resolve"], [["Enter"], "keys_send"], [["Esc"], "keys_escape"], [["?"], "keys_help"],
    ];
    return modal(html`<dl class="keys">${keys.map(([names, meaning]) => html`<dt>${names.map((name) => html`<kbd>${name}</kbd>`)}</dt><dd>${t(meaning)}</dd>`)}</dl>
      <label class="switch"><input type="checkbox" .checked=${desk.shortcuts} @change=${() => desk.switchShortcuts()} />${t("keys_enabled")}</label>`,
    { label: t("help"), onClose: () => (this.helps = false) });
  }
}
customElements.define("duomo-console", Console);
