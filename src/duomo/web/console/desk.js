// @ts-check
/** What an agent's desk knows: who signed in, the inbox and its filter, colleagues, and the conversation that is open. */
import { Api, ApiError } from "../shared/api.js";
import { detectLanguage, errorText, extend, translator } from "../shared/i18n.js";
import { LitElement } from "../vendor/lit.js";
import { Thread } from "./thread.js";
import { WORDS } from "./words.js";

extend(WORDS);

/** @typedef {{id: string, name: string, email: string, role: string, online?: boolean}} Agent */
/** @typedef {{agent: Agent, workspace: string | {name: string}, csrf: string}} Session */
/** @typedef {{id: string, shortcut: string, title: string, text: {zh: string, en: string}}} Canned */
/**
 * @typedef {object} Summary a conversation as the inbox shows it, docs/protocol.md
 * @property {string} id
 * @property {"open" | "pending" | "snoozed" | "resolved"} status
 * @property {{id: string, name: string | null, language: string}} contact
 * @property {{id: string, name: string} | null} assignee
 * @property {string | null} team
 * @property {"low" | "normal" | "high" | "urgent"} priority
 * @property {"zh" | "en" | null} language
 * @property {string} channel
 * @property {{author: string, kind: string, text: string, created_at: string} | null} last_message
 * @property {number} last_seq
 * @property {number} unread
 * @property {string | null} waiting_since
 * @property {string | null} snoozed_until
 * @property {string | null} handoff_reason
 * @property {string[]} media
 * @property {{score: number, comment: string | null} | null} csat
 * @property {string} created_at
 * @property {string} updated_at
 */
/** @typedef {{status: string, mine: boolean, unassigned: boolean, unread: boolean, language: string, team: string, q: string}} Filter */
/** @typedef {{label: string, act: () => void}} ToastAction */
/** @typedef {{id: number, text: string, href: string | null, tone: "info" | "danger", action: ToastAction | null}} Toast */

/** The small settings a browser keeps; storage may be forbidden, then they last as long as the page. */
const kept = {
  /** @param {string} key @param {string} [fallback] */
  get(key, fallback = "") {
    try {
      return localStorage.getItem(`duomo.console.${key}`) ?? fallback;
    } catch {
      return fallback;
    }
  },
  /** @param {string} key @param {string} value */
  set(key, value) {
    try {
      localStorage.setItem(`duomo.console.${key}`, value);
    } catch {
      // forbidden or full: the setting lasts as long as the page
    }
  },
};
export { kept };

/** @returns {Filter} */
const wholeInbox = () => ({ status: "open", mine: false, unassigned: false, unread: false, language: "", team: "", q: "" });

export class Desk extends EventTarget {
  /** @type {import("../shared/i18n.js").Language} */
  language = detectLanguage(kept.get("language") || navigator.language);
  t = translator(this.language);
  /** undefined: not yet known, null: nobody is signed in. @type {Session | null | undefined} */
  session;
  /** @type {Summary[]} */
  items = [];
  /** @type {string | null} */
  cursor = null;
  /** @type {Record<string, number>} */
  counts = {};
  filter = wholeInbox();
  /** Where the words searched for were found, by conversation. @type {Map<string, {snippet: string}>} */
  snippets = new Map();
  /** @type {"loading" | "ready" | "failed"} */
  inboxState = "loading";
  /** @type {Agent[]} */
  agents = [];
  /** @type {Canned[]} */
  canned = [];
  /** What conversations are handed over to, by the policy: id -> {zh, en}. @type {Map<string, Record<string, string>>} */
  teams = new Map();
  /** @type {Thread | null} */
  thread = null;
  online = true;
  sessionEnded = false;
  /** @type {Toast[]} */
  toasts = [];
  /** Conversations in which a customer waits for a person. @type {Map<string, Summary>} */
  waiting = new Map();

  /** The article that is open beside the page. @type {{id: string, quote: string, title: string} | null} */
  article = null;

