// @ts-check
/** The middle of the desk: one conversation, from its brief to the composer. */
import { classMap, html, nothing, repeat } from "../vendor/lit.js";
import { errorText, formatTime, localeOf } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { chipCitations, renderMarkdown } from "../shared/markdown.js";
import "./correct.js";
import { desk, Pane } from "./desk.js";
import { draftFrom } from "./drafts.js";
import { reasonText } from "./evidence.js";
import { avatar } from "./inbox.js";
import { closeMenu, menu } from "./modal.js";

/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {import("../shared/protocol").Part} Part */
/** @typedef {import("./thread.js").Outgoing} Outgoing */
/** @typedef {import("./thread.js").StatusChange} StatusChange */

/** @param {string} iso @returns {string} the day, for the lines between days */
function dayOf(iso) {
  const date = new Date(iso);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(iso).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return desk.t("today");
  if (days === 1) return desk.t("yesterday");
  return date.toLocaleDateString(localeOf(desk.language), { weekday: "long", month: "long", day: "numeric" });
}

/** @param {string} iso */
const clockOf = (iso) => new Date(iso).toLocaleTimeString(localeOf(desk.language), { hour: "2-digit", minute: "2-digit", hour12: false });

/** An answer's Markdown, made safe, its [1] turned into buttons that open the source. */
class AnswerText extends Pane {
  static properties = { message: { attribute: false } };

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
    this.shown = "";
  }

  async updated() {
    const { message } = this;
    if (!message || this.shown === message.text) return;
    this.shown = message.text;
    const root = await renderMarkdown(message.text, { origin: location.origin });
    if (this.shown !== message.text) return;
    chipCitations(root, message.citations, (citation) => `${citation.n}: ${desk.t("open_source", { title: citation.title })}`);
    root.addEventListener("click", (event) => {
      const n = Number(/** @type {HTMLElement} */ (event.target).closest?.(".cite")?.getAttribute("data-n"));
      const citation = message.citations.find((one) => one.n === n);
      if (citation) desk.openArticle(citation.article_id, citation.quote, citation.title);
    });
    this.querySelector(".answer")?.replaceChildren(root);
  }

  render() {
    return html`<div class="answer"></div>`;
  }
}
customElements.define("answer-text", AnswerText);

class Conversation extends Pane {
  static properties = { why: { state: true }, briefHidden: { state: true }, dropping: { state: true } };

  constructor() {
    super();
    /** Messages whose reasons are open. @type {Set<string>} */
    this.why = new Set();
    /** null: hidden once an agent has answered. @type {boolean | null} */
    this.briefHidden = null;
    this.dropping = false;
    this.follows = true; // the view stays at the newest message
    this.shownThread = "";
  }

  willUpdate() {
    const id = desk.thread?.id ?? "";
    if (id !== this.shownThread) {
      this.shownThread = id;
      this.why = new Set();
      this.follows = true;
      this.lastTop = 0;
      this.briefHidden = null;
    }
  }

  firstUpdated() {
    const grown = new ResizeObserver(() => this.#follow());
    const watch = () => {
      const inner = this.querySelector(".timeline-inner");
      if (inner && inner !== this.watched) grown.observe((this.watched = inner));
    };
    this.watch = watch;
    watch();
  }
  /** @type {Element | null} */
  watched = null;
  watch = () => {};

  updated() {
    this.watch();
    this.#follow();
  }

  #follow() {
    const timeline = this.querySelector(".timeline");
    if (this.follows && timeline) timeline.scrollTop = timeline.scrollHeight;
  }

