// @ts-check
/** Labelling what teaches the model most, without a mouse; and how far people agree. */
import { html, nothing, repeat, styleMap } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, kept, Pane } from "./desk.js";
import { percent } from "./label_choice.js";
import { labels } from "./labels.js";
import { modal } from "./modal.js";
import "./proposals.js";

/** @typedef {import("../shared/protocol").Part} Part */
/** @typedef {import("./labels.js").Head} Head */
/** @typedef {import("./labels.js").Origin} Origin */
/**
 * @typedef {object} Item a turn to look at, docs/protocol.md
 * @property {string} message_id
 * @property {string} conversation_id
 * @property {"value" | "recheck" | "second"} why
 * @property {number | null} value
 * @property {number | null} entropy share of the most there can be, [0, 1]
 * @property {number | null} disagreement between modalities, [0, 1]
 * @property {number | null} frequency share of the most common, [0, 1]
 * @property {string} text
 * @property {"zh" | "en" | null} language
 * @property {Part[]} parts
 * @property {string | null} pattern
 * @property {Record<string, Head>} heads
 * @property {{given: string, suggested: string, confidence: number} | null} suspect
 * @property {string} created_at
 */
/** @typedef {{unlabelled: number, labelled: number, rechecks: number, seconds: number}} Counts */

const TABS = /** @type {const} */ (["label", "agreement", "proposals", "drafts"]);
const BATCH = 20;
const MOST = 100; // items the server gives at once
const FEW = 6; // left in the queue when more are asked for
const ORIGINS = /** @type {const} */ ({ value: "review", recheck: "recheck", second: "second" });
const OFTEN = 0.6; // shares from which a reason is worth a word
const APART = 0.25;

/** @returns {string} the day here, 2026-11-24 */
const today = () => new Date().toLocaleDateString("sv");

/** The turns that wait; it outlives the page that shows it. */
class Queue {
  head = "intent";
  /** @type {Item[]} */
  items = [];
  /** @type {Counts | null} */
  counts = null;
  /** @type {"none" | "loading" | "ready" | "failed"} */
  state = "none";
  /** What was done here, to take back. @type {{item: Item, name: string | null}[]} */
  history = [];
  /** @type {Set<string>} ids of messages labelled or skipped here */
  past = new Set();
  dry = false;
  #asked = 0;

  get current() {
    return this.items[0] ?? null;
  }

  /** How many were put off here. */
  get skipped() {
    return this.history.filter((one) => one.name === null).length;
  }

  /** @param {string} head */
  begin(head) {
    this.head = head;
    this.items = [];
    this.history = [];
    this.past = new Set();
    this.counts = null;
    this.dry = false;
    this.state = "none";
    void this.fill();
  }

