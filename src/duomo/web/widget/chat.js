// @ts-check
import { html, LitElement, nothing, ref, repeat } from "../vendor/lit.js";
import "../shared/message.js";
import "./camera.js";
import "./composer.js";
import "./csat.js";
import "./source.js";
import "./words.js";
import { detectLanguage, errorText, localeOf, translator } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { preloadMarkdown } from "../shared/markdown.js";
import { hiddenStyles } from "../shared/message-styles.js";
import { accentVariables, isDark } from "../shared/theme.js";
import { tokens } from "../shared/tokens.js";
import { Session } from "./session.js";
import { controlStyles, panelStyles } from "./styles.js";

/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {import("./session.js").Pending} Pending */

const PHONE = "(max-width: 520px)";

/** The launcher and the panel. Methods for the page: open(), close(), ask(text), speak(language). */
export class DuomoChat extends LitElement {
  static properties = {
    opened: { state: true },
    language: { state: true },
    menu: { state: true },
    sheet: { state: true },
    picture: { state: true },
    dragging: { state: true },
    problem: { state: true },
    below: { state: true },
    said: { state: true },
  };

  static styles = [tokens, controlStyles, hiddenStyles, panelStyles];

  constructor() {
    super();
    this.server = location.origin;
    this.workspace = "demo";
    this.wantedLanguage = "auto";
    this.wantedTheme = "auto";
    this.accent = "";
    this.opened = false;
    /** @type {import("../shared/i18n.js").Language} */
    this.language = "en";
    this.menu = false;
    /** @type {{kind: "source", citation: import("../shared/protocol").Citation} | {kind: "camera"} | null} */
    this.sheet = null;
    /** @type {{url: string, alt: string} | null} */
    this.picture = null;
    this.dragging = 0;
    /** @type {string | null} */
    this.problem = null;
    this.below = false;
    this.said = "";
    /** @type {HTMLElement | null} what had the focus before a sheet or picture opened */
    this.returnTo = null;
    this.atEnd = true;
    /** @type {Session | null} */
    this.session = null;
  }

  get t() {
    return translator(this.language);
  }

  connectedCallback() {
    super.connectedCallback();
    const session = (this.session ??= this.#start());
    this.gone = new AbortController();
    const { signal } = this.gone;
    document.addEventListener("visibilitychange", this.#visibility, { signal });
    addEventListener("online", () => this.requestUpdate(), { signal });
    addEventListener("offline", () => this.requestUpdate(), { signal });
    matchMedia(PHONE).addEventListener("change", () => this.#fitPhone(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#dress(), { signal });
    visualViewport?.addEventListener("resize", this.#fitKeyboard, { signal });
    visualViewport?.addEventListener("scroll", this.#fitKeyboard, { signal });
    session.resume();
    this.#dress();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.gone?.abort();
    this.session?.pause();
    document.documentElement.style.removeProperty("overflow");
  }

  #start() {
    const session = new Session({ server: this.server, workspace: this.workspace, language: detectLanguage(this.wantedLanguage) });
    const kept = session.kept.get("language");
    if (kept === "zh" || kept === "en") session.language = kept;
    this.language = session.language;
    session.addEventListener("change", () => this.#sessionChanged());
    session.addEventListener("arrived", (event) => this.#announce(/** @type {CustomEvent} */ (event).detail.message));
    session.begin().catch((error) => {
      this.problem = errorText(error, this.t);
    });
    return session;
  }

  /** Theme and accent of this host. */
  #dress() {
    const theme = this.session?.kept.get("theme") ?? this.wantedTheme;
    if (theme === "light" || theme === "dark") this.dataset.theme = theme;
    else delete this.dataset.theme;
    for (const [name, value] of Object.entries(accentVariables(this.accent, isDark(this)))) this.style.setProperty(name, value);
    this.requestUpdate();
  }

  // ---- open and close ---------------------------------------------------------------------------------------------

  async open() {
    this.opened = true;
    this.atEnd = true;
    this.#fitPhone();
    this.session?.markRead();
    await this.updateComplete;
    this.#toEnd();
    this.#composer?.focus();
  }

  async close() {
    this.opened = false;
    this.menu = false;
    this.sheet = null;
    this.#fitPhone();
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".launcher"))?.focus();
  }

  /** Opens with words in the field, e.g. from a product page. @param {string} text */
  async ask(text) {
    await this.open();
    this.#composer?.write(text);
  }

  get #composer() {
    return /** @type {import("./composer.js").DuomoComposer | null} */ (this.renderRoot.querySelector("duomo-composer"));
  }

  /** A full-screen panel must not let the page scroll behind it. */
  #fitPhone() {
    if (this.opened && matchMedia(PHONE).matches) document.documentElement.style.setProperty("overflow", "hidden");
    else document.documentElement.style.removeProperty("overflow");
    this.#fitKeyboard();
  }

  /** iOS lays the keyboard over fixed elements: the panel follows the part of the page that is seen. */
  #fitKeyboard = () => {
    const view = visualViewport;
    if (!view || view.scale !== 1) return;
    this.style.setProperty("--keyboard-height", `${Math.round(view.height)}px`);
    this.style.setProperty("--keyboard-top", `${Math.round(view.offsetTop)}px`);
    if (this.atEnd) this.#toEnd();
  };

