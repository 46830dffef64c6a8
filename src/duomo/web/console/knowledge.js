// @ts-check
/** What the bot answers from: the articles, their import, and one article opened at a quotation. */
import { html, nothing, repeat, styleMap } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { errorText, formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { markQuote, renderMarkdown } from "../shared/markdown.js";
import { desk, Pane } from "./desk.js";
import { modal } from "./modal.js";

/** @typedef {{id: string, title: string, language: string, uri: string, chunks: number, pictures: number, updated_at: string}} Article */
/** @typedef {{state: "queued" | "running" | "done", done: number, total: number, added: number, unchanged: number, updated: number, failed: {name: string, reason: string}[]}} Import */

const ACCEPT = ".md,.html,.htm,.pdf,.docx,.xlsx,.csv,.txt,.jsonl,.zip,image/*,audio/*";
const LOOK_AGAIN = 500; // ms between two looks at a running import

class Knowledge extends Pane {
  static properties = { items: { state: true }, totals: { state: true }, state: { state: true }, running: { state: true }, doomed: { state: true }, dropping: { state: true }, cursor: { state: true } };

  constructor() {
    super();
    /** @type {Article[]} */
    this.items = [];
    /** @type {{articles: number, chunks: number} | null} */
    this.totals = null;
    /** @type {string | null} */
    this.cursor = null;
    this.q = "";
    /** @type {"loading" | "ready" | "failed"} */
    this.state = "loading";
    /** @type {Import | null} */
    this.running = null;
    /** The article whose deletion waits for a yes. @type {Article | null} */
    this.doomed = null;
    this.dropping = false;
    this.asked = 0;
    this.typed = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
  }

  async #load(more = false) {
    const asked = (this.asked += 1);
    const ask = new URLSearchParams();
    if (this.q.trim()) ask.set("q", this.q.trim());
    if (more && this.cursor) ask.set("cursor", this.cursor);
    try {
      const page = await desk.api.get(`agent/knowledge?${ask}`);
      if (asked !== this.asked) return;
      this.items = more ? [...this.items, ...page.items] : page.items;
      this.cursor = page.cursor;
      this.totals = page.totals;
      this.state = "ready";
    } catch (error) {
      this.state = "failed";
      desk.report(error);
    }
  }

  /** @param {Iterable<File>} files */
  async #upload(files) {
    const form = new FormData();
    let count = 0;
    for (const file of files) {
      form.append("file", file, file.name);
      count += 1;
    }
    if (!count) return;
    this.running = { state: "queued", done: 0, total: count, added: 0, unchanged: 0, updated: 0, failed: [] };
    try {
      const { import_id: id } = await desk.api.post("agent/knowledge", form);
      await this.#watch(id);
    } catch (error) {
      this.running = null;
      desk.report(error);
    }
    await this.#load();
  }

  /** @param {string} id */
  async #watch(id) {
    for (;;) {
      try {
        this.running = await desk.api.get(`agent/knowledge/imports/${id}`);
      } catch (error) {
        if (!(error instanceof ApiError && error.temporary)) throw error; // the import goes on without us
      }
      if (this.running?.state === "done" || !this.isConnected) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
  }

  /** @param {DragEvent} event */
  #drag = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.dropping = event.type === "dragover";
    if (event.type === "drop") void this.#upload(event.dataTransfer.files);
  };

  async #delete() {
    const { doomed } = this;
    this.doomed = null;
    if (!doomed) return;
    try {
      await desk.api.delete(`agent/knowledge/${desk.articlePath(doomed.id)}`);
    } catch (error) {
      desk.report(error);
    }
    await this.#load();
  }

  /** @param {Event} event */
  #search = (event) => {
    this.q = /** @type {HTMLInputElement} */ (event.target).value;
    clearTimeout(this.typed);
    this.typed = window.setTimeout(() => void this.#load(), 250);
  };

  render() {
    const { t } = desk;
    return html`<section class="page knowledge" aria-label=${t("knowledge")} @dragover=${this.#drag} @dragleave=${this.#drag} @drop=${this.#drag}>
      <header class="page-head"><div><h1>${t("knowledge")}</h1>
        ${this.totals ? html`<p class="muted">${t("articles", { n: this.totals.articles })} · ${t("chunks", { n: this.totals.chunks })}</p>` : nothing}</div>
        <div class="search">${icon("search", 18)}<input type="search" id="search" aria-label=${t("search_knowledge")} placeholder=${t("search_knowledge")} @input=${this.#search} /></div>
        <label class="button primary">${icon("upload", 18)}<span>${t("upload")}</span>
          <input class="visually-hidden" type="file" multiple accept=${ACCEPT} @change=${(/** @type {Event} */ event) => { const input = /** @type {HTMLInputElement} */ (event.target); const files = [...(input.files ?? [])]; input.value = ""; void this.#upload(files); }} /></label>
      </header>
      <div class="page-body" tabindex="0" role="group" aria-label=${t("knowledge")}>
        <p class=${this.dropping ? "drop-zone active" : "drop-zone"}>${icon("upload", 20)}${t("drop_here")}</p>
        ${this.running ? this.#progress(this.running) : nothing}
        ${this.#table()}
      </div>
      ${this.doomed ? modal(html`<div class="dialog-text"><p>${t("delete_text")}</p><div class="form-buttons"><button class="button" type="button" @click=${() => (this.doomed = null)}>${t("cancel")}</button>
          <button class="button danger solid" type="button" @click=${() => this.#delete()}>${t("delete")}</button></div></div>`,
        { label: t("delete_title", { title: this.doomed.title }), onClose: () => (this.doomed = null) }) : nothing}
    </section>`;
  }

  /** @param {Import} run */
  #progress(run) {
    const { t } = desk;
    const done = run.state === "done";
    const share = run.total ? run.done / run.total : 0;
    return html`<section class="import" aria-live="polite" data-state=${run.state}>
      <p><strong>${done ? t("import_done") : run.state === "queued" ? t("import_queued") : t("importing", { done: run.done, total: run.total })}</strong>
        ${done ? html`<span>${t("import_result", { added: run.added, updated: run.updated, unchanged: run.unchanged })}</span>
          <button class="icon-button small" type="button" aria-label=${t("close")} @click=${() => (this.running = null)}>${icon("close", 16)}</button>` : nothing}</p>
      ${done ? nothing : html`<div class="progress" role="progressbar" aria-label=${t("upload")} aria-valuemin="0" aria-valuemax=${run.total} aria-valuenow=${run.done}><i style=${styleMap({ width: `${share * 100}%` })}></i></div>`}
      ${run.failed.length ? html`<p class="field-error">${icon("alert", 16)}${t("import_failed", { n: run.failed.length })}</p>
        <ul class="failures">${run.failed.map((failure) => html`<li><code>${failure.name}</code><span>${failure.reason}</span></li>`)}</ul>` : nothing}
    </section>`;
  }

  #table() {
    const { t } = desk;
    if (this.state === "failed") return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => this.#load()}>${icon("retry", 18)}${t("retry")}</button></div>`;
    if (this.state === "loading" && !this.items.length) return html`<p class="empty muted">${t("loading")}</p>`;
    if (!this.items.length) return html`<div class="empty">${icon("book", 32)}<p><strong>${t(this.q ? "no_match" : "no_articles")}</strong></p>${this.q ? nothing : html`<p>${t("no_articles_hint")}</p>`}</div>`;
    return html`<table class="articles">
      <thead><tr><th scope="col">${t("title")}</th><th scope="col">${t("language_of")}</th><th scope="col" class="num">${t("passages")}</th><th scope="col" class="num">${t("pictures")}</th><th scope="col">${t("updated")}</th><th scope="col"><span class="visually-hidden">${t("actions")}</span></th></tr></thead>
      <tbody>${repeat(this.items, (item) => item.id, (item) => html`<tr>
        <td><button class="link title" type="button" aria-label=${t("preview", { title: item.title })} @click=${() => desk.openArticle(item.id, "", item.title)}>${item.title}</button><span class="uri">${item.uri}</span></td>
        <td>${t(`language_${item.language}`)}</td><td class="num">${item.chunks}</td><td class="num">${item.pictures || "–"}</td>
        <td><time datetime=${item.updated_at}>${formatTime(item.updated_at, desk.language)}</time></td>
        <td><button class="icon-button small" type="button" aria-label=${t("delete_article", { title: item.title })} title=${t("delete")} @click=${() => (this.doomed = item)}>${icon("trash", 17)}</button></td>
      </tr>`)}</tbody></table>
      ${this.cursor ? html`<button class="button quiet wide" type="button" @click=${() => this.#load(true)}>${t("more")}</button>` : nothing}`;
  }
}
customElements.define("console-knowledge", Knowledge);