  /** @param {Event} event */
  #scrolled = (event) => {
    const timeline = /** @type {HTMLElement} */ (event.target);
    const atEnd = timeline.scrollHeight - timeline.scrollTop - timeline.clientHeight < 60;
    // only a reader scrolls up; a picture that arrives makes the end move away without that
    if (atEnd) this.follows = true;
    else if (timeline.scrollTop < this.lastTop - 2) this.follows = false;
    this.lastTop = timeline.scrollTop;
  };
  lastTop = 0;

  get composer() {
    return /** @type {any} */ (this.querySelector("console-composer"));
  }

  /** @param {DragEvent} event */
  #drag = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.dropping = event.type === "dragover";
    if (event.type === "drop") this.composer?.addFiles(event.dataTransfer.files);
  };

  render() {
    const { t, thread } = desk;
    if (!thread) return html`<section class="conversation none"><div class="empty">${icon("chat", 40)}<p><strong>${t("pick")}</strong></p><p>${t("pick_hint")}</p></div></section>`;
    if (thread.state === "gone" || (thread.state === "failed" && !thread.summary)) {
      return html`<section class="conversation none"><div class="empty">${icon("alert", 32)}<p><strong>${t(thread.state === "gone" ? "error.not_found" : "failed")}</strong></p>
        <p><a class="button" href="#/inbox">${icon("back", 18)}${t("inbox")}</a> ${thread.state === "failed" ? html`<button class="button" type="button" @click=${() => thread.refresh()}>${t("retry")}</button>` : nothing}</p></div></section>`;
    }
    return html`<section class=${classMap({ conversation: true, dropping: this.dropping })} aria-label=${t("inbox")} @dragover=${this.#drag} @dragleave=${this.#drag} @drop=${this.#drag}>
      ${this.#head()} ${this.#brief()}
      <div class="timeline" tabindex="0" role="log" aria-label=${thread.summary ? desk.nameOf(thread.summary) : t("loading")} aria-live="polite" @scroll=${this.#scrolled}>
        <div class="timeline-inner">
          ${this.#entries()} ${this.#streaming()}
          ${thread.outbox.map((outgoing) => this.#outgoing(outgoing))} ${this.#working()}
        </div>
      </div>
      <p class="presence-line" aria-live="polite">${this.#presence(true)}</p>
      <console-composer></console-composer>
      ${this.dropping ? html`<div class="drop-hint">${icon("upload", 32)}${t("drop_files")}</div>` : nothing}
      <conflict-dialog></conflict-dialog>
    </section>`;
  }

  // -- head ----------------------------------------------------------------------------------------------------------

  #head() {
    const { t, thread } = desk;
    const summary = thread?.summary;
    if (!thread || !summary) return html`<header class="conversation-head"><a class="icon-button only-narrow" href="#/inbox" aria-label=${t("back")}>${icon("back")}</a></header>`;
    const name = desk.nameOf(summary);
    return html`<header class="conversation-head">
      <a class="icon-button only-narrow" href="#/inbox" aria-label=${t("back")} title=${t("back")}>${icon("back")}</a>
      <div class="who">
        <h2>${name}</h2>
        <p><span class="status ${summary.status}">${t(`status_${summary.status}`)}</span>
          ${summary.waiting_since ? html`<waiting-time .since=${summary.waiting_since}></waiting-time>` : nothing}
          ${summary.snoozed_until ? html`<span class="muted">${t("snoozed_until", { time: formatTime(summary.snoozed_until, desk.language) })}</span>` : nothing}
          <span class="presence">${this.#presence(false)}</span></p>
      </div>
      <div class="actions">${this.#actions()}
        <a class="icon-button not-wide" href="#/inbox/${thread.id}/details" aria-label=${t("details")} title=${t("details")}>${icon("info")}</a>
      </div>
    </header>`;
  }

  /** Who else is here. @param {boolean} typing whether to name those who type, or those who only look */
  #presence(typing) {
    const { t, thread } = desk;
    const others = thread?.others ?? [];
    const shown = typing ? others.filter((agent) => agent.typing) : others;
    if (!shown.length) return nothing;
    const names = shown.map((agent) => agent.name).join(desk.language === "zh" ? "、" : ", ");
    const key = `${typing ? "typing" : "viewing"}${shown.length > 1 ? "_many" : ""}`;
    return html`${icon(typing ? "edit" : "people", 14)}${t(key, { names })}`;
  }

  #actions() {
    const { t, thread } = desk;
    if (!thread?.summary) return nothing;
    const { summary } = thread;
    /** @param {string} action */
    const may = (action) => thread.allowed.includes(action);
    const mine = summary.assignee?.id === desk.me.id;
    /** @param {string} action @param {import("../shared/icons.js").IconName} sign @param {string} [tone] */
    const button = (action, sign, tone = "") => html`<button class="button ${tone}" type="button" data-action=${action} title=${t(action)} @click=${() => thread.act(action)}>${icon(sign, 18)}<span class="label">${t(action)}</span></button>`;
    return html`
      ${may("take_over") && !(mine && summary.status === "open") ? button("take_over", "person", "primary") : nothing}
      ${may("reopen") ? button("reopen", "retry", summary.status === "resolved" ? "primary" : "") : nothing}
      ${may("return_to_bot") ? button("return_to_bot", "spark") : nothing}
      ${may("assign") ? this.#assign() : nothing} ${may("snooze") ? html`<snooze-menu></snooze-menu>` : nothing}
      ${may("resolve") ? button("resolve", "check") : nothing}`;
  }

  #assign() {
    const { t, thread } = desk;
    const now = thread?.summary?.assignee?.id;
    /** @param {Event} event @param {string | null} id */
    const assign = (event, id) => {
      closeMenu(/** @type {Element} */ (event.currentTarget));
      void thread?.act("assign", { assignee_id: id });
    };
    const agents = [...desk.agents].sort((a, b) => Number(b.id === desk.me.id) - Number(a.id === desk.me.id) || Number(b.online) - Number(a.online));
    return menu({ label: t("assign"), cls: "button", face: html`${icon("people", 18)}<span class="label">${t("assign")}</span>` }, html`
      <p class="menu-title">${t("assign_to")}</p>
      ${agents.map((agent) => html`<button type="button" aria-pressed=${agent.id === now ? "true" : "false"} @click=${(/** @type {Event} */ event) => assign(event, agent.id)}>
        ${avatar(agent.name, agent.id)}<span>${agent.id === desk.me.id ? t("assign_me") : agent.name}</span>${agent.online ? html`<span class="muted online">${t("online")}</span>` : nothing}</button>`)}
      <button type="button" @click=${(/** @type {Event} */ event) => assign(event, null)}>${t("unassign")}</button>`);
  }

  // -- brief ---------------------------------------------------------------------------------------------------------

  #brief() {
    const { t, thread } = desk;
    const brief = thread?.brief;
    if (!thread || !brief || ["pending", "resolved"].includes(thread.summary?.status ?? "")) return nothing;
    const answered = [...thread.messages.values()].some((message) => message.author === "agent" && !message.private);
    const hidden = this.briefHidden ?? answered;
    /** @type {[string, import("../shared/icons.js").IconName, unknown[]][]} */
    const rows = [
      ["asked", "chat", brief.asked ?? []],
      ["seen", "image", brief.seen ?? []],
      ["heard", "mic", brief.heard ?? []],
      ["tried", "spark", (brief.tried ?? []).map((one) => html`${one.text}${one.titles?.length ? html` <span class="muted">${one.titles.join(" · ")}</span>` : nothing}`)],
      ["missing", "alert", brief.missing ?? []],
    ];
    return html`<section class="brief" aria-label=${t("brief")}>
      <header><h3>${icon("note", 17)}${t("brief")}</h3>
        <button class="link" type="button" aria-expanded=${hidden ? "false" : "true"} @click=${() => (this.briefHidden = !hidden)}>${t(hidden ? "brief_show" : "brief_hide")}</button></header>
      ${brief.reason ? html`<p class="brief-reason"><strong>${t("brief_reason")}</strong>${reasonText(brief.reason)}${brief.reason === "policy" ? html` <span class="muted">${this.#ruleName()}</span>` : nothing}</p>` : nothing}
      ${hidden ? nothing : html`<div class="brief-body" tabindex="0" role="group" aria-label=${t("brief")}><dl>${rows.filter(([, , items]) => items.length).map(([name, sign, items]) => html`<dt class=${name}>${icon(sign, 15)}${t(`brief_${name}`)}</dt>
        <dd>${items.length === 1 ? items[0] : html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`}</dd>`)}</dl></div>`}
    </section>`;
  }

  /** The name of the policy's row that handed over last. */
  #ruleName() {
    const rows = [...(desk.thread?.messages.values() ?? [])].map((message) => /** @type {any} */ (message.decision)?.policy).filter((row) => row?.do === "hand_over");
    return rows.at(-1)?.name ?? "";
  }

  // -- timeline ------------------------------------------------------------------------------------------------------

  #entries() {
    const { thread } = desk;
    if (!thread) return nothing;
    let day = "";
    let author = "";
    return repeat(thread.entries, (entry) => (entry.type === "message" ? entry.message.id : `s${entry.seq}`), (entry) => {
      if (entry.type === "status") {
        author = "";
        return this.#change(entry);
      }
      const today = dayOf(entry.message.created_at);
      const line = today === day ? nothing : html`<p class="day"><span>${today}</span></p>`;
      const whose = `${entry.message.author}${entry.message.agent?.id ?? ""}${entry.message.private}`;
      const follows = whose === author && line === nothing;
      day = today;
      author = whose;
      return html`${line}${this.#message(entry.message, follows)}`;
    });
  }

  /** What happened, as one quiet line. @param {StatusChange} change */
  #change(change) {
    const { t } = desk;
    const who = change.by === "agent" ? (change.assignee?.name ?? change.previous?.name ?? t("somebody")) : t("somebody");
    const time = change.snoozed_until ? formatTime(change.snoozed_until, desk.language) : "";
    const reason = change.reason && change.by !== "agent" && change.status === "open" ? reasonText(change.reason) : "";
    let text;
    if (change.before === change.status) {
      if (change.assignee?.id === change.previous?.id) return nothing;
      text = change.assignee ? t("event_assigned", { name: change.assignee.name }) : t("event_unassigned");
    } else if (change.status === "open") {
      if (["snoozed", "resolved"].includes(change.before)) text = change.by === "agent" ? t("event_reopened", { who }) : t(change.by === "customer" ? "event_woken_customer" : "event_woken");
      else text = change.by === "agent" ? t("event_open_agent", { who }) : t(change.by === "customer" ? "event_open_customer" : "event_open_bot");
    } else if (change.status === "pending") {
      text = change.by === "agent" ? t("event_pending", { who: change.previous?.name ?? who }) : t(change.by === "customer" ? "event_pending_customer" : "event_pending_plain");
    } else if (change.status === "snoozed") text = t("event_snoozed", { who, time });
    else text = change.by === "agent" ? t("event_resolved", { who }) : t("event_resolved_plain");
    return html`<p class="event"><span>${text}</span>${reason && change.before !== change.status ? html`<span class="muted">${reason}</span>` : nothing}</p>`;
  }

  /** @param {Message} message */
  #authorName(message) {
    const { t, thread } = desk;
    if (message.author === "customer") return thread?.summary ? desk.nameOf(thread.summary) : t("customer");
    if (message.author === "bot") return t("bot");
    if (message.author === "agent") return message.agent?.id === desk.me?.id ? t("you") : (message.agent?.name ?? t("agent"));
    return t("system_author");
  }

  /** @param {Message} message @param {boolean} follows whether the same person spoke just before */
  #message(message, follows) {
    const { t } = desk;
    if (message.author === "system") {
      return html`<p class="event notice"><span>${message.kind === "csat" ? icon("star", 14) : icon("info", 14)}${message.text}</span><span class="muted">${clockOf(message.created_at)}</span></p>`;
    }
    const bot = message.author === "bot";
    const side = message.author === "customer" ? "theirs" : "ours";
    const reply = message.author === "agent" && !message.private && Boolean(message.text);
    const reasons = bot && Object.keys(message.decision ?? {}).length > 0;
    const open = this.why.has(message.id);
    const kinds = ["clarify", "holding", "handoff"];
    return html`<article class=${classMap({ message: true, [side]: true, bot, note: message.private, follows })} data-id=${message.id} data-author=${message.author}>
      <header>${icon(message.private ? "lock" : bot ? "spark" : "person", 14)}<strong>${this.#authorName(message)}</strong>
        ${message.private ? html`<span class="tag note-tag">${t("private_note")}</span>` : nothing}
        ${bot && kinds.includes(message.kind) ? html`<span class="tag">${t(`kind_${message.kind}`)}</span>` : message.ai ? html`<span class="tag">${t("ai_answer")}</span>` : nothing}
        <time datetime=${message.created_at} title=${new Date(message.created_at).toLocaleString(localeOf(desk.language))}>${clockOf(message.created_at)}</time>
      </header>
      ${message.text ? html`<div class="bubble" lang=${message.language === "zh" ? "zh-CN" : message.language === "en" ? "en" : nothing}>${bot ? html`<answer-text .message=${message}></answer-text>` : html`<p class="plain">${message.text}</p>`}</div>` : nothing}
      ${message.parts.map((part) => this.#part(part))}
      ${message.options?.length ? html`<ul class="options" aria-label=${t("options_offered")}>${message.options.map((option) => html`<li>${option}</li>`)}</ul>` : nothing}
      ${message.citations?.length ? html`<ul class="sources" aria-label=${t("sources")}>${message.citations.map((citation) => html`<li><button type="button" class="source" @click=${() => desk.openArticle(citation.article_id, citation.quote, citation.title)} title=${t("open_source", { title: citation.title })}>
        <span class="source-n">${citation.n}</span><span class="source-title">${citation.title}</span><span class="number">${Number(citation.score).toFixed(2)}</span></button></li>`)}</ul>` : nothing}
      ${reasons || message.feedback || reply ? html`<footer>
        ${reply ? html`<button class="correct-button" type="button" data-correct="article" @click=${() => draftFrom(message)}>${icon("book", 14)}${t("make_article")}</button>` : nothing}
        ${reasons ? html`<button class="link why-button" type="button" aria-expanded=${open ? "true" : "false"} @click=${() => this.#toggleWhy(message.id)}>${t("why")}</button>` : nothing}
        ${message.feedback ? html`<span class="feedback ${message.feedback}" role="img" aria-label=${t(`thumbs_${message.feedback}`)} title=${t(`thumbs_${message.feedback}`)}>${icon(message.feedback, 16)}</span>` : nothing}
      </footer>` : nothing}
      ${open ? html`<why-view .message=${message}></why-view>` : nothing}
      ${message.author === "customer" ? html`<turn-labels .message=${message}></turn-labels>` : nothing}
      ${bot ? html`<answer-labels .message=${message} @better-answer=${(/** @type {CustomEvent} */ event) => this.composer?.improve(event.detail)}></answer-labels>` : nothing}
    </article>`;
  }

  /** @param {string} id */
  #toggleWhy(id) {
    this.follows = false;
    const why = new Set(this.why);
    if (!why.delete(id)) why.add(id);
    this.why = why;
  }

  /** @param {Part} part */
  #part(part) {
    const { t } = desk;
    return html`<div class="part ${part.kind}">
      ${part.state === "refused" ? html`<p class="media-note refused">${icon("alert", 18)}<span>${part.name || t(part.kind === "image" ? "picture" : part.kind === "audio" ? "voice" : "document")}: ${t("refused")}${part.error?.message ? html`<span class="muted">${part.error.message}</span>` : nothing}</span></p>` : nothing}
      ${part.state === "received" && !part.url ? html`<p class="media-note busy">${icon("clock", 18)}${part.name} ${t(part.kind === "audio" ? "processing_audio" : "processing")}</p>` : nothing}
      ${part.url && part.kind === "image" ? html`<picture-view .file=${part}></picture-view>` : nothing}
      ${part.url && part.kind === "audio" ? html`<sound-view .file=${part}></sound-view>` : nothing}
      ${part.url && part.kind === "document" ? html`<a class="file" href=${part.url} target="_blank" rel="noopener">${icon("document", 22)}<span>${part.name || t("document")}</span>${icon("external", 15)}<span class="visually-hidden">${t("open_file")}</span></a>` : nothing}
      ${part.artifacts.length ? html`<div class="artifacts">${repeat(part.artifacts, (artifact) => artifact.id, (artifact) => html`<artifact-view .artifact=${artifact}></artifact-view>`)}</div>` : nothing}
    </div>`;
  }

  #streaming() {
    const { t, thread } = desk;
    return [...(thread?.deltas ?? [])].map(([id, text]) => html`<article class="message ours bot" data-id=${id} aria-busy="true">
      <header>${icon("spark", 14)}<strong>${t("bot")}</strong></header><div class="bubble"><p class="plain">${text}<span class="caret"></span></p></div></article>`);
  }

  #working() {
    const { t, thread } = desk;
    if (!thread || thread.turn.state === "done" || thread.deltas.size || thread.summary?.status !== "pending") return nothing;
    const what = (thread.turn.waiting_for ?? []).map((kind) => t(`has_${kind}`)).join(desk.language === "zh" ? "、" : ", ");
    return html`<p class="event working">${icon("spark", 14)}${what ? t("bot_waiting", { what }) : t("bot_working")}</p>`;
  }

  /** @param {Outgoing} outgoing */
  #outgoing(outgoing) {
    const { t, thread } = desk;
    const failed = outgoing.state === "failed";
    return html`<article class=${classMap({ message: true, ours: true, note: outgoing.private, pending: true, failed })} data-state=${outgoing.state}>
      <header>${icon(outgoing.private ? "lock" : "person", 14)}<strong>${t("you")}</strong></header>
      ${outgoing.text ? html`<div class="bubble"><p class="plain">${outgoing.text}</p></div>` : nothing}
      ${outgoing.files.map((file) => html`<p class="media-note">${icon("attach", 16)}${file.name}</p>`)}
      <footer>${failed ? html`<span class="field-error">${icon("alert", 15)}${t("not_sent")}: ${outgoing.error ? errorText(outgoing.error, t) : ""}</span>
          <button class="button small" type="button" @click=${() => thread?.put(outgoing)}>${t("retry")}</button>
          <button class="button small quiet" type="button" @click=${() => thread?.discard(outgoing)}>${t("discard")}</button>`
        : html`<span class="muted">${t("sending")}</span>`}</footer>
    </article>`;
  }
}
customElements.define("console-conversation", Conversation);