  #visibility = () => {
    if (document.hidden) this.session?.pause();
    else {
      this.session?.resume();
      if (this.opened) this.session?.markRead();
    }
  };

  // ---- the log ----------------------------------------------------------------------------------------------------

  #sessionChanged() {
    if (this.session?.streaming.size) preloadMarkdown().catch(() => {});
    if (this.opened && !document.hidden) this.session?.markRead();
    this.requestUpdate();
  }

  #toEnd = () => {
    const log = this.renderRoot.querySelector(".log");
    if (!log) return;
    const end = log.scrollHeight - log.clientHeight;
    const last = /** @type {HTMLElement | null} */ (log.querySelector("ol > li:last-child"));
    const said = /** @type {any} */ (last?.querySelector("duomo-message"))?.message;
    // an answer longer than what is seen is read from its beginning; whoever went on reading is not taken back
    const begin = last && said && said.author !== "customer" ? Math.max(log.scrollTop, last.offsetTop - 12) : end;
    log.scrollTop = Math.min(end, begin);
    this.below = false;
  };

  #scrolled = () => {
    const log = this.renderRoot.querySelector(".log");
    if (!log) return;
    // Only a move upwards is the customer's wish to stay there; content that grew below is not.
    if (log.scrollHeight - log.scrollTop - log.clientHeight < 80) this.atEnd = true;
    else if (log.scrollTop < this.#scrollTop) this.atEnd = false;
    this.#scrollTop = log.scrollTop;
    if (this.atEnd) this.below = false;
  };

  #scrollTop = 0;

  #growth = new ResizeObserver(() => this.atEnd && this.#toEnd());

  /** Whatever grows (an answer, a picture, the field below) keeps the end in view. @param {Element | undefined} content */
  #watch = (content) => {
    this.#growth.disconnect();
    for (const one of [content, content?.parentElement]) if (one) this.#growth.observe(one);
  };

  /** @param {Message} message */
  #announce(message) {
    const name = message.author === "bot" ? this.t("author.bot_spoken") : message.agent?.name || this.t(`author.${message.author}`);
    this.said = this.t("said", { name, text: message.text.replace(/\s?\[\d+\]/g, "") });
    if (!this.atEnd) this.below = true;
  }

  // ---- what a customer does ---------------------------------------------------------------------------------------

  /** @param {string} text @param {File[]} [files] */
  #send(text, files = []) {
    this.atEnd = true;
    this.problem = null;
    this.session?.send({ text, files });
  }

  /** Shows why something did not work. @param {Promise<unknown> | undefined} work */
  async #attempt(work) {
    this.problem = null;
    try {
      await work;
    } catch (error) {
      this.problem = errorText(/** @type {{code?: string}} */ (error), this.t);
    }
  }

  /** Changes the language, e.g. together with the page's. @param {import("../shared/i18n.js").Language} language */
  speak(language) {
    this.language = language;
    this.session?.kept.set("language", language);
    this.#attempt(this.session?.speak(language));
  }

  #speakOther = () => {
    this.menu = false;
    this.speak(this.language === "zh" ? "en" : "zh");
    this.#focus(".menu-button");
  };

  #flipTheme = () => {
    this.session?.kept.set("theme", isDark(this) ? "light" : "dark");
    this.menu = false;
    this.#dress();
    this.#focus(".menu-button");
  };

  #startNew = async () => {
    this.menu = false;
    this.problem = null;
    this.session?.startNew();
    await this.updateComplete;
    this.#composer?.focus();
  };

  /** @param {boolean} value */
  #consent(value) {
    this.#attempt(this.session?.setConsent(value));
  }

  #askPerson = () => {
    this.menu = false;
    this.atEnd = true;
    this.#attempt(this.session?.handoff());
    this.#composer?.focus();
  };

  /** @param {string} selector */
  async #focus(selector) {
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(selector))?.focus();
  }

  // ---- sheets, pictures, dropping -----------------------------------------------------------------------------------

  /** The element with the focus, through shadow roots. */
  #focused() {
    let element = /** @type {HTMLElement | null} */ (this.shadowRoot?.activeElement ?? null);
    while (element?.shadowRoot?.activeElement) element = /** @type {HTMLElement} */ (element.shadowRoot.activeElement);
    return element;
  }

  /** @param {NonNullable<DuomoChat["sheet"]>} sheet */
  #openSheet(sheet) {
    this.returnTo = this.#focused();
    this.menu = false;
    this.sheet = sheet;
  }

  #closeSheet = async () => {
    this.sheet = null;
    await this.updateComplete;
    if (this.returnTo?.isConnected) this.returnTo.focus();
    else this.#composer?.focus();
  };

  /** @param {CustomEvent<{url: string, alt: string}>} event */
  #openPicture = async (event) => {
    this.picture = event.detail;
    await this.updateComplete;
    const dialog = this.renderRoot.querySelector("dialog");
    if (dialog && !dialog.open) dialog.showModal(); // gives the focus back by itself
  };

  #closePicture = () => this.renderRoot.querySelector("dialog")?.close();

  /** @param {DragEvent} event */
  #drag = (event) => {
    if (!event.dataTransfer?.types.includes("Files") || this.sheet) return;
    event.preventDefault();
    if (event.type === "dragenter") this.dragging += 1;
    if (event.type === "dragleave") this.dragging = Math.max(0, this.dragging - 1);
    if (event.type !== "drop") return;
    this.dragging = 0;
    this.#composer?.add([...event.dataTransfer.files]);
  };

  /** @param {KeyboardEvent} event */
  #keys = (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (this.menu) {
        this.menu = false;
        this.#focus(".menu-button");
      } else if (this.sheet) this.#closeSheet();
      else this.close();
    }
    if (event.key === "Tab" && matchMedia(PHONE).matches) this.#keepInside(event);
  };

  /** Full screen is modal: Tab goes round. @param {KeyboardEvent} event */
  #keepInside(event) {
    const reachable = tabbable(this.renderRoot.querySelector(".panel"));
    const focused = this.#focused();
    const [first, last] = [reachable[0], reachable.at(-1)];
    if (event.shiftKey && focused === first) last?.focus();
    else if (!event.shiftKey && focused === last) first?.focus();
    else return;
    event.preventDefault();
  }

  // ---- rendering --------------------------------------------------------------------------------------------------

  render() {
    if (!this.session) return nothing;
    return html`<div class="root" lang=${localeOf(this.language)}>
      ${this.opened ? this.#panel() : this.#launcher()}
      <div class="sr-only" role="status" aria-live="polite">${this.said}</div>
    </div>`;
  }

  #launcher() {
    const unread = this.session?.unread ?? 0;
    const label = unread ? this.t("launcher.unread", { n: unread }) : this.t("launcher.open");
    return html`<button type="button" class="launcher" aria-label=${label} aria-haspopup="dialog" @click=${() => this.open()}>
      ${icon("chat", 28)}${unread ? html`<span class="badge" aria-hidden="true">${unread > 9 ? "9+" : unread}</span>` : nothing}
    </button>`;
  }

  get #title() {
    return this.session?.workspace?.title[this.language] ?? this.t("app.name");
  }

  get #botName() {
    return this.session?.workspace?.bot_name[this.language] ?? this.t("author.bot");
  }

  #panel() {
    const t = this.t;
    const phone = matchMedia(PHONE).matches;
    return html`<section class="panel" role="dialog" aria-modal=${phone} aria-label=${t("panel.label", { title: this.#title })}
      @keydown=${this.#keys} @dragenter=${this.#drag} @dragover=${this.#drag} @dragleave=${this.#drag} @drop=${this.#drag}
      @open-picture=${this.#openPicture}>
      <div class="main" ?inert=${this.sheet !== null}>
        ${this.#head()} ${this.#strips()}
        <div class="logbox">
          <div class="log" role="log" aria-live="off" aria-label=${t("log.label")} tabindex="0" @scroll=${this.#scrolled}>
            <div ${ref(this.#watch)}>
              ${this.#welcome()}
              <ol>${this.#items()}</ol>
              ${this.#working()}
            </div>
          </div>
          ${this.below ? html`<button type="button" class="below" @click=${this.#toEnd}>${icon("minimise", 18)}${t("new.below")}</button>` : nothing}
        </div>
        <duomo-composer language=${this.language} .limits=${this.session?.workspace?.limits ?? DEFAULT_LIMITS}
          @send=${(/** @type {CustomEvent} */ { detail }) => this.#send(detail.text, detail.files)}
          @open-camera=${() => this.#openSheet({ kind: "camera" })}></duomo-composer>
        ${this.#foot()}
        ${this.menu ? this.#menu() : nothing}
      </div>
      ${this.#sheet()}
      ${this.dragging ? html`<div class="drop">${icon("image", 36)}${t("composer.drop")}</div>` : nothing}
      <dialog aria-label=${this.picture?.alt || t("picture.title")} @click=${this.#closePicture} @close=${() => (this.picture = null)} @keydown=${(/** @type {Event} */ event) => event.stopPropagation()}>
        ${this.picture ? html`<button type="button" class="round" aria-label=${t("close")} @click=${this.#closePicture}>${icon("close", 22)}</button>
          <figure><img src=${this.picture.url} alt=${this.picture.alt} /></figure><figcaption aria-hidden="true">${this.picture.alt}</figcaption>` : nothing}
      </dialog>
    </section>`;
  }

  #head() {
    const t = this.t;
    const { status = "", assignee = null } = this.session ?? {};
    const person = status === "open" && assignee;
    const line = person ? t("panel.with_person", { name: assignee.name }) : status === "open" ? t("panel.waiting_person") : status === "resolved" ? t("panel.resolved") : t("panel.with_bot");
    return html`<header class="head">
      ${person ? html`<span class="avatar person" aria-hidden="true">${[...assignee.name][0]}</span>` : html`<span class="avatar">${icon("chat", 22)}</span>`}
      <div class="who"><h2>${this.#title}</h2><p>${line}</p></div>
      <div class="tools">
        <button type="button" class="round menu-button" aria-label=${t("menu")} title=${t("menu")} aria-expanded=${this.menu} @click=${() => (this.menu = !this.menu)}>${icon("more", 22)}</button>
        <button type="button" class="round" aria-label=${t("panel.close")} title=${t("panel.close")} @click=${() => this.close()}>${icon("minimise", 22)}</button>
      </div>
    </header>`;
  }

  #menu() {
    const t = this.t;
    const dark = isDark(this);
    return html`<div class="menu" @focusout=${(/** @type {FocusEvent} */ event) => {
      const next = /** @type {Node | null} */ (event.relatedTarget);
      if (next && !(/** @type {Node} */ (event.currentTarget).contains(next))) this.menu = false;
    }}>
      <button type="button" lang=${this.language === "zh" ? "en" : "zh-CN"} @click=${this.#speakOther}>${icon("globe")}${t("menu.language")}</button>
      <button type="button" @click=${this.#flipTheme}>${icon(dark ? "sun" : "moon")}${t(dark ? "menu.theme.light" : "menu.theme.dark")}</button>
      <button type="button" @click=${this.#askPerson}>${icon("person")}${t("menu.person")}</button>
      <button type="button" @click=${this.#startNew}>${icon("plus")}${t("menu.new")}</button>
      <button type="button" role="switch" aria-checked=${this.session?.mayTrain ? "true" : "false"} @click=${() => this.#consent(!this.session?.mayTrain)}>${icon(this.session?.mayTrain ? "check" : "close")}${t(this.session?.mayTrain ? "menu.consent.on" : "menu.consent.off")}</button>
    </div>`;
  }

  #strips() {
    const t = this.t;
    const offline = !navigator.onLine;
    const line = offline ? t("offline") : this.session?.line === "waiting" ? t("reconnecting") : null;
    return html`<div role="status">${line ? html`<div class="strip">${icon(offline ? "offline" : "retry", 18)}<span>${line}</span></div>` : nothing}</div>
      ${this.problem ? html`<div class="strip problem" role="alert">${icon("alert", 18)}<span>${this.problem}</span>
        <button type="button" class="round" aria-label=${t("close")} @click=${() => (this.problem = null)}>${icon("close", 16)}</button></div>` : nothing}`;
  }

  #welcome() {
    const session = this.session;
    const greeting = session?.workspace?.greeting[this.language];
    if (!session || !greeting) return nothing;
    const t = this.t;
    const empty = !session.messages.length && !session.unsent.length;
    const message = { ...BLANK, id: "greeting", author: "bot", kind: "text", ai: true, text: greeting, language: this.language, created_at: this.#since };
    return html`<div class="welcome">
      <duomo-message .message=${message} language=${this.language} origin=${this.server} .botName=${this.#botName}></duomo-message>
      ${empty ? html`<div class="hints"><p>${t("hint.title")}</p><div>
        <button type="button" @click=${() => this.#composer?.focus()}>${icon("edit", 24)}${t("hint.write")}</button>
        <button type="button" @click=${() => this.#composer?.record()}>${icon("mic", 24)}${t("hint.speak")}</button>
        <button type="button" @click=${() => this.#composer?.choose()}>${icon("image", 24)}${t("hint.show")}</button>
      </div></div>` : nothing}
      ${session.asksConsent ? html`<div class="hints consent"><p>${t("consent.ask")}</p><div>
        <button type="button" @click=${() => this.#consent(true)}>${t("consent.yes")}</button>
        <button type="button" @click=${() => this.#consent(false)}>${t("consent.no")}</button>
      </div></div>` : nothing}
    </div>`;
  }

  #since = new Date().toISOString();

  #items() {
    const session = this.session;
    if (!session) return nothing;
    /** @type {{message: Message, streaming?: boolean, pending?: Pending}[]} */
    const items = session.messages.map((message) => ({ message }));
    for (const [id, text] of session.streaming) {
      items.push({ message: { ...BLANK, id, author: "bot", kind: "answer", ai: true, text, created_at: new Date().toISOString() }, streaming: true });
    }
    for (const pending of session.unsent) {
      items.push({ message: { ...BLANK, id: pending.id, author: "customer", text: pending.text, language: pending.language, created_at: pending.createdAt }, pending });
    }
    const rated = session.kept.get("rated");
    const lastQuestion = items.findLast(({ message }) => message.kind === "csat")?.message.id;
    return repeat(items, ({ message }) => message.id, ({ message, streaming, pending }, i) => {
      const grouped = i > 0 && items[i - 1].message.author === message.author && items[i - 1].message.agent?.id === message.agent?.id && !isLine(message) && !isLine(items[i - 1].message);
      const last = i === items.length - 1;
      return html`<li class=${grouped ? "grouped" : ""}>
        ${message.kind === "csat" && (message.id === lastQuestion || message.id === rated)
          ? html`<duomo-csat language=${this.language} ?done=${message.id === rated} @rate=${(/** @type {CustomEvent} */ { detail }) => detail.waitUntil(session.rate(detail.score, detail.comment, message.id))}></duomo-csat>`
          : this.#message(message, { grouped, last, streaming, pending })}
      </li>`;
    });
  }

  /** @param {Message} message @param {{grouped: boolean, last: boolean, streaming?: boolean, pending?: Pending}} how */
  #message(message, { grouped, last, streaming = false, pending }) {
    const session = /** @type {Session} */ (this.session);
    return html`<duomo-message .message=${message} language=${this.language} viewer="customer" origin=${this.server} ?grouped=${grouped} ?streaming=${streaming} .answerable=${last}
      .delivery=${pending ? pending.state : null} .problem=${pending?.problem ?? null} .localFiles=${session.localFiles.get(message.id) ?? NO_FILES} .botName=${this.#botName}
      @open-source=${(/** @type {CustomEvent} */ { detail }) => this.#openSheet({ kind: "source", citation: detail.citation })}
      @choose-option=${(/** @type {CustomEvent} */ { detail }) => this.#send(detail.text)}
      @feedback=${(/** @type {CustomEvent} */ { detail }) => this.#attempt(session.feedback(message.id, detail.value))}
      @correct-artifact=${(/** @type {CustomEvent} */ { detail }) => detail.waitUntil(session.correct(detail.artifact.id, detail.text))}
      @retry=${() => session.retry(message.id)} @discard=${() => session.discard(message.id)}
      @media-expired=${() => session.renewMedia()}></duomo-message>`;
  }

  #working() {
    const session = this.session;
    if (!session || session.streaming.size || session.turn.state === "done" || !["", "pending"].includes(session.status)) return nothing;
    const [medium] = session.turn.waiting_for;
    const key = session.turn.state === "waiting" && medium ? `waiting.${medium}` : medium ? `working.${medium}` : "working";
    return html`<div class="working" role="status"><span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>${this.t(key)}</div>`;
  }

  #foot() {
    const t = this.t;
    const { status = "", personAsked = false } = this.session ?? {};
    if (status === "open" || status === "snoozed") return html`<div class="foot"></div>`;
    return html`<div class="foot"><span>${t("foot.ai")}</span>${personAsked ? html`<span role="status">${t("foot.waiting")}</span>` : html`<button type="button" class="text-button person" @click=${this.#askPerson}>${t("foot.person")}</button>`}</div>`;
  }

  #sheet() {
    if (this.sheet?.kind === "source")
      return html`<duomo-source .citation=${this.sheet.citation} .load=${(/** @type {string} */ id) => this.session?.article(id)} language=${this.language} origin=${this.server} @close=${this.#closeSheet}></duomo-source>`;
    if (this.sheet?.kind !== "camera") return nothing;
    return html`<duomo-camera language=${this.language} @close=${this.#closeSheet}
      @photo=${async (/** @type {CustomEvent} */ { detail }) => {
        await this.#closeSheet();
        this.#composer?.add([detail.file]);
      }}
      @choose-file=${async () => {
        await this.#closeSheet();
        this.#composer?.choose(true);
      }}></duomo-camera>`;
  }
}

/** @type {File[]} */
const NO_FILES = [];

/** Until the server has said its own. */
const DEFAULT_LIMITS = { max_files: 5, max_bytes: 20 * 1024 ** 2, max_audio_s: 120, accept: [] };

/** @type {Message} */
const BLANK = {
  id: "", conversation_id: "", seq: Infinity, author: "customer", kind: "text", text: "", language: null, created_at: "", feedback: null, parts: [], citations: [], options: [],
};

/** @param {Message} message */
const isLine = ({ kind }) => kind === "notice" || kind === "csat";

/** Elements that Tab reaches, in order, through shadow roots. @param {Element | null} root @returns {HTMLElement[]} */
function tabbable(root) {
  if (!root || root.matches("[inert], [hidden], dialog:not([open])")) return [];
  const self = /** @type {HTMLElement} */ (root);
  const reachable = root.matches("button:not(:disabled), a[href], textarea, input, [tabindex='0']") && self.checkVisibility();
  const children = [...(root.shadowRoot ?? root).children].flatMap(tabbable);
  return reachable ? [self, ...children] : children;
}

customElements.get("duomo-chat") ?? customElements.define("duomo-chat", DuomoChat);