/** An article beside the page; the sentence that was quoted is marked and in view. */
class ArticleSheet extends Pane {
  static properties = { article: { state: true }, error: { state: true }, missing: { state: true } };

  constructor() {
    super();
    /** @type {{id: string, title: string, uri: string, text: string, language: string, pictures: {url: string, alt: string}[]} | null} */
    this.article = null;
    /** @type {ApiError | null} */
    this.error = null;
    this.missing = false;
    this.shown = "";
  }

  willUpdate() {
    const wanted = desk.article ? `${desk.article.id} ${desk.article.quote}` : "";
    if (wanted === this.shown) return;
    this.shown = wanted;
    this.article = this.error = null;
    this.missing = false;
    if (desk.article) void this.#load(desk.article, wanted);
  }

  /** @param {{id: string, quote: string}} asked @param {string} wanted */
  async #load({ id, quote }, wanted) {
    try {
      const article = await desk.api.get(`articles/${desk.articlePath(id)}`);
      const root = await renderMarkdown(article.text, { origin: location.origin });
      if (this.shown !== wanted) return;
      if (root.querySelector("h1")?.textContent?.trim() === article.title) root.querySelector("h1")?.remove();
      const mark = quote ? markQuote(root, quote) : null;
      this.article = article;
      this.missing = Boolean(quote) && !mark;
      await this.updateComplete;
      await new Promise((resolve) => requestAnimationFrame(resolve));
      this.querySelector(".article-text")?.replaceChildren(root);
      mark?.scrollIntoView({ block: "center" });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.shown === wanted) this.error = error;
    }
  }

  render() {
    const { t, article: asked } = desk;
    if (!asked) return nothing;
    const { article } = this;
    const content = this.error ? html`<div class="empty">${icon("alert", 28)}<p>${this.error.code === "not_found" ? t("article_gone") : errorText(this.error, t)}</p></div>`
      : !article ? html`<p class="empty muted">${t("loading")}</p>`
      : html`<div class="article" tabindex="0" role="group" aria-label=${article.title} lang=${article.language === "zh" ? "zh-CN" : "en"}>
          ${this.missing ? html`<p class="banner warn">${icon("info", 18)}${t("quote_missing")}</p><blockquote>${asked.quote}</blockquote>` : nothing}
          <div class="article-text"></div>
          ${article.pictures?.length ? html`<div class="article-pictures">${article.pictures.map((picture) => html`<img src=${picture.url} alt=${picture.alt} loading="lazy" />`)}</div>` : nothing}
          ${article.uri ? html`<p class="uri">${article.uri}</p>` : nothing}
        </div>`;
    return modal(content, { label: article?.title ?? asked.title ?? t("article"), kind: "sheet", onClose: () => desk.closeArticle() });
  }
}
customElements.define("article-sheet", ArticleSheet);
