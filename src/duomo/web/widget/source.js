// @ts-check
import { css, html, LitElement, nothing } from "../vendor/lit.js";
import { errorText, translator } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { markQuote, ownMedia, renderMarkdown } from "../shared/markdown.js";
import { markdownStyles } from "../shared/message-styles.js";
import { controlStyles, sheetStyles } from "./styles.js";

/** @typedef {import("../shared/protocol").Article} Article */

/** The article behind a citation, its quote marked. Properties: citation, load (id → Promise<Article>). Event `close`. */
export class DuomoSource extends LitElement {
  static properties = {
    citation: { attribute: false },
    load: { attribute: false },
    language: {},
    origin: {},
    article: { state: true },
    text: { state: true },
    problem: { state: true },
  };

  static styles = [
    controlStyles,
    sheetStyles,
    markdownStyles,
    css`
      .body { flex: 1; min-height: 0; overflow: hidden auto; padding: 20px 22px 32px; overscroll-behavior: contain; }
      .body h3 { margin: 0 0 12px; font-size: var(--text-xl); line-height: 1.35; letter-spacing: -0.01em; font-weight: 680; }
      .quote { margin: 0 0 18px; padding: 12px 14px; white-space: pre-line; border-radius: var(--radius-s); font-size: var(--text-s); background: var(--accent-soft); }
      .quote b { display: block; margin-bottom: 2px; font-size: var(--text-xs); color: var(--accent-ink); }
      figure { margin: 18px 0 0; }
      figure button { display: block; padding: 0; overflow: hidden; width: 100%; border: 1px solid var(--line); border-radius: var(--radius-m); background: #fff; cursor: zoom-in; }
      figure img { display: block; width: 100%; max-height: 320px; object-fit: contain; }
      figcaption { margin-top: 6px; font-size: var(--text-s); color: var(--ink-3); }
      .original { display: inline-flex; align-items: center; gap: 6px; min-height: 32px; margin-top: 22px; font-size: var(--text-s); color: var(--accent-ink); text-underline-offset: 3px; }
      .loading { padding: 24px 0; color: var(--ink-3); }
      .problem { color: var(--danger); }
    `,
  ];

  constructor() {
    super();
    /** @type {import("../shared/protocol").Citation | null} */
    this.citation = null;
    /** @type {(id: string) => Promise<Article>} */
    this.load = () => Promise.reject(new Error("no loader"));
    /** @type {import("../shared/i18n.js").Language} */
    this.language = "en";
    this.origin = location.origin;
    /** @type {Article | null} */
    this.article = null;
    /** @type {HTMLElement | null} */
    this.text = null;
    /** @type {{code?: string} | null} */
    this.problem = null;
  }

  firstUpdated() {
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".bar button"))?.focus();
    this.#fetch();
  }

  #fetch = async () => {
    if (!this.citation) return;
    this.problem = null;
    try {
      const article = await this.load(this.citation.article_id);
      const text = await renderMarkdown(withoutTitle(article), { origin: this.origin });
      const mark = markQuote(text, this.citation.quote);
      this.article = article;
      this.text = text;
      await this.updateComplete;
      mark?.scrollIntoView({ block: "center" });
    } catch (error) {
      this.problem = /** @type {{code?: string}} */ (error);
    }
  };

  #close = () => this.dispatchEvent(new CustomEvent("close", { bubbles: true, composed: true }));

  /** @param {string} url @param {string} alt */
  #enlarge(url, alt) {
    this.dispatchEvent(new CustomEvent("open-picture", { detail: { url, alt }, bubbles: true, composed: true }));
  }

  render() {
    const t = translator(this.language);
    return html`<div class="sheet" role="dialog" aria-modal="true" aria-label=${t("source.title")}>
      <div class="bar">
        <button type="button" class="round" aria-label=${t("back")} title=${t("back")} @click=${this.#close}>${icon("back")}</button>
        <h2>${t("source.title")}${this.citation ? html` ${this.citation.n}` : nothing}</h2>
      </div>
      <div class="body" tabindex="0" role="region" aria-label=${this.citation?.title ?? ""}>
        <h3>${this.article?.title ?? this.citation?.title}</h3>
        ${this.problem ? this.#failed(t) : this.article ? this.#article(this.article, t) : html`<p class="loading" role="status">${t("source.loading")}</p>`}
      </div>
    </div>`;
  }

  /** The quote itself was sent with the answer and can always be shown. @param {import("../shared/i18n.js").Translate} t */
  #failed(t) {
    return html`<div class="quote"><b>${t("source.quote")}</b>${this.citation?.quote}</div>
      <p class="problem" role="alert">${errorText(this.problem ?? {}, t)}</p>
      <button type="button" class="text-button" @click=${this.#fetch}>${t("retry")}</button>`;
  }

  /** @param {Article} article @param {import("../shared/i18n.js").Translate} t */
  #article(article, t) {
    const quoted = this.text?.querySelector("mark");
    const link = /^https?:\/\//.test(article.uri) ? article.uri : null;
    return html`<div lang=${article.language === "zh" ? "zh-CN" : "en"}>
      ${quoted || !this.citation?.quote ? nothing : html`<div class="quote"><b>${t("source.quote")}</b>${this.citation.quote}</div>`}
      ${this.text}
      ${article.pictures.map(({ url, alt }) => this.#picture(url, alt))}
      ${link ? html`<a class="original" href=${link} target="_blank" rel="noopener noreferrer">${icon("external", 16)}${t("source.original")}</a>` : nothing}
    </div>`;
  }

  /** @param {string} address @param {string} alt */
  #picture(address, alt) {
    const url = ownMedia(address, this.origin)?.href;
    if (!url || this.text?.querySelector(`img[src="${CSS.escape(url)}"]`)) return nothing;
    const t = translator(this.language);
    return html`<figure>
      <button type="button" aria-label=${t("picture.open", { name: alt })} @click=${() => this.#enlarge(url, alt)}><img src=${url} alt="" /></button>
      ${alt ? html`<figcaption>${alt}</figcaption>` : nothing}
    </figure>`;
  }
}

/** An article's text often begins with its title, which stands above already. @param {Article} article */
function withoutTitle({ title, text }) {
  const [first, ...rest] = text.trimStart().split("\n");
  return first.replace(/^#+\s*/, "").trim() === title.trim() ? rest.join("\n") : text;
}

customElements.get("duomo-source") ?? customElements.define("duomo-source", DuomoSource);
