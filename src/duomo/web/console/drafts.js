// @ts-check
/** Articles on their way into the knowledge: begun from an agent's reply or from what customers asked in vain. */
import { html, nothing, repeat } from "../vendor/lit.js";
import { formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { renderMarkdown } from "../shared/markdown.js";
import { desk, Pane } from "./desk.js";
import "./learning_words.js";
import { modal } from "./modal.js";

/**
 * @typedef {object} Draft
 * @property {string} id
 * @property {string} title
 * @property {string} text Markdown
 * @property {"zh" | "en"} language
 * @property {{url: string, alt: string}[]} pictures
 * @property {"draft" | "published" | "dismissed"} state
 * @property {string | null} article_id
 * @property {string | null} message_id
 * @property {string | null} conversation_id
 * @property {{id: string, name: string} | null} [agent]
 * @property {string[]} masked kinds of personal data that were taken out
 * @property {string[]} personal kinds that stand there still
 * @property {string} updated_at
 */

class Drafts {
  /** @type {Draft[]} */
  items = [];
  /** @type {"none" | "loading" | "ready" | "failed"} */
  state = "none";
  /** The one that is open. @type {Draft | null} */
  open = null;

  async load() {
    if (this.state !== "ready") this.state = "loading";
    try {
      this.items = await desk.api.get("agent/drafts");
      this.state = "ready";
    } catch (error) {
      this.state = "failed";
      desk.report(error);
    }
    desk.changed();
  }

  /** @param {Draft | null} draft */
  show(draft) {
    this.open = draft;
    desk.changed();
  }

  /** @param {string} id of a new draft or of one that is changed @param {object} body @returns {Promise<Draft | null>} null: it did not work, and the agent knows */
  async put(id, body) {
    try {
      const draft = await desk.api.put(`agent/drafts/${id}`, body);
      this.items = [draft, ...this.items.filter((other) => other.id !== draft.id)];
      desk.changed();
      return draft;
    } catch (error) {
      desk.report(error);
      return null;
    }
  }

  /** @param {Draft} draft @returns {Promise<boolean>} */
  async publish(draft) {
    try {
      await desk.api.post(`agent/drafts/${draft.id}/publish`);
    } catch (error) {
      desk.report(error);
      return false;
    }
    desk.toast(desk.t("draft_published", { title: draft.title }));
    void this.load();
    return true;
  }

  /** @param {Draft} draft @returns {Promise<boolean>} */
  async delete(draft) {
    try {
      await desk.api.delete(`agent/drafts/${draft.id}`);
    } catch (error) {
      desk.report(error);
      return false;
    }
    this.items = this.items.filter((other) => other.id !== draft.id);
    desk.changed();
    return true;
  }
}

export const drafts = new Drafts();

/** Opens the draft that an agent's reply begins; one that it has already, published or not, is opened again. @param {import("../shared/protocol").Message} message */
export async function draftFrom(message) {
  const draft = await drafts.put(crypto.randomUUID(), { message_id: message.id });
  if (draft) drafts.show(draft);
}

/** The open draft, beside the page. */
class DraftSheet extends Pane {
  static properties = { busy: { state: true }, preview: { state: true }, doomed: { state: true } };

  constructor() {
    super();
    this.busy = false;
    this.preview = false;
    this.doomed = false;
    this.shown = "";
    /** @type {Pick<Draft, "title" | "text" | "language">} */
    this.edited = { title: "", text: "", language: "zh" };
  }

  willUpdate() {
    const id = drafts.open?.id ?? "";
    if (id === this.shown) return;
    this.shown = id;
    this.busy = this.preview = this.doomed = false;
    if (drafts.open) this.edited = { title: drafts.open.title, text: drafts.open.text, language: drafts.open.language };
  }

  get changed() {
    const { open } = drafts;
    return Boolean(open) && (["title", "text", "language"]).some((key) => /** @type {any} */ (open)[key] !== /** @type {any} */ (this.edited)[key]);
  }

  /** @param {boolean} publish */
  async #save(publish) {
    const { open } = drafts;
    if (!open || this.busy || !this.edited.title.trim() || !this.edited.text.trim()) return;
    this.busy = true;
    const saved = this.changed ? await drafts.put(open.id, { ...this.edited, title: this.edited.title.trim() }) : open;
    if (saved && (!publish || (await drafts.publish(saved)))) {
      if (!publish) desk.toast(desk.t("draft_saved"));
      drafts.show(null);
    }
    this.busy = false;
  }

  async #delete() {
    const { open } = drafts;
    this.busy = true;
    if (open && (await drafts.delete(open))) drafts.show(null);
    this.busy = false;
  }

  /** What was written stays when the sheet is left. */
  #close = () => {
    const { open } = drafts;
    if (open && this.changed && this.edited.title.trim() && this.edited.text.trim()) void drafts.put(open.id, { ...this.edited });
    drafts.show(null);
  };

  async #look() {
    this.preview = !this.preview;
    if (!this.preview) return;
    const root = await renderMarkdown(this.edited.text, { origin: location.origin });
    await this.updateComplete;
    this.querySelector(".draft-preview")?.replaceChildren(root);
  }

  render() {
    const { t } = desk;
    const { open } = drafts;
    if (!open) return nothing;
    const published = open.state === "published";
    const idle = this.busy || !this.edited.title.trim() || !this.edited.text.trim() || (published && !this.changed);
    /** @param {"title" | "text" | "language"} key */
    const change = (key) => (/** @type {Event} */ event) => {
      this.edited = { ...this.edited, [key]: /** @type {HTMLInputElement} */ (event.target).value };
      this.requestUpdate();
    };
    const content = html`<form class="draft" @submit=${(/** @type {Event} */ event) => { event.preventDefault(); void this.#save(false); }}>
      <label>${t("title")}<input name="title" .value=${this.edited.title} autocomplete="off" @input=${change("title")} /></label>
      <label>${t("language_of")}<select name="language" @change=${change("language")}>${["zh", "en"].map((code) => html`<option value=${code} ?selected=${code === this.edited.language}>${t(`language_${code}`)}</option>`)}</select></label>
      <div class="draft-text"><div class="draft-text-head"><label for="draft-text">${t("draft_text")}</label><button class="link" type="button" aria-pressed=${this.preview ? "true" : "false"} @click=${() => this.#look()}>${t(this.preview ? "draft_edit" : "draft_preview")}</button></div>
        ${this.preview ? html`<div class="draft-preview article" tabindex="0" role="group" aria-label=${t("draft_preview")}></div>` : html`<textarea id="draft-text" name="text" .value=${this.edited.text} @input=${change("text")}></textarea>`}</div>
      ${open.pictures?.length ? html`<div class="draft-pictures">${open.pictures.map((picture) => html`<img src=${picture.url} alt=${picture.alt || t("picture")} />`)}</div>` : nothing}
      ${open.article_id ? html`<p class="banner info">${icon("info", 18)}<span>${t("draft_replaces")}</span></p>`
        : open.message_id ? nothing : html`<p class="banner info">${icon("info", 18)}<span>${t("draft_asked")}</span></p>`}
      ${open.personal?.length ? html`<p class="banner warn">${icon("shield", 18)}<span>${t("draft_personal", { kinds: open.personal.map((kind) => t(`personal.${kind}`)).join(desk.language === "zh" ? "、" : ", ") })}</span></p>` : nothing}
      ${open.masked?.length ? html`<p class="banner warn">${icon("shield", 18)}<span>${t("draft_masked")}</span></p>` : nothing}
      ${this.doomed ? html`<div class="banner warn" role="alert"><span>${t("draft_delete_text")}</span><span class="gap"></span>
          <button class="button small" type="button" @click=${() => (this.doomed = false)}>${t("cancel")}</button>
          <button class="button small danger solid" type="button" @click=${() => this.#delete()}>${t("delete")}</button></div>` : nothing}
      <div class="form-buttons">${published ? nothing : html`<button class="button danger" type="button" ?disabled=${this.doomed} @click=${() => (this.doomed = true)}>${icon("trash", 17)}${t("delete")}</button>`}<span class="gap"></span>
        <button class="button" type="submit" ?disabled=${idle}>${t("save")}</button>
        <button class="button primary" type="button" ?disabled=${idle} @click=${() => this.#save(true)}>${icon("book", 17)}${t("draft_publish")}</button></div>
      <p class="muted">${t("draft_hint")}</p>
    </form>`;
    return modal(content, { label: t("draft"), kind: "sheet", onClose: this.#close });
  }
}
customElements.define("draft-sheet", DraftSheet);

/** All drafts: those on their way, then the published ones; each the newest first. */
class DraftList extends Pane {
  connectedCallback() {
    super.connectedCallback();
    void drafts.load();
  }

  render() {
    const { t } = desk;
    const { items } = drafts;
    return html`<p class="tab-intro"><span>${t("drafts_intro")}</span></p>
      ${drafts.state === "failed" ? html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => drafts.load()}>${icon("retry", 18)}${t("retry")}</button></div>`
        : drafts.state !== "ready" ? html`<p class="empty muted">${t("loading")}</p>`
        : !items.length ? html`<div class="empty">${icon("book", 32)}<p><strong>${t("drafts_none")}</strong></p><p>${t("drafts_none_hint")}</p></div>`
        : html`<ul class="drafts">${repeat(items, (draft) => draft.id, (draft) => html`<li>
            <button type="button" class="draft-row" @click=${() => drafts.show(draft)}>
              ${draft.pictures?.length ? html`<img src=${draft.pictures[0].url} alt="" />` : html`<span class="draft-sign">${icon("document", 22)}</span>`}
              <span class="draft-main"><span class="draft-title"><strong>${draft.title}</strong>${draft.state === "published" ? html`<span class="tag">${t("draft_is_published")}</span>` : draft.article_id ? html`<span class="tag">${t("draft_is_changed")}</span>` : nothing}</span><span class="draft-snippet">${draft.text}</span>
                <span class="muted">${t(`language_${draft.language}`)} · ${draft.agent ? `${draft.agent.name} · ` : ""}${formatTime(draft.updated_at, desk.language)}</span></span></button>
            ${draft.conversation_id ? html`<a class="icon-button" href="#/inbox/${draft.conversation_id}" aria-label=${t("open_conversation")} title=${t("open_conversation")}>${icon("chat", 18)}</a>` : nothing}
          </li>`)}</ul>`}`;
  }
}
customElements.define("draft-list", DraftList);