  /** Asks for more before the last one is reached. */
  async fill() {
    if (this.state === "loading" || this.dry || this.items.length >= FEW) return;
    const asked = (this.#asked += 1);
    this.state = "loading";
    desk.changed();
    try {
      const limit = Math.min(MOST, BATCH + this.items.length + this.past.size);
      const answer = await desk.api.get(`agent/review?limit=${limit}&head=${encodeURIComponent(this.head)}`);
      if (asked !== this.#asked) return;
      const waiting = new Set(labels.outbox.filter((one) => one.head === this.head).map((one) => one.message_id));
      const here = new Set(this.items.map((item) => item.message_id));
      const fresh = answer.items.filter((/** @type {Item} */ item) => !waiting.has(item.message_id) && !this.past.has(item.message_id) && !here.has(item.message_id));
      this.items = [...this.items, ...fresh];
      this.counts = { ...answer.counts, unlabelled: Math.max(0, answer.counts.unlabelled - waiting.size) };
      this.dry = !fresh.length;
      this.state = "ready";
    } catch (error) {
      if (asked !== this.#asked) return;
      this.state = "failed";
      if (!(error instanceof ApiError && error.code === "network" && this.items.length)) desk.report(error);
    }
    this.#warm();
    desk.changed();
  }

  /** Fetches the next pictures, so that they are there when their turn comes. */
  #warm() {
    for (const item of this.items.slice(1, 4)) {
      for (const part of item.parts) if (part.kind === "image" && part.url) new Image().src = part.url;
    }
  }

  /** @param {string | null} name null: skipped */
  settle(name) {
    const item = this.items.shift();
    if (!item) return;
    if (name !== null) {
      this.#say(item, name, ORIGINS[item.why]);
      labelledToday(1);
      this.#count(-1);
    }
    this.history.push({ item, name });
    this.past.add(item.message_id);
    if (this.state === "failed") this.state = "ready";
    void this.fill();
    this.#warm();
    desk.changed();
  }

  undo() {
    const last = this.history.pop();
    if (!last) return false;
    this.items = [last.item, ...this.items];
    this.past.delete(last.item.message_id);
    if (last.name !== null) {
      const { suspect, why } = last.item;
      if (suspect) this.#say(last.item, suspect.given, "review"); // no recheck: it is asked about again
      else this.#say(last.item, null, ORIGINS[why]);
      labelledToday(-1);
      this.#count(1);
    }
    desk.changed();
    return true;
  }

  /** @param {Item} item @param {string | null} value @param {Origin} origin */
  #say(item, value, origin) {
    labels.say(item.conversation_id, { message_id: item.message_id, kind: "head", head: this.head, value, origin });
  }

  /** @param {1 | -1} step */
  #count(step) {
    if (this.counts) this.counts = { ...this.counts, unlabelled: Math.max(0, this.counts.unlabelled + step), labelled: this.counts.labelled - step };
  }
}

const queue = new Queue();

labels.addEventListener("settled", (event) => {
  const { outgoing, view } = /** @type {CustomEvent} */ (event).detail;
  if (outgoing.origin === "review" && outgoing.value !== null && view?.origin === "second") desk.toast(desk.t("review_became_second"));
});

/** How many this agent labelled here today; counted on. @param {number} [more] @returns {number} */
function labelledToday(more = 0) {
  const key = `labelled.${desk.me.id}`;
  const [day, n] = kept.get(key).split(" ");
  const count = Math.max(0, (day === today() ? Number(n) : 0) + more);
  if (more) kept.set(key, `${today()} ${count}`);
  return count;
}

/** One turn at a time. */
class ReviewQueue extends Pane {
  static properties = { helps: { state: true } };

  constructor() {
    super();
    this.helps = false;
    this.shown = "";
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener("keydown", this.#key, true); // before the console's own keys
    void this.#begin();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener("keydown", this.#key, true);
  }

  async #begin() {
    await labels.load();
    if (queue.state === "none" || queue.dry) queue.begin(this.#heads.includes(queue.head) ? queue.head : (this.#heads[0] ?? "intent"));
  }

  get #heads() {
    return labels.sets.filter((set) => set.type === "class").map((set) => set.head);
  }

