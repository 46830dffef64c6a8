// @ts-check
import { classMap, html, nothing, repeat } from "../vendor/lit.js";
import { formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";

/** @typedef {import("./desk.js").Summary} Summary */

const STATUSES = ["open", "pending", "snoozed", "resolved", ""];
const MEDIA = /** @type {const} */ ({ image: "image", audio: "mic", document: "document" });
const PATIENCE = 2 * 60; // seconds until waiting turns amber, and then red
const TOO_LONG = 10 * 60;

/** "42 s", "7 min", "2 h 5 min". @param {number} seconds @param {"zh" | "en"} language */
export function formatWait(seconds, language) {
  const whole = Math.max(0, Math.floor(seconds));
  const [minutes, hours, days] = [Math.floor(whole / 60), Math.floor(whole / 3600), Math.floor(whole / 86400)];
  const units = language === "zh" ? { s: " 秒", min: " 分钟", h: " 小时", d: " 天" } : { s: " s", min: " min", h: " h", d: " d" };
  if (whole < 60) return `${whole}${units.s}`;
  if (minutes < 60) return `${minutes}${units.min}`;
  if (hours < 24) return minutes % 60 ? `${hours}${units.h} ${minutes % 60}${units.min}` : `${hours}${units.h}`;
  return `${days}${units.d}`;
}

/** How long a customer has waited; ticks by itself, so that nothing else is drawn anew. */
class WaitingTime extends Pane {
  static properties = { since: {} };

  constructor() {
    super();
    this.since = "";
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    this.timer = window.setInterval(() => this.requestUpdate(), 1000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  render() {
    const seconds = (Date.now() - Date.parse(this.since)) / 1000;
    const urgency = seconds >= TOO_LONG ? "late" : seconds >= PATIENCE ? "slow" : "fresh";
    const time = formatWait(seconds, desk.language);
    return html`<span class="wait ${urgency}">${icon("clock", 13)}<span class="visually-hidden">${desk.t("waiting_for", { time })}</span><span aria-hidden="true">${time}</span></span>`;
  }
}
customElements.define("waiting-time", WaitingTime);

/** A soft colour for a name, the same each time. @param {string} text */
export function hueOf(text) {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 6;
  return sum;
}

/** 王小明 -> 王, Anna Müller -> AM. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/);
  if (/\p{Script=Han}/u.test(name)) return [...name.trim()][0];
  return words.slice(0, 2).map((word) => [...word][0]?.toUpperCase() ?? "").join("");
}

/** @param {string} name @param {string} key */
export const avatar = (name, key) => html`<span class="avatar hue-${hueOf(key)}" aria-hidden="true">${initials(name)}</span>`;

/** `text` with the words searched for marked. @param {string} text @param {string} query */
function marked(text, query) {
  const at = text.toLowerCase().indexOf(query.toLowerCase());
  if (at < 0) return text;
  const from = Math.max(0, at - 24);
  return html`${from ? "…" : ""}${text.slice(from, at)}<mark>${text.slice(at, at + query.length)}</mark>${text.slice(at + query.length, at + query.length + 60)}`;
}

class Inbox extends Pane {
  #typed = 0;

  /** @param {Event} event */
  #search = (event) => {
    const q = /** @type {HTMLInputElement} */ (event.target).value;
    clearTimeout(this.#typed);
    this.#typed = window.setTimeout(() => desk.setFilter({ q }), 250);
  };

  #clear = () => {
    const field = /** @type {HTMLInputElement} */ (this.querySelector("input[type=search]"));
    field.value = "";
    desk.setFilter({ q: "" });
    field.focus();
  };

  updated() {
    const current = this.querySelector("a[aria-current]");
    if (current && current.getAttribute("href") !== this.scrolledTo) {
      this.scrolledTo = current.getAttribute("href");
      current.scrollIntoView({ block: "nearest" });
    }
  }
  /** @type {string | null} */
  scrolledTo = null;

  render() {
    const { t } = desk;
    return html`<section class="inbox" aria-label=${t("inbox")}>
      <header class="inbox-head">
        <div class="inbox-title"><h1>${t("inbox")}</h1>${this.#teams()}${this.#languages()}</div>
        <div class="search">${icon("search", 18)}
          <input type="search" id="search" aria-label=${t("search")} placeholder=${t("search")} @input=${this.#search} />
          ${desk.filter.q ? html`<button class="icon-button small" type="button" aria-label=${t("clear_search")} @click=${this.#clear}>${icon("close", 16)}</button>` : nothing}
        </div>
        ${this.#tabs()} ${this.#chips()}
      </header>
      ${this.#list()}
    </section>`;
  }

  #tabs() {
    const { t } = desk;
    return html`<div class="tabs" role="group" aria-label=${t("status_label")}>
      ${STATUSES.map((status) => html`<button type="button" data-status=${status || "all"} aria-pressed=${desk.filter.status === status ? "true" : "false"}
          @click=${() => desk.setFilter({ status })}>${t(`status_${status || "all"}`)}${status && desk.counts[status] ? html`<span class="count">${desk.counts[status]}</span>` : nothing}</button>`)}
    </div>`;
  }

  #chips() {
    const { t, filter, counts } = desk;
    /** @type {["mine" | "unassigned" | "unread", Partial<import("./desk.js").Filter>][]} */
    const chips = [
      ["mine", { mine: !filter.mine, unassigned: false }],
      ["unassigned", { unassigned: !filter.unassigned, mine: false }],
      ["unread", { unread: !filter.unread }],
    ];
    return html`<div class="chips">
      ${chips.map(([name, change]) => html`<button type="button" class="chip" data-filter=${name} aria-pressed=${filter[name] ? "true" : "false"} @click=${() => desk.setFilter(change)}>
          ${t(name)}${counts[name] ? html`<span class="count">${counts[name]}</span>` : nothing}</button>`)}
    </div>`;
  }

  #teams() {
    const { t, filter, teams } = desk;
    if (!teams.size) return nothing;
    return html`<select aria-label=${t("filter_team")} @change=${(/** @type {Event} */ event) => desk.setFilter({ team: /** @type {HTMLSelectElement} */ (event.target).value })}>
      <option value="" ?selected=${!filter.team}>${t("any_team")}</option>
      ${[...teams.keys()].map((team) => html`<option value=${team} ?selected=${filter.team === team}>${desk.teamName(team)}</option>`)}
    </select>`;
  }

  #languages() {
    const { t, filter } = desk;
    return html`<select aria-label=${t("filter_language")} @change=${(/** @type {Event} */ event) => desk.setFilter({ language: /** @type {HTMLSelectElement} */ (event.target).value })}>
      ${["", "zh", "en"].map((code) => html`<option value=${code} ?selected=${filter.language === code}>${code ? t(`language_${code}`) : t("any_language")}</option>`)}
    </select>`;
  }

  #list() {
    const { t, items, inboxState } = desk;
    if (inboxState === "failed") {
      return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => desk.loadInbox()}>${icon("retry", 18)}${t("retry")}</button></div>`;
    }
    if (!items.length && inboxState === "loading") return html`<ul class="rows" aria-busy="true">${Array.from({ length: 6 }, () => html`<li class="row-skeleton"></li>`)}</ul>`;
    if (!items.length) {
      const searching = Boolean(desk.filter.q);
      return html`<div class="empty">${icon(searching ? "search" : "inbox", 32)}
        <p><strong>${t(searching ? "no_match" : "no_conversations")}</strong></p><p>${t(searching ? "no_match_hint" : "no_conversations_hint")}</p></div>`;
    }
    return html`<ul class="rows" tabindex="-1">
      ${repeat(items, (item) => item.id, (item) => html`<li>${this.#row(item)}</li>`)}
      ${desk.cursor ? html`<li class="rows-more"><button class="button quiet wide" type="button" @click=${() => desk.loadMore()}>${t("more")}</button></li>` : nothing}
    </ul>`;
  }

  /** @param {Summary} item */
  #row(item) {
    const { t } = desk;
    const name = desk.nameOf(item);
    const current = desk.thread?.id === item.id;
    const last = item.last_message;
    const found = desk.filter.q ? desk.snippets.get(item.id) : undefined;
    return html`<a class=${classMap({ row: true, unread: item.unread > 0 })} href="#/inbox/${item.id}" data-id=${item.id} aria-current=${current ? "true" : nothing}>
      ${avatar(name, item.contact.id)}
      <span class="row-main">
        <span class="row-line"><strong class="name">${name}</strong>
          ${item.waiting_since ? html`<waiting-time .since=${item.waiting_since}></waiting-time>` : html`<time class="muted" datetime=${item.updated_at}>${formatTime(last?.created_at ?? item.updated_at, desk.language)}</time>`}
        </span>
        <span class="row-line"><span class="snippet">${found ? marked(found.snippet, desk.filter.q.trim()) : this.#snippet(item)}</span>
          ${item.assignee ? html`<span class="owner">${item.assignee.id === desk.me?.id ? t("you") : item.assignee.name}</span>` : nothing}
          ${item.unread ? html`<span class="badge"><span aria-hidden="true">${item.unread > 99 ? "99+" : item.unread}</span><span class="visually-hidden">${t("unread_count", { n: item.unread })}</span></span>` : nothing}
        </span>
        ${this.#marks(item)}
      </span>
    </a>`;
  }

  /** @param {Summary} item */
  #snippet(item) {
    const { t } = desk;
    const last = item.last_message;
    if (!last) return t("no_text");
    const media = item.media.map((kind) => t(`has_${kind}`)).join(desk.language === "zh" ? "、" : ", ");
    const who = last.kind === "note" ? t("note") : last.author === "bot" ? t("bot") : last.author === "agent" ? t("agent") : "";
    return html`${who ? html`<span class="who">${who}</span>` : nothing}${last.text || `[${media || t("document")}]`}`;
  }

  /** Small facts under the row: status where the list mixes them, media, rating. @param {Summary} item */
  #marks(item) {
    const { t } = desk;
    const mixed = !desk.filter.status;
    const urgent = item.status !== "resolved" && ["high", "urgent"].includes(item.priority);
    const team = item.status === "open" || item.status === "snoozed" ? item.team : null;
    if (!mixed && !urgent && !team && !item.media.length && !item.snoozed_until && !item.csat) return nothing;
    return html`<span class="row-marks">
      ${urgent ? html`<span class="priority ${item.priority}">${icon("alert", 13)}${t(`priority_${item.priority}`)}</span>` : nothing}
      ${team ? html`<span class="team">${desk.teamName(team)}</span>` : nothing}
      ${mixed ? html`<span class="status ${item.status}">${t(`status_${item.status}`)}</span>` : nothing}
      ${item.snoozed_until ? html`<span class="muted">${icon("pause_clock", 13)}${t("snoozed_until", { time: formatTime(item.snoozed_until, desk.language) })}</span>` : nothing}
      ${item.media.map((kind) => html`<span class="medium" role="img" aria-label=${t(`has_${kind}`)} title=${t(`has_${kind}`)}>${icon(MEDIA[/** @type {keyof typeof MEDIA} */ (kind)] ?? "document", 14)}</span>`)}
      ${item.csat ? html`<span class="medium" role="img" aria-label="${t("csat")}: ${t("csat_score", { n: item.csat.score })}">${icon("star", 13)}${item.csat.score}</span>` : nothing}
    </span>`;
  }
}
customElements.define("console-inbox", Inbox);
