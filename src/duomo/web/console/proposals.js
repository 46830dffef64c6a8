// @ts-check
/** What `discover` found: what customers want that no label names, and what they ask that no article answers. */
import { html, nothing, repeat } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { errorText, formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { drafts } from "./drafts.js";
import { nameOf, percent } from "./label_choice.js";
import { labels } from "./labels.js";

/** @typedef {{message_id: string, conversation_id: string, text: string}} Example */
/**
 * @typedef {object} Proposal
 * @property {string} id
 * @property {"intent" | "article"} kind
 * @property {string} name
 * @property {string[]} terms
 * @property {number} size turns
 * @property {number | null} cohesion how alike they are, [0, 1]
 * @property {string[]} messages ids of all of them, nearest to the centre first
 * @property {Example[]} examples the first of them
 * @property {"open" | "accepted" | "dismissed"} state
 * @property {string | null} became
 * @property {string} created_at
 */

const LOOK_AGAIN = 3_000; // ms between two looks while a search runs
const PATIENCE = 5 * 60_000; // ms until a search that brought nothing is taken for done

class ProposalList extends Pane {
  static properties = { items: { state: true }, state: { state: true }, searching: { state: true } };

  constructor() {
    super();
    /** @type {Proposal[]} */
    this.items = [];
    /** @type {"loading" | "ready" | "failed"} */
    this.state = "loading";
    this.searching = false;
  }

  connectedCallback() {
    super.connectedCallback();
    void labels.load();
    void this.#load();
  }

  async #load() {
    try {
      this.items = await desk.api.get("agent/proposals");
      this.state = "ready";
    } catch (error) {
      if (this.state !== "ready") this.state = "failed";
      desk.report(error);
    }
  }

  #discover = async () => {
    const before = new Set(this.items.map((item) => item.id));
    this.searching = true;
    try {
      await desk.api.post("agent/discover");
      for (const began = Date.now(); this.isConnected && Date.now() - began < PATIENCE; ) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
        await this.#load();
        if (this.items.some((item) => !before.has(item.id))) break;
      }
    } catch (error) {
      desk.report(error);
    }
    this.searching = false;
  };

  /** @param {Proposal} proposal */
  #decided = (proposal) => {
    this.items = this.items.map((item) => (item.id === proposal.id ? proposal : item));
  };

  render() {
    const { t } = desk;
    const open = this.items.filter((item) => item.state === "open");
    const past = this.items.filter((item) => item.state !== "open");
    return html`<p class="tab-intro"><span>${t("proposals_intro")}</span>
        <button class="button" type="button" ?disabled=${this.searching} @click=${this.#discover}>${icon("search", 17)}${t(this.searching ? "proposals_searching" : "proposals_search")}</button></p>
      ${this.state === "failed" ? html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => this.#load()}>${icon("retry", 18)}${t("retry")}</button></div>`
        : this.state === "loading" ? html`<p class="empty muted">${t("loading")}</p>`
        : !open.length ? html`<div class="empty">${icon("spark", 32)}<p><strong>${t("proposals_none")}</strong></p><p>${t("proposals_none_hint")}</p></div>`
        : html`<div class="proposals">${repeat(open, (item) => item.id, (item) => html`<proposal-card .proposal=${item} @decided=${(/** @type {CustomEvent} */ event) => this.#decided(event.detail)}></proposal-card>`)}</div>`}
      ${past.length ? html`<details class="past-proposals"><summary>${t("proposals_past", { n: past.length })}</summary>
        <ul>${past.map((item) => html`<li>${icon(item.state === "accepted" ? "check" : "close", 15)}<span>${item.terms.slice(0, 4).join(" · ") || item.name}</span>
          <span class="muted">${item.state === "dismissed" ? t("proposal_dismissed") : item.kind === "intent" && item.became ? labels.title("intent", item.became) : t("proposal_accepted")}</span></li>`)}</ul></details>` : nothing}`;
  }
}
customElements.define("proposal-list", ProposalList);

class ProposalCard extends Pane {
  static properties = { proposal: { attribute: false }, chosen: { state: true }, whole: { state: true }, busy: { state: true }, problem: { state: true } };

  constructor() {
    super();
    /** @type {Proposal | null} */
    this.proposal = null;
    /** Members that are not to be labelled. @type {Set<string>} */
    this.left = new Set();
    this.whole = false;
    this.busy = false;
    this.problem = "";
    /** @type {{name: string, zh: string, en: string} | null} */
    this.named = null;
  }

  willUpdate() {
    if (!this.proposal || this.named) return;
    const { name } = this.proposal;
    const chinese = /\p{Script=Han}/u.test(name);
    const words = name.replaceAll("_", " ");
    this.named = { name: nameOf(name), zh: chinese ? words : "", en: chinese ? "" : words };
  }

  /** @param {object} body */
  async #decide(body) {
    const { proposal } = this;
    if (!proposal || this.busy) return;
    this.busy = true;
    this.problem = "";
    try {
      const decided = await desk.api.post(`agent/proposals/${proposal.id}`, body);
      this.dispatchEvent(new CustomEvent("decided", { detail: decided }));
      if (decided.state === "accepted") await this.#accepted(decided);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) desk.report(error);
      else this.problem = ["conflict", "bad_input"].includes(error.code) ? error.message : errorText(error, desk.t);
    } finally {
      this.busy = false;
    }
  }

  /** @param {Proposal & {kept: number}} decided kept: turns that a person has called something else */
  async #accepted(decided) {
    if (decided.kind === "intent") {
      await labels.reload();
      const made = desk.t("proposal_intent_made", { title: labels.title("intent", decided.became ?? "") });
      desk.toast(decided.kept ? `${made} ${desk.t("proposal_kept", { n: decided.kept })}` : made);
      return;
    }
    await drafts.load();
    const draft = drafts.items.find((one) => one.id === decided.became);
    if (draft) drafts.show(draft);
    else location.hash = "#/review/drafts";
  }

  /** @param {SubmitEvent} event */
  #accept = (event) => {
    event.preventDefault();
    const { proposal, named } = this;
    if (!proposal || !named) return;
    if (proposal.kind === "article") {
      void this.#decide({ action: "accept" });
      return;
    }
    const name = named.name.trim();
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) {
      this.problem = desk.t("label_name_wrong");
      return;
    }
    const [zh, en] = [named.zh.trim() || named.en.trim() || name, named.en.trim() || named.zh.trim() || name];
    const members = proposal.messages.filter((id) => !this.left.has(id));
    void this.#decide({ action: "accept", name, title: { zh, en }, members });
  };

  render() {
    const { t } = desk;
    const { proposal, named } = this;
    if (!proposal || !named) return nothing;
    const intent = proposal.kind === "intent";
    const shown = this.whole ? proposal.examples : proposal.examples.slice(0, 5);
    const chosen = proposal.messages.length - this.left.size;
    return html`<section class="proposal" data-kind=${proposal.kind} aria-label=${proposal.terms.join(" · ") || proposal.name}>
      <header>${icon(intent ? "tag" : "book", 18)}<h2>${t(intent ? "proposal_intent" : "proposal_article")}</h2><span class="gap"></span>
        <span class="muted">${t("proposal_size", { n: proposal.size })}${proposal.cohesion === null ? nothing : html` · ${t("proposal_cohesion", { percent: percent(proposal.cohesion) })}`} · ${formatTime(proposal.created_at, desk.language)}</span></header>
      ${proposal.terms.length ? html`<ul class="proposal-terms" aria-label=${t("proposal_terms")}>${proposal.terms.map((term) => html`<li class="tag">${term}</li>`)}</ul>` : nothing}
      ${intent ? html`<p class="muted examples-hint">${t("proposal_hint")}</p>` : nothing}
      <ul class="proposal-examples" aria-label=${t("proposal_examples")}>${repeat(shown, (example) => example.message_id, (example) => this.#example(example, intent))}</ul>
      ${proposal.examples.length > 5 ? html`<button class="link" type="button" aria-expanded=${this.whole ? "true" : "false"} @click=${() => (this.whole = !this.whole)}>${t(this.whole ? "show_less" : "proposal_all", { n: proposal.examples.length })}</button>` : nothing}
      <form @submit=${this.#accept}>
        ${intent ? this.#names(named) : nothing}
        ${this.problem ? html`<p class="field-error" role="alert">${icon("alert", 15)}${this.problem}</p>` : nothing}
        <div class="form-buttons">
          <button class="button" type="button" ?disabled=${this.busy} @click=${() => this.#decide({ action: "dismiss" })}>${t("proposal_dismiss")}</button>
          <button class="button primary" type="submit" ?disabled=${this.busy}>${intent ? t("proposal_accept_intent", { n: chosen }) : t("proposal_accept_article")}</button></div>
      </form>
    </section>`;
  }

  /** @param {Example} example @param {boolean} choosable */
  #example(example, choosable) {
    const { t } = desk;
    const change = () => {
      if (!this.left.delete(example.message_id)) this.left.add(example.message_id);
      this.requestUpdate();
    };
    return html`<li>${choosable ? html`<label><input type="checkbox" .checked=${!this.left.has(example.message_id)} @change=${change} /><span>${example.text || t("no_text")}</span></label>` : html`<span>${example.text || t("no_text")}</span>`}
      <a class="icon-button small" href="#/inbox/${example.conversation_id}" aria-label=${t("open_conversation")} title=${t("open_conversation")}>${icon("chat", 16)}</a></li>`;
  }

  /** @param {NonNullable<ProposalCard["named"]>} named */
  #names(named) {
    const { t } = desk;
    /** @param {"name" | "zh" | "en"} key */
    const field = (key) => html`<label>${t(`label_${key}`)}<input name=${key} .value=${named[key]} autocomplete="off" spellcheck="false" lang=${key === "zh" ? "zh-CN" : "en"}
      @input=${(/** @type {Event} */ event) => {
        const follows = key === "en" && named.name === nameOf(named.en);
        named[key] = /** @type {HTMLInputElement} */ (event.target).value;
        if (follows) named.name = nameOf(named.en);
        this.problem = "";
        this.requestUpdate();
      }} /></label>`;
    return html`<div class="proposal-names">${field("zh")} ${field("en")} ${field("name")}</div>`;
  }
}
customElements.define("proposal-card", ProposalCard);