  get #choice() {
    return /** @type {any} */ (this.querySelector("label-choice"));
  }

  /** What the list begins with: of a recheck the two labels in question. @param {Item} item */
  #options(item) {
    const said = item.heads?.[queue.head];
    const options = labels.ordered(queue.head, said, item.suspect ? [item.suspect.given, item.suspect.suggested] : []);
    // a second look is the labeller's own: nothing suggests which label is expected
    return item.why !== "value" ? options.map((option) => ({ ...option, share: null })) : options;
  }

  // -- keys ----------------------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.key === "Process") return;
    const stage = document.querySelector("picture-stage");
    if (stage && event.key === "z") {
      stage.dispatchEvent(new Event("done"));
    } else {
      if (!desk.shortcuts || document.querySelector("dialog[open], :popover-open")) return;
      const target = /** @type {HTMLElement} */ (event.composedPath()[0]);
      if (target.matches?.("input, textarea, select")) return;
      if (target.matches?.("button, a, summary") && [" ", "Enter"].includes(event.key)) return;
      if (!this.#act(event.key)) return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  /** @param {string} key @returns {boolean} whether it meant something here */
  #act(key) {
    if (key === "?") this.helps = true;
    else if (key === "u") this.#undo();
    else if (key === "Enter" && this.querySelector(".review-done")) queue.begin(queue.head);
    else if (!queue.current || !this.#choice) return false;
    else if (/^[1-9]$/.test(key)) this.#choice.pick(Number(key));
    else if (key === "Enter") this.#choice.confirm();
    else if (key === "ArrowDown" || key === "ArrowUp") this.#choice.move(key === "ArrowDown" ? 1 : -1);
    else if (key === " ") /** @type {any} */ (this.querySelector("sound-view"))?.toggle();
    else if (key === "z") this.#zoom();
    else if (key === "s") this.#settle(null);
    else if (key === "/") this.#choice.field?.focus();
    else if (/^\p{Letter}$/u.test(key)) this.#type(key);
    else return false;
    return true;
  }

  /** @param {string} letter */
  #type(letter) {
    this.#choice.type(letter);
    this.#choice.field?.focus();
  }

  #zoom() {
    const picture = /** @type {any} */ (this.querySelector("picture-view"));
    if (picture) picture.open = true;
  }

  /** @param {string | null} name null: skip */
  #settle(name) {
    queue.settle(name);
    this.#choice?.reset();
  }

  #undo() {
    if (queue.undo()) this.#choice?.reset();
  }

  updated() {
    const id = queue.current?.message_id ?? "";
    if (id === this.shown) return;
    const first = !this.shown;
    this.shown = id;
    this.querySelector(".review-item")?.scrollTo(0, 0);
    if (!first && !document.querySelector("dialog[open]")) /** @type {HTMLElement | null} */ (this.querySelector(".review-item, .review-done"))?.focus({ preventScroll: true });
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  render() {
    return html`${this.#bar()} ${this.#body()} ${this.helps ? this.#help() : nothing}`;
  }

  #bar() {
    const { t } = desk;
    const { counts } = queue;
    const unsent = labels.outbox.length;
    return html`<div class="review-bar">
      <p class="review-progress" role="status">${t("review_today", { n: labelledToday() })}${counts ? html` <span class="muted">${t("review_left", { n: counts.unlabelled })}</span>` : nothing}
        ${unsent && !desk.online ? html`<span class="tag">${icon("offline", 13)}${t("review_unsent", { n: unsent })}</span>` : nothing}</p>
      ${this.#heads.length > 1 ? html`<div class="head-switch" role="group" aria-label=${t("review_head")}>${this.#heads.map((head) => html`<button type="button" aria-pressed=${head === queue.head ? "true" : "false"} @click=${() => { queue.begin(head); this.#choice?.reset(); }}>${labels.headTitle(head)}</button>`)}</div>` : nothing}
      <button class="button small quiet" type="button" ?disabled=${!queue.history.length} @click=${() => this.#undo()}>${icon("undo", 16)}${t("undo")}<kbd aria-hidden="true">u</kbd></button>
      <button class="icon-button" type="button" aria-label=${t("review_keys")} title="${t("review_keys")} ( ? )" @click=${() => (this.helps = true)}>${icon("keyboard", 19)}</button>
    </div>`;
  }

  #body() {
    const { t } = desk;
    const item = queue.current;
    if (labels.state === "failed" || (queue.state === "failed" && !item)) {
      return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => (labels.state === "failed" ? this.#begin() : queue.fill())}>${icon("retry", 18)}${t("retry")}</button></div>`;
    }
    if (!item && queue.state !== "ready") return html`<p class="empty muted">${t("loading")}</p>`;
    if (!item) {
      const { skipped } = queue;
      return html`<div class="empty review-done" tabindex="-1">${icon("check", 32)}<p><strong>${t(skipped ? "review_none_but" : "review_none", { n: skipped })}</strong></p><p>${t("review_none_hint")}</p>
        <button class="button" type="button" @click=${() => queue.begin(queue.head)}>${icon("retry", 18)}${t(skipped ? "review_again_skipped" : "review_again")}<kbd aria-hidden="true">Enter</kbd></button></div>`;
    }
    return html`<div class="review">
      <article class="review-item" tabindex="-1" aria-label=${t("review_item")} data-id=${item.message_id}>${this.#why(item)} ${this.#content(item)}
        <p class="review-meta muted"><time datetime=${item.created_at}>${formatTime(item.created_at, desk.language)}</time>
          <a href="#/inbox/${item.conversation_id}">${t("open_conversation")}</a></p></article>
      <section class="review-choice" aria-label=${labels.headTitle(queue.head)}>
        <label-choice numbered ?ready=${item.why === "value"} .label=${t("review_choose", { head: labels.headTitle(queue.head) })} .options=${this.#options(item)} .head=${queue.head}
          @choose=${(/** @type {CustomEvent} */ event) => this.#settle(event.detail.name)}></label-choice>
        <div class="review-actions"><button class="button" type="button" @click=${() => this.#settle(null)}>${icon("skip", 17)}${t("review_skip")}<kbd aria-hidden="true">s</kbd></button></div>
      </section>
    </div>`;
  }

  /** Why this one: in a sentence. @param {Item} item */
  #why(item) {
    const { t } = desk;
    if (item.why === "second") return html`<p class="review-why second">${icon("people", 16)}<span>${t("review_second")}</span></p>`;
    if (item.suspect) {
      const { given, suggested, confidence } = item.suspect;
      return html`<p class="review-why recheck">${icon("help", 16)}<span>${t("review_recheck", { given: labels.title(queue.head, given), suggested: labels.title(queue.head, suggested) })}
        <span class="muted">${t("review_given", { given: labels.title(queue.head, given), percent: percent(confidence) })}</span></span></p>`;
    }
    const reasons = [];
    if (item.heads?.[queue.head] && (item.entropy ?? 0) > 0) reasons.push(t("review_unsure", { percent: percent(item.entropy ?? 0) }));
    if ((item.disagreement ?? 0) >= APART) reasons.push(t("review_apart", { percent: percent(item.disagreement ?? 0) }));
    if ((item.frequency ?? 0) >= OFTEN) reasons.push(t("review_often"));
    return html`<p class="review-why" title=${t("review_value", { value: (item.value ?? 0).toFixed(2) })}>${icon("spark", 16)}<span>${reasons.length ? reasons.join(desk.language === "zh" ? "；" : " · ") : t("review_new")}</span></p>`;
  }

  /** @param {Item} item */
  #content(item) {
    const { t } = desk;
    const text = writtenOnly(item);
    return html`${text ? html`<p class="review-text" lang=${item.language === "zh" ? "zh-CN" : item.language === "en" ? "en" : nothing}>${text}</p>` : nothing}
      ${repeat(item.parts, (part) => part.id, (part) => html`<div class="part ${part.kind}">
        ${part.url && part.kind === "image" ? html`<picture-view .file=${part}></picture-view>` : nothing}
        ${part.url && part.kind === "audio" ? html`<sound-view .file=${part}></sound-view>` : nothing}
        ${part.url && part.kind === "document" ? html`<a class="file" href=${part.url} target="_blank" rel="noopener">${icon("document", 22)}<span>${part.name || t("document")}</span>${icon("external", 15)}</a>` : nothing}
        ${part.artifacts.filter((artifact) => artifact.kind !== "picture_kind" && artifact.text).map((artifact) => html`<p class="review-read"><span class="artifact-label">${icon(artifact.kind === "transcript" ? "mic" : "scan", 14)}${t(`artifact_${artifact.kind}`)}</span><span>${artifact.text}</span></p>`)}
      </div>`)}`;
  }

  #help() {
    const { t } = desk;
    /** @type {[string[], string][]} */
    const keys = [
      [["1", "…", "9"], "key_pick"], [["a", "…", "z"], "key_type"], [["/"], "key_field"], [["↑", "↓"], "key_move"], [["Enter"], "key_confirm"],
      [["Space"], "key_play"], [["z"], "key_zoom"], [["s"], "key_skip"], [["u"], "key_undo"], [["?"], "keys_help"],
    ];
    return modal(html`<dl class="keys">${keys.map(([names, meaning]) => html`<dt>${names.map((name) => (name === "…" ? html`<span>…</span>` : html`<kbd>${name}</kbd>`))}</dt><dd>${t(meaning)}</dd>`)}</dl>
      <p class="keys-note muted">${t("key_note")}</p>
      <label class="switch"><input type="checkbox" .checked=${desk.shortcuts} @change=${() => desk.switchShortcuts()} />${t("keys_enabled")}</label>`, { label: t("review_keys"), onClose: () => (this.helps = false) });
  }
}
customElements.define("review-queue", ReviewQueue);

