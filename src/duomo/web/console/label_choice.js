// @ts-check
/** Choosing a label by number, by typing, by pressing: a list of its own, and a chip that opens one. */
import { classMap, html, nothing, repeat, styleMap } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { errorText } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { labels } from "./labels.js";

/** @typedef {import("./labels.js").Head} Head */
/** @typedef {{name: string, title: string, share?: number | null, known?: boolean, note?: string}} Option name "": none of them */

const NUMBERED = 9;
const NAME = /^[a-z][a-z0-9_]{0,62}$/;

/** @param {number} share [0, 1] */
export const percent = (share) => `${Math.round(share * 100)}${desk.language === "zh" ? "%" : " %"}`;

/** "Gift card balance" -> gift_card_balance; what no such name can be made of gives "". @param {string} text */
export function nameOf(text) {
  return text.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^[_0-9]+|_+$/g, "").slice(0, 63);
}

let count = 0;

/**
 * A field and the list under it. Events: `choose` {name} ("": none of them), `query` {text}.
 *
 * `options` in their order; `current` is marked; `marked` stands ready for Enter, -1 for nothing; `head`: what a new
 * label would belong to, "" when none can be added; `numbered` shows the digits that choose.
 */
class LabelChoice extends Pane {
  static properties = {
    options: { attribute: false }, current: { attribute: false }, head: {}, numbered: { type: Boolean }, label: {}, ready: { type: Boolean },
    query: { state: true }, marked: { state: true }, adding: { state: true }, problem: { state: true }, busy: { state: true },
  };

  constructor() {
    super();
    /** @type {Option[]} */
    this.options = [];
    /** @type {string | null | undefined} */
    this.current = undefined;
    this.head = "";
    this.numbered = false;
    this.label = "";
    /** Whether Enter takes the first option before anything was typed. */
    this.ready = false;
    this.query = "";
    /** @type {number | null} null: the first one, where `ready` or the typing says so */
    this.marked = null;
    /** The new label that is being named. @type {{name: string, zh: string, en: string} | null} */
    this.adding = null;
    this.problem = "";
    this.busy = false;
    this.list = `choices-${(count += 1)}`;
  }

  reset() {
    this.query = this.problem = "";
    this.marked = this.adding = null;
    /** @type {HTMLElement | null} */ (this.querySelector(".choice-options"))?.scrollTo(0, 0);
  }

  get field() {
    return /** @type {HTMLInputElement | null} */ (this.querySelector("input[role=combobox]"));
  }

  /** What fits the typed words: every word, in the title or the name. @returns {Option[]} */
  get fitting() {
    const words = this.query.trim().toLowerCase().split(/[\s_]+/).filter(Boolean);
    if (!words.length) return this.options;
    /** @param {Option} option */
    const said = ({ name, title }) => `${title} ${name.replaceAll("_", " ")}`.toLowerCase();
    const fitting = this.options.filter((option) => words.every((word) => said(option).includes(word)));
    /** @param {Option} option */
    const begins = (option) => Number(option.title.toLowerCase().startsWith(words[0]) || option.name.startsWith(words[0]));
    return fitting.sort((a, b) => begins(b) - begins(a));
  }

  /** @returns {number} index in `fitting`, -1 while nothing stands ready */
  get at() {
    const last = this.fitting.length - 1;
    if (this.marked !== null) return Math.min(this.marked, last);
    return this.ready || this.query.trim() ? Math.min(0, last) : -1;
  }

  /** @param {string} text */
  type(text) {
    this.query = text;
    this.marked = null;
    this.dispatchEvent(new CustomEvent("query", { detail: { text } }));
  }

  /** @param {1 | -1} step */
  move(step) {
    const n = this.fitting.length;
    if (n) this.marked = this.at < 0 ? (step > 0 ? 0 : n - 1) : (this.at + step + n) % n;
  }

  /** Takes what stands ready; words that fit nothing begin a new label. @returns {boolean} */
  confirm() {
    const option = this.fitting[this.at];
    if (option) this.choose(option);
    else if (this.query.trim() && this.head) this.#begin();
    else return false;
    return true;
  }

  /** @param {number} digit from 1 @returns {boolean} */
  pick(digit) {
    const option = this.query.trim() ? undefined : this.options[digit - 1];
    if (option) this.choose(option);
    return Boolean(option);
  }