  /** @type {import("../shared/api.js").EventStream | null} */
  #stream = null;
  #refresh = 0;
  /** Counts inbox requests, so that a slow answer to an old question is dropped. */
  #asked = 0;
  #toast = 0;
  #changed = false;
  #knowsWaiting = false;

  constructor() {
    super();
    this.api = new Api({
      base: location.origin,
      headers: () => (this.session ? { "X-CSRF-Token": this.session.csrf } : /** @type {Record<string, string>} */ ({})),
    });
    this.sound = kept.get("sound", "on") === "on";
    this.shortcuts = kept.get("shortcuts", "on") === "on";
    this.setLanguage(this.language);
    const theme = kept.get("theme");
    if (theme) document.documentElement.dataset.theme = theme;
  }

  /** Asks every pane to draw itself anew, once a microtask. */
  changed() {
    if (this.#changed) return;
    this.#changed = true;
    queueMicrotask(() => {
      this.#changed = false;
      this.dispatchEvent(new Event("change"));
    });
  }

  // -- settings ------------------------------------------------------------------------------------------------------

  /** @param {"zh" | "en"} language */
  setLanguage(language) {
    this.language = language;
    this.t = translator(language);
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    this.#title();
    this.changed();
  }

  switchLanguage() {
    this.setLanguage(this.language === "zh" ? "en" : "zh");
    kept.set("language", this.language);
  }

  get dark() {
    const theme = document.documentElement.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  switchTheme() {
    const theme = this.dark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    kept.set("theme", theme);
    this.changed();
  }

  switchSound() {
    this.sound = !this.sound;
    kept.set("sound", this.sound ? "on" : "off");
    if (this.sound) chime();
    this.changed();
  }

  switchShortcuts() {
    this.shortcuts = !this.shortcuts;
    kept.set("shortcuts", this.shortcuts ? "on" : "off");
    this.changed();
  }

  // -- session -------------------------------------------------------------------------------------------------------

  get me() {
    return /** @type {Agent} */ (this.session?.agent);
  }

  get workspace() {
    const workspace = this.session?.workspace;
    return typeof workspace === "string" ? workspace : (workspace?.name ?? "");
  }

  /** Finds out whether the browser is still signed in. */
  async start() {
    try {
      await this.#begin(await this.api.get("agent/session"));
    } catch (error) {
      this.session = null;
      if (!(error instanceof ApiError && error.code === "denied")) this.report(error);
      this.changed();
    }
  }

  /** @param {string} workspace @param {string} email @param {string} password @throws {ApiError} */
  async signIn(workspace, email, password) {
    await this.#begin(await this.api.post("agent/session", { workspace, email, password }));
    kept.set("workspace", workspace);
    kept.set("email", email);
  }

  async signOut() {
    await this.api.delete("agent/session").catch(() => {});
    this.#end(false);
  }

  /** @param {Session} session */
  async #begin(session) {
    this.session = session;
    this.sessionEnded = false;
    this.changed();
    this.#stream = this.api.events("agent/events", {
      after: null,
      onEvent: (event) => this.#conversationChanged(event.data?.id),
      onState: (state, error) => this.#line(state, error),
    });
    void this.loadInbox();
    const [agents, canned, policy] = await Promise.allSettled(["agents", "canned", "policy"].map((what) => this.api.get(`agent/${what}`)));
    if (agents.status === "fulfilled") this.agents = agents.value;
    if (canned.status === "fulfilled") this.canned = canned.value;
    if (policy.status === "fulfilled") this.teams = new Map(Object.entries(policy.value.policy?.teams ?? {}));
    this.changed();
  }

  /** @param {boolean} expired whether the server ended the session, not the agent */
  #end(expired) {
    this.#stream?.stop();
    this.thread?.close();
    this.#stream = this.thread = null;
    this.session = null;
    this.sessionEnded = expired;
    this.items = [];
    this.waiting = new Map();
    this.#knowsWaiting = false;
    this.#title();
    this.changed();
  }

  /** @param {"connected" | "waiting"} state @param {ApiError | null} error */
  #line(state, error) {
    if (error?.status === 401) return this.#end(true);
    const back = state === "connected" && !this.online;
    this.online = state === "connected";
    this.changed();
    if (back) void this.loadInbox();
  }

  /** Tells the agent of a failure, in words; an ended session leads to the sign-in page. @param {unknown} error */
  report(error) {
    if (error instanceof ApiError && error.status === 401) return this.#end(true);
    if (!(error instanceof ApiError)) throw error;
    // a conflict's sentence says what is allowed instead, which no translation of the code can
    const text = error.code === "conflict" && error.message ? error.message : errorText(error, this.t);
    this.toast(text, { tone: "danger" });
  }

  /** @param {string} text @param {{href?: string | null, tone?: "info" | "danger", action?: ToastAction | null}} [more] */
  toast(text, { href = null, tone = "info", action = null } = {}) {
    const toast = { id: (this.#toast += 1), text, href, tone, action };
    // one thing at a time can be taken back: the last
    this.toasts = [...this.toasts.filter((other) => other.text !== text && !(action && other.action)), toast].slice(-3);
    setTimeout(() => this.dismiss(toast.id), tone === "danger" ? 10_000 : 7_000);
    this.changed();
  }

  /** @param {number} id */
  dismiss(id) {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
    this.changed();
  }

  // -- inbox ---------------------------------------------------------------------------------------------------------

  /** @param {Partial<Filter>} change */
  setFilter(change) {
    const searched = Boolean(this.filter.q);
    this.filter = { ...this.filter, ...change };
    // a search looks everywhere; ending it returns to the people who wait
    if ("q" in change && Boolean(this.filter.q) !== searched) this.filter.status = this.filter.q ? "" : "open";
    this.inboxState = "loading";
    this.changed();
    void this.loadInbox();
  }

  /** @param {string} team */
  teamName(team) {
    return this.teams.get(team)?.[this.language] || team;
  }

  /** @param {string | null} cursor */
  #question(cursor) {
    const { status, mine, unassigned, unread, language, team, q } = this.filter;
    const ask = new URLSearchParams();
    if (status) ask.set("status", status);
    if (mine) ask.set("assignee", "me");
    else if (unassigned) ask.set("assignee", "none");
    if (unread) ask.set("unread", "1");
    if (language) ask.set("language", language);
    if (team) ask.set("team", team);
    if (q.trim()) ask.set("q", q.trim());
    if (cursor) ask.set("cursor", cursor);
    return `agent/conversations?${ask}`;
  }

  /** Loads the inbox again, as many pages as are shown. */
  async loadInbox() {
    const asked = (this.#asked += 1);
    const q = this.filter.q.trim();
    const wanted = this.inboxState === "ready" ? this.items.length : 1;
    try {
      const search = q ? this.api.get(`agent/search?q=${encodeURIComponent(q)}`).catch(() => []) : Promise.resolve([]);
      let page = await this.api.get(this.#question(null));
      const items = page.items;
      while (page.cursor && items.length < wanted) {
        page = await this.api.get(this.#question(page.cursor));
        items.push(...page.items);
      }
      const found = await search;
      if (asked !== this.#asked || !this.session) return;
      this.items = items;
      this.cursor = page.cursor;
      this.counts = page.counts;
      this.snippets = new Map([...found].reverse().map((hit) => [hit.conversation_id, hit]));
      this.inboxState = "ready";
      await this.#loadWaiting();
    } catch (error) {
      if (asked !== this.#asked) return;
      this.inboxState = "failed";
      this.report(error);
    }
    this.changed();
  }

  async loadMore() {
    if (!this.cursor) return;
    const asked = this.#asked;
    try {
      const page = await this.api.get(this.#question(this.cursor));
      if (asked !== this.#asked) return;
      this.items = [...this.items, ...page.items];
      this.cursor = page.cursor;
      this.changed();
    } catch (error) {
      this.report(error);
    }
  }

  /** Who waits, whatever the filter shows; a newcomer is announced. */
  async #loadWaiting() {
    const { status, mine, unassigned, unread, language, team, q } = this.filter;
    const sees = status === "open" && !mine && !unassigned && !unread && !language && !team && !q;
    const open = sees ? this.items : (await this.api.get("agent/conversations?status=open")).items;
    /** @type {Map<string, Summary>} */
    const waiting = new Map();
    for (const item of open) if (item.waiting_since) waiting.set(item.id, item);
    const newcomers = [...waiting.values()].filter((item) => !this.waiting.has(item.id) && this.#concerns(item));
    this.waiting = waiting;
    this.#title();
    if (this.#knowsWaiting && newcomers.length) this.#announce(newcomers);
    this.#knowsWaiting = true;
  }

  /** @param {Summary} item */
  #concerns(item) {
    const watched = this.thread?.id === item.id && document.visibilityState === "visible";
    return !watched && (!item.assignee || item.assignee.id === this.me.id);
  }

  /** @param {Summary[]} newcomers */
  #announce(newcomers) {
    if (this.sound) chime();
    for (const item of newcomers) this.toast(this.t("new_waiting", { name: this.nameOf(item) }), { href: `#/inbox/${item.id}` });
  }

  #title() {
    const count = this.waiting.size;
    document.title = `${count ? `(${count}) ` : ""}${this.t("console")} · Duomo`;
  }

  /** @param {string | undefined} id */
  #conversationChanged(id) {
    if (this.thread && this.thread.id === id) void this.thread.refresh();
    if (this.#refresh) return; // one reload serves a burst of changes
    this.#refresh = window.setTimeout(() => {
      this.#refresh = 0;
      void this.loadInbox();
    }, 150);
  }

  /** Article ids are paths. @param {string} id */
  articlePath(id) {
    return id.split("/").map(encodeURIComponent).join("/");
  }

  /** @param {Summary} item */
  nameOf(item) {
    return item.contact.name || this.t("customer_n", { id: item.contact.id.slice(-4).toUpperCase() });
  }

  // -- the open conversation -----------------------------------------------------------------------------------------

  /** @param {string | null} id */
  openThread(id) {
    if ((this.thread?.id ?? null) === id) return;
    this.thread?.close();
    this.thread = id && this.session ? new Thread(this, id) : null;
    this.changed();
  }

  /** @param {string} id @param {string} quote what to mark in it @param {string} title shown until the article is here */
  openArticle(id, quote, title) {
    this.article = { id, quote, title };
    this.changed();
  }

  closeArticle() {
    this.article = null;
    this.changed();
  }

  /** The conversation `step` rows further down in the inbox. @param {1 | -1} step */
  neighbour(step) {
    const at = this.items.findIndex((item) => item.id === this.thread?.id);
    if (at < 0) return this.items[0] ?? null;
    return this.items[at + step] ?? null;
  }
}

/** Two soft notes. Browsers stay silent until the agent has pressed something on the page. */
function chime() {
  const context = new AudioContext();
  const end = context.currentTime + 0.9;
  [660, 880].forEach((pitch, index) => {
    const start = context.currentTime + index * 0.16;
    const [tone, volume] = [context.createOscillator(), context.createGain()];
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.08, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.6);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(end);
    if (index === 1) tone.onended = () => void context.close();
  });
}

export const desk = new Desk();

/** An element of the console: in the page's own tree, styled by console.css, drawn anew when the desk changes. */
export class Pane extends LitElement {
  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    desk.addEventListener("change", this.#draw);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    desk.removeEventListener("change", this.#draw);
  }

  #draw = () => this.requestUpdate();
}
