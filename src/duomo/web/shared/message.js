// @ts-check
import { html, LitElement, nothing } from "../vendor/lit.js";
import "./audio.js";
import { errorText, formatTime, translator } from "./i18n.js";
import { icon } from "./icons.js";
import { chipCitations, ownMedia, renderMarkdown } from "./markdown.js";
import { messageStyles } from "./message-styles.js";

/** @typedef {import("./protocol").Message} Message */
/** @typedef {import("./protocol").Part} Part */
/** @typedef {import("./protocol").Artifact} Artifact */
/** @typedef {import("./protocol").Citation} Citation */

/** Below this the reader is told that the machine is unsure. */
export const UNSURE = 0.6;

const LONG = 180; // characters of recognised text shown before "show all"

/**
 * One message with its files, what was understood of them, its sources and its buttons.
 *
 * Properties: `message`; `language` of the labels; `viewer` ("customer" | "agent"); `origin` of the server (absolute);
 * `grouped` hides the name under the same author; `streaming`; `delivery` (null | "waiting" | "sending" | "failed") with
 * `problem` (an error with `code`); `localFiles` (File[], shown until the server has its own copy); `botName`;
 * `answerable` shows the buttons of a clarifying question (only the newest message is).
 *
 * Events (bubble, composed): `open-source` {citation}, `open-picture` {url, alt}, `choose-option` {text},
 * `feedback` {value}, `retry`, `discard`, `media-expired`, and `correct-artifact` {artifact, text, waitUntil}: pass the
 * promise of the call to `waitUntil` and the element shows saving, done or the error.
 */
export class DuomoMessage extends LitElement {
  static properties = {
    message: { attribute: false },
    language: {},
    viewer: {},
    origin: {},
    grouped: { type: Boolean },
    streaming: { type: Boolean },
    delivery: { attribute: false },
    problem: { attribute: false },
    localFiles: { attribute: false },
    botName: { attribute: false },
    answerable: { attribute: false },
    editing: { state: true },
    saving: { state: true },
    saveProblem: { state: true },
    opened: { state: true },
    rich: { state: true },
  };