/** What the customer wrote: the turn's text holds what was heard and read as well, which stands with its file. @param {Item} item */
function writtenOnly(item) {
  let text = item.text ?? "";
  for (const artifact of item.parts.flatMap((part) => part.artifacts)) if (artifact.text) text = text.replace(artifact.text, "");
  return text.trim();
}

/** How far two people say the same, and what to settle. */
class ReviewAgreement extends Pane {
  static properties = { agreement: { state: true }, failed: { state: true }, settled: { state: true } };

  constructor() {
    super();
    /** @type {{head: string, pairs: number, agreed: number, kappa: number | null, by_label: {label: string, first: number, second: number, both: number, agreement: number}[], disagreements: {message_id: string, conversation_id: string, text: string, settled: string | null, labels: {agent: {id: string, name: string} | null, value: string}[]}[]} | null} */
    this.agreement = null;
    this.failed = false;
    /** What was settled here, by message. @type {Map<string, string>} */
    this.settled = new Map();
    this.head = queue.head;
  }

  connectedCallback() {
    super.connectedCallback();
    void labels.load().then(() => this.#load(this.head));
  }

  /** @param {string} head */
  async #load(head) {
    this.head = head;
    this.failed = false;
    try {
      const agreement = await desk.api.get(`agent/review/agreement?head=${encodeURIComponent(head)}`);
      if (head === this.head) this.agreement = agreement;
    } catch (error) {
      this.failed = true;
      desk.report(error);
    }
  }