  /** @param {Option} option */
  choose(option) {
    this.dispatchEvent(new CustomEvent("choose", { detail: { name: option.name, title: option.title } }));
  }

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.isComposing) return;
    /** @type {Record<string, () => boolean | void>} */
    const keys = {
      ArrowDown: () => this.move(1),
      ArrowUp: () => this.move(-1),
      Enter: () => this.confirm(),
      Escape: () => (this.query ? this.type("") : false),
    };
    const act = /^[1-9]$/.test(event.key) && this.numbered && !this.query ? () => this.pick(Number(event.key)) : keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || act() === false) return;
    event.preventDefault();
    event.stopPropagation();
  };

  // -- a new label ---------------------------------------------------------------------------------------------------

  async #begin() {
    const text = this.query.trim();
    const chinese = /\p{Script=Han}/u.test(text);
    this.adding = { name: nameOf(text), zh: chinese ? text : "", en: chinese ? "" : text };
    this.problem = "";
    await this.updateComplete;
    const fields = [...this.querySelectorAll("form input")].map((field) => /** @type {HTMLInputElement} */ (field));
    (fields.find((field) => !field.value) ?? fields[0])?.focus();
  }

  async #cancel() {
    this.adding = null;
    await this.updateComplete;
    this.field?.focus();
  }

  /** @param {SubmitEvent} event */
  #add = async (event) => {
    event.preventDefault();
    if (!this.adding || this.busy) return;
    const { zh, en } = this.adding;
    const name = this.adding.name.trim();
    if (!NAME.test(name)) {
      this.problem = desk.t("label_name_wrong");
      return;
    }
    this.busy = true;
    try {
      await labels.add(this.head, name, { zh: zh.trim() || en.trim() || name, en: en.trim() || zh.trim() || name });
      this.adding = null;
      this.choose({ name, title: labels.title(this.head, name) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.problem = error.code === "conflict" ? desk.t("label_name_taken") : errorText(error, desk.t);
    } finally {
      this.busy = false;
    }
  };

  #form() {
    const { t } = desk;
    const { adding } = this;
    if (!adding) return nothing;
    /** @param {"name" | "zh" | "en"} key */
    const field = (key) => html`<label>${t(`label_${key}`)}<input name=${key} .value=${adding[key]} autocomplete="off" spellcheck="false" lang=${key === "zh" ? "zh-CN" : "en"}
      @input=${(/** @type {Event} */ event) => {
        adding[key] = /** @type {HTMLInputElement} */ (event.target).value;
        this.problem = "";
      }} /></label>`;
    return html`<form class="new-label" aria-label=${t("label_new")} @submit=${this.#add} @keydown=${(/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      void this.#cancel();
    }}>
      <p class="new-label-title">${t("label_new")}</p>
      ${field("zh")} ${field("en")} ${field("name")}
      ${this.problem ? html`<p class="field-error" role="alert">${icon("alert", 15)}${this.problem}</p>` : nothing}
      <div class="form-buttons"><button class="button small" type="button" @click=${() => this.#cancel()}>${t("cancel")}</button>
        <button class="button primary small" type="submit" ?disabled=${this.busy}>${t("label_add")}</button></div>
    </form>`;
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  updated() {
    this.querySelector("[role=option][data-at]")?.scrollIntoView({ block: "nearest" });
  }

  render() {
    const { t } = desk;
    if (this.adding) return this.#form();
    const { fitting, at } = this;
    const digits = this.numbered && !this.query.trim();
    return html`<div class="choice-field">${icon("search", 16)}
        <input type="text" role="combobox" aria-label=${this.label} placeholder=${t("label_type")} autocomplete="off" spellcheck="false" aria-expanded="true" aria-controls=${this.list}
          aria-activedescendant=${at >= 0 ? `${this.list}-${at}` : nothing} .value=${this.query}
          @input=${(/** @type {Event} */ event) => this.type(/** @type {HTMLInputElement} */ (event.target).value)} @keydown=${this.#key} /></div>
      <ul class="choice-options" role="listbox" id=${this.list} aria-label=${this.label}>
        ${repeat(fitting, (option) => option.name, (option, index) => html`<li role="option" id="${this.list}-${index}" aria-selected=${option.name === this.current ? "true" : "false"} data-name=${option.name}
            ?data-at=${index === at} class=${classMap({ none: option.name === "" })} @click=${() => this.choose(option)}>
          ${digits ? (index < NUMBERED ? html`<kbd aria-hidden="true">${index + 1}</kbd>` : html`<span></span>`) : nothing}
          <span class="choice-title">${option.title}</span>
          ${option.note ? html`<span class="choice-note">${option.note}</span>` : nothing}
          ${option.known === false ? html`<span class="choice-note">${t("label_unlearned")}</span>` : nothing}
          ${option.share === null || option.share === undefined ? nothing : html`<span class="choice-share"><span class="share-bar" aria-hidden="true"><i style=${styleMap({ width: `${Math.round(option.share * 100)}%` })}></i></span>${percent(option.share)}</span>`}
          ${option.name === this.current ? icon("check", 15) : nothing}
        </li>`)}
      </ul>
      ${fitting.length ? nothing : html`<p class="choice-none muted">${t("label_no_match")}</p>`}
      ${this.head && this.query.trim() ? html`<button class="choice-new" type="button" @click=${() => this.#begin()}>${icon("plus", 16)}${t("label_new_of", { text: this.query.trim() })}</button>` : nothing}`;
  }
}
customElements.define("label-choice", LabelChoice);

/** Beneath or above a button, inside the window. @param {HTMLElement} panel @param {Element} anchor */
export function place(panel, anchor) {
  const { left, top, bottom } = anchor.getBoundingClientRect();
  const [width, height] = [panel.offsetWidth, panel.offsetHeight];
  const under = bottom + 6 + height <= innerHeight - 8 || bottom < innerHeight - top;
  Object.assign(panel.style, {
    left: `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`,
    // it stays at the button when a shorter list makes it shrink
    top: under || top - height < 14 ? `${Math.max(8, Math.min(bottom + 6, innerHeight - height - 8))}px` : "auto",
    bottom: under || top - height < 14 ? "auto" : `${innerHeight - top + 6}px`,
  });
}

/** A button whose panel holds a `label-choice`; the browser closes it, and gives the focus back. Event: `choose` {name}. */
class LabelPicker extends Pane {
  static properties = { face: { attribute: false }, cls: {}, label: {}, options: { attribute: false }, current: { attribute: false }, head: {}, open: { state: true } };

  constructor() {
    super();
    /** What the button shows. @type {unknown} */
    this.face = "";
    this.cls = "";
    this.label = "";
    /** Asked for when the panel opens. @type {() => Option[]} */
    this.options = () => [];
    /** @type {string | null | undefined} */
    this.current = undefined;
    this.head = "";
    this.open = false;
  }

  get panel() {
    return /** @type {HTMLElement} */ (this.querySelector(".picker-panel"));
  }

  async show() {
    this.open = true;
    await this.updateComplete;
    const choice = /** @type {LabelChoice} */ (this.querySelector("label-choice"));
    choice.reset();
    await choice.updateComplete;
    this.panel.showPopover();
    place(this.panel, /** @type {Element} */ (this.querySelector("button")));
    choice.field?.focus();
  }

  /** @param {Event} event */
  #toggled = (event) => {
    this.open = /** @type {ToggleEvent} */ (event).newState === "open";
  };

  /** @param {CustomEvent} event */
  #chosen = (event) => {
    event.stopPropagation();
    this.panel.hidePopover();
    /** @type {HTMLElement | null} */ (this.querySelector("button"))?.focus();
    this.dispatchEvent(new CustomEvent("choose", { detail: event.detail }));
  };

  render() {
    return html`<button class=${this.cls} type="button" aria-haspopup="listbox" aria-expanded=${this.open ? "true" : "false"} @click=${() => this.show()}>${this.face}</button>
      <div class="picker-panel" popover @toggle=${this.#toggled}>
        ${this.open ? html`<label-choice numbered ready .label=${this.label} .options=${this.options()} .current=${this.current} .head=${this.head} @choose=${this.#chosen}
          @query=${(/** @type {CustomEvent} */ event) => this.dispatchEvent(new CustomEvent("query", { detail: event.detail }))}></label-choice>` : nothing}
      </div>`;
  }
}
customElements.define("label-picker", LabelPicker);