  static styles = messageStyles;

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
    /** @type {import("./i18n.js").Language} */
    this.language = "en";
    /** @type {"customer" | "agent"} */
    this.viewer = "customer";
    this.origin = location.origin;
    this.grouped = false;
    this.streaming = false;
    /** @type {"waiting" | "sending" | "failed" | null} */
    this.delivery = null;
    /** @type {{code?: string} | null} */
    this.problem = null;
    /** @type {File[]} */
    this.localFiles = [];
    this.botName = "";
    this.answerable = true;
    /** @type {string | null} id of the artifact being corrected */
    this.editing = null;
    this.saving = false;
    /** @type {{code?: string} | null} */
    this.saveProblem = null;
    /** @type {Set<string>} ids of long artifacts shown whole */
    this.opened = new Set();
    /** @type {HTMLElement | null} the text as Markdown, once parsed */
    this.rich = null;
    this.richKey = "";
    /** @type {Map<File, string>} */
    this.addresses = new Map();
  }

  get t() {
    return translator(this.language);
  }

  get #colon() {
    return this.language === "zh" ? "：" : ":";
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const url of this.addresses.values()) URL.revokeObjectURL(url);
    this.addresses.clear();
  }

  /** @param {File} file */
  #localUrl(file) {
    let url = this.addresses.get(file);
    if (!url) this.addresses.set(file, (url = URL.createObjectURL(file)));
    return url;
  }

  /** @param {string} name @param {object} [detail] */
  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  willUpdate() {
    const message = this.message;
    if (!message || message.author !== "bot" || this.streaming) return;
    const key = `${this.language}|${message.text}|${(message.citations ?? []).map(({ n }) => n).join()}`;
    if (key === this.richKey) return;
    this.richKey = key;
    renderMarkdown(message.text, { origin: this.origin })
      .then((root) => {
        if (key !== this.richKey) return;
        chipCitations(root, message.citations ?? [], ({ n, title }) => this.t("source.open", { n, title }));
        this.rich = root;
      })
      .catch(() => {
        this.rich = null; // the parser could not be loaded: the plain text stays
      });
  }

  render() {
    const message = this.message;
    if (!message) return nothing;
    if (message.kind === "notice" || message.kind === "csat") return this.#notice(message);
    const own = this.viewer === "customer" ? message.author === "customer" : message.author !== "customer";
    const private_ = message.private || message.kind === "note";
    return html`<article class="message ${own ? "own" : "other"} ${message.author} ${message.kind} ${private_ ? "private" : ""}">
      ${this.grouped ? nothing : this.#header(message, own)}
      ${private_ ? html`<p class="tag">${icon("note", 14)} ${this.t("private")}</p>` : nothing}
      ${this.#bubble(message)}
      ${this.#files(message)}
      ${this.#pictures(message)}
      ${this.#sources(message)}
      ${this.#options(message)}
      ${this.#feedback(message)}
      ${this.#delivery()}
    </article>`;
  }

  /** @param {Message} message */
  #notice(message) {
    return html`<p class="notice">${message.text}<time datetime=${message.created_at}>${formatTime(message.created_at, this.language)}</time></p>`;
  }

  /** @param {Message} message @param {boolean} own */
  #header(message, own) {
    const t = this.t;
    const time = html`<time datetime=${message.created_at}>${formatTime(message.created_at, this.language)}</time>`;
    if (own && this.viewer === "customer") return html`<header class="sr-only">${t("author.customer")}, ${time}</header>`;
    const bot = message.author === "bot";
    const name = bot ? this.botName || t("author.bot") : message.agent?.name || t(`author.${message.author}`);
    return html`<header>
      <span class="name">${name}</span>
      ${bot || message.ai ? html`<span class="ai" title=${t("ai.long")}><span aria-hidden="true">${t("ai.label")}</span><span class="sr-only">${t("ai.long")}</span></span>` : nothing}
      ${time}
    </header>`;
  }

  /** @param {Message} message */
  #bubble(message) {
    if (!message.text && !this.streaming) return nothing;
    const sign = message.kind === "handoff" ? icon("person", 18) : message.kind === "holding" ? icon("clock", 18) : nothing;
    const rich = message.author === "bot" && !this.streaming && this.rich;
    const body = rich ? html`<div @click=${this.#chosenSource}>${this.rich}</div>` : html`<div class="plain">${linked(message.text)}${this.streaming ? html`<span class="caret"></span>` : nothing}</div>`;
    return html`<div class="bubble" lang=${message.language === "zh" ? "zh-CN" : (message.language ?? this.language)}>${sign}${body}</div>`;
  }

  /** @param {MouseEvent} event */
  #chosenSource = (event) => {
    const n = Number(/** @type {HTMLElement} */ (event.target).closest?.("button.cite")?.getAttribute("data-n"));
    const citation = this.message?.citations.find((one) => one.n === n);
    if (citation) this.#tell("open-source", { citation });
  };

  /** @param {Message} message */
  #files(message) {
    const parts = message.parts ?? [];
    if (!parts.length && this.localFiles.length) return this.localFiles.map((file) => this.#localFile(file));
    return parts.map((part, i) => this.#part(part, this.localFiles[i]));
  }

  /** @param {File} file */
  #localFile(file) {
    const url = this.#localUrl(file);
    if (file.type.startsWith("image/")) return html`<div class="picture"><img src=${url} alt=${file.name} /></div>`;
    if (file.type.startsWith("audio/")) return html`<div class="sound"><duomo-audio src=${url} language=${this.language}></duomo-audio></div>`;
    return html`<div class="file">${icon("document", 22)}<span>${file.name}</span></div>`;
  }

  /** @param {Part} part @param {File} [local] */
  #part(part, local) {
    return html`<div class="part">
      ${part.state === "refused" ? this.#refused(part) : part.kind === "image" ? this.#image(part, local) : part.kind === "audio" ? this.#audio(part, local) : this.#document(part)}
      ${(part.artifacts ?? []).map((artifact) => this.#artifact(artifact))}
    </div>`;
  }

  /** @param {Part} part */
  #refused(part) {
    const why = part.error ? errorText(part.error, this.t) : this.t("part.refused");
    return html`<div class="file refused">${icon("alert", 22)}<span><strong>${part.name}</strong>${why}</span></div>`;
  }

  /** @param {Part} part @param {File} [local] */
  #image(part, local) {
    const url = part.url ? new URL(part.url, this.origin).href : local ? this.#localUrl(local) : "";
    if (!url) return html`<div class="file">${icon("image", 22)}<span>${part.name}<small>${this.t("part.received")}</small></span></div>`;
    const ratio = part.width && part.height ? `aspect-ratio:${part.width}/${part.height};width:min(100%, ${Math.round(Math.min(280, (260 * part.width) / part.height))}px)` : "";
    return html`<button type="button" class="picture" style=${ratio} aria-label=${this.t("picture.open", { name: part.name })}
      @click=${() => this.#tell("open-picture", { url, alt: part.name })}>
      <img src=${url} alt="" decoding="async" @error=${() => this.#tell("media-expired")} />
    </button>`;
  }

  /** @param {Part} part @param {File} [local] */
  #audio(part, local) {
    const url = part.url ? new URL(part.url, this.origin).href : local ? this.#localUrl(local) : "";
    if (!url) return html`<div class="file">${icon("mic", 22)}<span>${part.name}<small>${this.t("part.received")}</small></span></div>`;
    return html`<div class="sound"><duomo-audio src=${url} .duration=${part.duration_s ?? 0} language=${this.language}></duomo-audio></div>`;
  }

  /** @param {Part} part */
  #document(part) {
    const body = html`${icon("document", 22)}<span>${part.name}${part.state === "received" ? html`<small>${this.t("part.received")}</small>` : nothing}</span>`;
    if (!part.url) return html`<div class="file">${body}</div>`;
    return html`<a class="file" href=${new URL(part.url, this.origin).href} target="_blank" rel="noopener" aria-label=${this.t("document.open", { name: part.name })}>${body}</a>`;
  }

  /** @param {Artifact} artifact */
  #artifact(artifact) {
    if (artifact.kind === "picture_kind") return this.viewer === "agent" ? this.#kind(artifact) : nothing;
    if (!artifact.text && this.viewer === "customer" && artifact.kind !== "transcript") return nothing;
    if (this.editing === artifact.id) return this.#editor(artifact);
    const t = this.t;
    const heard = artifact.kind === "transcript";
    const unsure = artifact.confidence < UNSURE && !artifact.corrected_by;
    const label = t(unsure ? (heard ? "heard.unsure" : "read.unsure") : heard ? "heard" : artifact.kind === "ocr" ? "read" : "read.document");
    const percent = Math.round(artifact.confidence * 100);
    return html`<div class="artifact ${unsure ? "unsure" : ""}">
      <div class="what">
        <span class="label">${unsure ? icon("alert", 14) : nothing}${label}${heard ? this.#colon : nothing}</span>
        ${this.viewer === "agent" ? html`<span class="fine">${t("confidence", { percent })} · ${artifact.model}</span>` : nothing}
      </div>
      <p>${this.#long(artifact)}</p>
      ${artifact.corrected_by ? html`<p class="fine">${icon("check", 14)} ${t(`corrected.${artifact.corrected_by}`)}${this.viewer === "agent" && artifact.original_text ? html` · ${t("corrected.before", { text: artifact.original_text })}` : nothing}</p>` : nothing}
      <button type="button" class="edit" aria-label=${t("edit.label", { text: artifact.text.slice(0, 60) })} title=${t("edit")}
        @click=${() => this.#startEdit(artifact)}>${icon("edit", 16)}</button>
    </div>`;
  }

  /** @param {Artifact} artifact */
  #kind(artifact) {
    const percent = Math.round(artifact.confidence * 100);
    return html`<p class="fine">${this.t("artifact.picture_kind")}: ${this.t(`kind.${artifact.text}`)} · ${this.t("confidence", { percent })} · ${artifact.model}</p>`;
  }

  /** @param {Artifact} artifact */
  #long(artifact) {
    const text = artifact.text || "…";
    if (text.length <= LONG) return text;
    const open = this.opened.has(artifact.id);
    const toggle = () => {
      this.opened = new Set(this.opened);
      if (!this.opened.delete(artifact.id)) this.opened.add(artifact.id);
    };
    return html`${open ? text : `${text.slice(0, LONG - 20)}…`}
      <button type="button" class="link" aria-expanded=${open} @click=${toggle}>${this.t(open ? "less" : "more")}</button>`;
  }

  /** @param {Artifact} artifact */
  async #startEdit(artifact) {
    this.editing = artifact.id;
    this.saveProblem = null;
    await this.updateComplete;
    const field = this.renderRoot.querySelector("textarea");
    field?.focus();
    field?.setSelectionRange(field.value.length, field.value.length);
  }

  /** @param {Artifact} artifact */
  #editor(artifact) {
    const t = this.t;
    /** @param {KeyboardEvent} event */
    const keys = (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        this.#endEdit();
      } else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.#save(artifact);
      }
    };
    return html`<form class="artifact editing" @submit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      this.#save(artifact);
    }}>
      <label class="label" for="edit-field">${t("edit.field")}</label>
      <textarea id="edit-field" rows=${Math.min(6, Math.ceil(artifact.text.length / 28) + 1)} .value=${artifact.text} @keydown=${keys} ?disabled=${this.saving}></textarea>
      ${this.saveProblem ? html`<p class="problem" role="alert">${errorText(this.saveProblem, t)}</p>` : nothing}
      <div class="row">
        <button type="button" class="quiet" @click=${() => this.#endEdit()}>${t("cancel")}</button>
        <button type="submit" class="primary" ?disabled=${this.saving}>${t("save")}</button>
      </div>
    </form>`;
  }

  async #endEdit() {
    this.editing = null;
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector("button.edit"))?.focus();
  }

  /** @param {Artifact} artifact */
  async #save(artifact) {
    const text = this.renderRoot.querySelector("textarea")?.value.trim() ?? "";
    if (!text || text === artifact.text) return this.#endEdit();
    /** @type {Promise<unknown>} */
    let work = Promise.resolve();
    this.#tell("correct-artifact", { artifact, text, waitUntil: (/** @type {Promise<unknown>} */ promise) => (work = promise) });
    this.saving = true;
    this.saveProblem = null;
    try {
      await work;
      await this.#endEdit();
    } catch (error) {
      this.saveProblem = /** @type {{code?: string}} */ (error);
    } finally {
      this.saving = false;
    }
  }

  /** The cited articles' own pictures. @param {Message} message */
  #pictures(message) {
    const shown = (message.citations ?? []).filter((one, i, all) => one.picture_url && all.findIndex((other) => other.picture_url === one.picture_url) === i);
    return shown.slice(0, 2).map((citation) => {
      const url = ownMedia(citation.picture_url ?? "", this.origin)?.href;
      if (!url) return nothing;
      const alt = this.t("picture.of", { title: citation.title });
      return html`<button type="button" class="picture article" aria-label=${this.t("picture.open", { name: alt })} @click=${() => this.#tell("open-picture", { url, alt })}>
        <img src=${url} alt="" decoding="async" @error=${() => this.#tell("media-expired")} />
      </button>`;
    });
  }

  /** @param {Message} message */
  #sources(message) {
    const citations = message.citations ?? [];
    if (!citations.length) return nothing;
    return html`<ul class="sources" aria-label=${this.t("sources")}>
      ${citations.map((citation) => html`<li><button type="button"
        @click=${() => this.#tell("open-source", { citation })}><span class="n">${citation.n}</span> <span class="title">${citation.title}</span></button></li>`)}
    </ul>`;
  }

  /** @param {Message} message */
  #options(message) {
    if (!message.options?.length || this.viewer !== "customer" || !this.answerable) return nothing;
    return html`<div class="options">${message.options.map((text) => html`<button type="button" @click=${() => this.#tell("choose-option", { text })}>${text}</button>`)}</div>`;
  }

  /** @param {Message} message */
  #feedback(message) {
    if (message.kind !== "answer" || this.streaming) return nothing;
    if (this.viewer === "agent")
      return message.feedback ? html`<p class="fine feedback-seen">${icon(message.feedback, 14)} ${this.t(`feedback.${message.feedback}`)}</p>` : nothing;
    /** @param {"up" | "down"} value */
    const thumb = (value) => html`<button type="button" aria-pressed=${message.feedback === value} aria-label=${this.t(`feedback.${value}`)} title=${this.t(`feedback.${value}`)}
      @click=${() => this.#tell("feedback", { value: message.feedback === value ? null : value })}>${icon(value, 16)}</button>`;
    return html`<div class="feedback" role="group" aria-label=${this.t("feedback.ask")}>${thumb("up")}${thumb("down")}</div>`;
  }

  #delivery() {
    if (!this.delivery) return nothing;
    const t = this.t;
    if (this.delivery !== "failed") return html`<p class="delivery">${icon("clock", 14)} ${t(`state.${this.delivery}`)}</p>`;
    return html`<div class="delivery failed">
      <p>${icon("alert", 14)} ${t("state.failed")}${this.problem ? html`${this.#colon} ${errorText(this.problem, t)}` : nothing}</p>
      <button type="button" class="link" @click=${() => this.#tell("retry")}>${t("retry")}</button>
      <button type="button" class="link" @click=${() => this.#tell("discard")}>${t("delete")}</button>
    </div>`;
  }
}

/** Plain text with its web addresses as links. @param {string} text */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"'，。；）)]*[^\s<>"'，。；）).,;:!?])/).map((piece, i) => (i % 2 ? html`<a href=${piece} target="_blank" rel="noopener noreferrer nofollow">${piece}</a>` : piece));
}

customElements.get("duomo-message") ?? customElements.define("duomo-message", DuomoMessage);