  /** @param {string} messageId @param {string} conversationId @param {string} value */
  #settle(messageId, conversationId, value) {
    labels.say(conversationId, { message_id: messageId, kind: "head", head: this.head, value, origin: "recheck" });
    this.settled = new Map([...this.settled, [messageId, value]]);
  }

  render() {
    const { t } = desk;
    const heads = labels.sets.filter((set) => set.type === "class").map((set) => set.head);
    const { agreement } = this;
    if (this.failed) return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => this.#load(this.head)}>${icon("retry", 18)}${t("retry")}</button></div>`;
    if (!agreement) return html`<p class="empty muted">${t("loading")}</p>`;
    return html`<p class="tab-intro"><span>${t("agreement_intro")}</span>
        ${heads.length > 1 ? html`<span class="head-switch" role="group" aria-label=${t("review_head")}>${heads.map((head) => html`<button type="button" aria-pressed=${head === this.head ? "true" : "false"} @click=${() => this.#load(head)}>${labels.headTitle(head)}</button>`)}</span>` : nothing}</p>
      ${agreement.pairs ? this.#figures(agreement) : html`<div class="empty">${icon("people", 32)}<p><strong>${t("agreement_none")}</strong></p><p>${t("agreement_none_hint")}</p></div>`}`;
  }

  /** @param {NonNullable<ReviewAgreement["agreement"]>} agreement */
  #figures(agreement) {
    const { t } = desk;
    const { pairs, agreed, kappa } = agreement;
    const open = agreement.disagreements.filter((one) => one.settled === null && !this.settled.has(one.message_id));
    const grade = kappa === null ? "none" : kappa >= 0.8 ? "strong" : kappa >= 0.6 ? "fair" : "weak";
    return html`<ul class="agreement-figures">
        <li><strong>${percent(agreed / pairs)}</strong><span>${t("agreement_same", { agreed, pairs })}</span></li>
        <li class=${grade}><strong>${kappa === null ? "–" : kappa.toFixed(2)}</strong><span>${t("agreement_kappa")}</span><span class="muted">${t(`kappa_${grade}`)}</span></li></ul>
      <h2>${t("agreement_settle")}${open.length ? html`<span class="count">${open.length}</span>` : nothing}</h2>
      ${open.length ? html`<ul class="disagreements">${repeat(open, (one) => one.message_id, (one) => html`<li><p>${one.text}</p>
          <div>${one.labels.map(({ agent, value }) => html`<button class="button" type="button" @click=${() => this.#settle(one.message_id, one.conversation_id, value)}><span class="muted">${agent?.name ?? t("somebody")}</span>${labels.title(this.head, value)}</button>`)}
            <a class="icon-button" href="#/inbox/${one.conversation_id}" aria-label=${t("open_conversation")} title=${t("open_conversation")}>${icon("chat", 18)}</a></div></li>`)}</ul>` : html`<p class="muted">${t("agreement_settled")}</p>`}
      <h2>${t("agreement_by_label")}</h2>
      <table class="by-label"><thead><tr><th scope="col">${t("label")}</th><th scope="col" class="num">${t("agreement_said")}</th><th scope="col" class="num">${t("agreement_both")}</th><th scope="col">${t("agreement_share")}</th></tr></thead>
        <tbody>${agreement.by_label.map((row) => this.#byLabel(row))}</tbody></table>`;
  }

  /** @param {{label: string, first: number, second: number, both: number, agreement: number}} row */
  #byLabel({ label, first, second, both, agreement: share }) {
    return html`<tr><th scope="row">${labels.title(this.head, label)}</th><td class="num">${first + second - both}</td><td class="num">${both}</td>
      <td><span class="share"><span class="share-bar" aria-hidden="true"><i style=${styleMap({ width: `${share * 100}%` })}></i></span><span class="number">${percent(share)}</span></span></td></tr>`;
  }
}
customElements.define("review-agreement", ReviewAgreement);

class Review extends Pane {
  static properties = { path: { attribute: false } };

  constructor() {
    super();
    /** @type {string[]} */
    this.path = [];
  }

  render() {
    const { t } = desk;
    const tab = TABS.find((name) => name === this.path[0]) ?? "label";
    return html`<section class="page review-page" data-tab=${tab} aria-label=${t("review")}>
      <header class="page-head"><h1>${t("review")}</h1>
        <nav class="page-tabs" aria-label=${t("review")}>${TABS.map((name) => html`<a href=${name === "label" ? "#/review" : `#/review/${name}`} aria-current=${name === tab ? "page" : nothing}>${t(`review_tab_${name}`)}</a>`)}</nav></header>
      <div class="page-body" tabindex=${tab === "label" ? nothing : "0"} role=${tab === "label" ? nothing : "group"} aria-label=${tab === "label" ? nothing : t(`review_tab_${tab}`)}>
        ${tab === "label" ? html`<review-queue></review-queue>` : tab === "agreement" ? html`<review-agreement></review-agreement>` : tab === "proposals" ? html`<proposal-list></proposal-list>` : html`<draft-list></draft-list>`}
      </div>
    </section>`;
  }
}
customElements.define("console-review", Review);