/** Until when to sleep: soon, tomorrow morning, or a time of one's own. */
class SnoozeMenu extends Pane {
  static properties = { wrong: { state: true } };

  constructor() {
    super();
    this.wrong = false;
  }

  /** @param {Date} until @param {Element} inside */
  #snooze(until, inside) {
    this.wrong = !(until.getTime() > Date.now());
    if (this.wrong) return;
    closeMenu(inside);
    void desk.thread?.act("snooze", { until: until.toISOString() });
  }

  /** @param {SubmitEvent} event */
  #custom = (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    this.#snooze(new Date(String(new FormData(form).get("until"))), form);
  };

  render() {
    const { t } = desk;
    const tomorrow = new Date();
    tomorrow.setDate(tomorrow.getDate() + 1);
    tomorrow.setHours(9, 0, 0, 0);
    /** @param {Event} event */
    const target = (event) => /** @type {Element} */ (event.currentTarget);
    return menu({ label: t("snooze"), cls: "button", face: html`${icon("pause_clock", 18)}<span class="label">${t("snooze")}</span>` }, html`
      <button type="button" @click=${(/** @type {Event} */ event) => this.#snooze(new Date(Date.now() + 3_600_000), target(event))}>${t("snooze_hour")}</button>
      <button type="button" @click=${(/** @type {Event} */ event) => this.#snooze(tomorrow, target(event))}>${t("snooze_tomorrow")}</button>
      <form @submit=${this.#custom}><label>${t("snooze_custom")}<input type="datetime-local" name="until" required aria-invalid=${this.wrong ? "true" : "false"} /></label>
        ${this.wrong ? html`<p class="field-error" role="alert">${t("past_time")}</p>` : nothing}
        <button class="button primary wide" type="submit">${t("snooze_set")}</button></form>`);
  }
}
customElements.define("snooze-menu", SnoozeMenu);
