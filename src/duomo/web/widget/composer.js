// @ts-check
import { css, html, LitElement, nothing } from "../vendor/lit.js";
import "../shared/audio.js";
import { errorText, formatBytes, formatDuration, translator } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { fitPicture, Recorder } from "../shared/media.js";
import { hiddenStyles } from "../shared/message-styles.js";
import { controlStyles } from "./styles.js";

/** @typedef {import("../shared/media.js").VoiceNote} VoiceNote */

const BARS = 40; // of the level meter

/**
 * Where a message is written, spoken and given its files. Properties: language, limits.
 * Events: `send` {text, files}, `open-camera`.
 */
export class DuomoComposer extends LitElement {
  static properties = {
    language: {},
    limits: { attribute: false },
    files: { state: true },
    text: { state: true },
    mode: { state: true },
    seconds: { state: true },
    note: { state: true },
    problem: { state: true },
  };

  static styles = [
    controlStyles,
    hiddenStyles,
    css`
      :host { display: block; padding: 4px 14px 8px; }
      .box { border: 1px solid var(--line-strong); border-radius: 18px; background: var(--surface); transition: border-color var(--fast), box-shadow var(--fast); }
      .box:focus-within { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
      textarea { display: block; width: 100%; min-height: 46px; max-height: 150px; padding: 11px 16px 5px; border: 0; outline: 0 !important; font-size: 16px; line-height: 1.5; background: none; resize: none; field-sizing: content; }
      textarea::placeholder { color: var(--ink-3); opacity: 1; }
      .row { display: flex; align-items: center; gap: 2px; padding: 0 6px 6px; }
      .row .space { flex: 1; }
      .files { display: flex; flex-wrap: wrap; gap: 8px; margin: 0; padding: 12px 12px 0; list-style: none; }
      .files li { position: relative; }
      .thumb { display: block; width: 64px; height: 64px; border: 1px solid var(--line); border-radius: 12px; object-fit: cover; background: var(--surface-2); }
      .doc { display: flex; align-items: center; gap: 8px; max-width: 190px; height: 64px; padding: 0 14px 0 10px; border: 1px solid var(--line); border-radius: 12px; font-size: var(--text-s); line-height: 1.35; }
      .doc span { overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow-wrap: anywhere; }
      .doc .icon { color: var(--accent-ink); }
      .files button { position: absolute; inset-block-start: -8px; inset-inline-end: -8px; display: grid; place-items: center; width: 24px; height: 24px; padding: 0; border: 2px solid var(--surface); border-radius: 50%; color: var(--surface); background: var(--ink-2); }
      .problem { display: flex; align-items: center; gap: 8px; margin-bottom: 8px; padding: 8px 12px; border-radius: 12px; font-size: var(--text-s); line-height: 1.45; color: var(--danger); background: var(--danger-soft); }
      .problem span { flex: 1; }
      .problem button { display: grid; place-items: center; width: 28px; height: 28px; padding: 0; border: 0; border-radius: 50%; background: none; }
      .voice { display: flex; align-items: center; gap: 8px; min-height: 60px; padding: 8px; }
      .voice duomo-audio { flex: 1; min-width: 0; color: var(--accent-ink); }
      .meter { flex: 1; display: flex; align-items: center; gap: 2px; height: 34px; min-width: 0; overflow: hidden; color: var(--accent-ink); }
      .meter i { flex: 1; min-width: 1px; max-width: 4px; border-radius: 2px; background: currentColor; }
      .clock { display: flex; align-items: center; gap: 7px; min-width: 58px; font-variant-numeric: tabular-nums; }
      .clock::before { content: ""; width: 9px; height: 9px; border-radius: 50%; background: #d13438; animation: pulse 1.4s infinite; }
      @keyframes pulse { 50% { opacity: 0.35; } }
      .starting { flex: 1; color: var(--ink-3); }
      @media (prefers-reduced-motion: reduce) { .clock::before { animation: none; } }
    `,
  ];

  constructor() {
    super();
    /** @type {import("../shared/i18n.js").Language} */
    this.language = "en";
    /** @type {import("../shared/protocol").Workspace["limits"]} */
    this.limits = { max_files: 5, max_bytes: 20 * 1024 ** 2, max_audio_s: 120, accept: [] };
    /** @type {{file: File, url: string | null}[]} */
    this.files = [];
    this.text = "";
    /** @type {"write" | "starting" | "recording" | "preview"} */
    this.mode = "write";
    this.seconds = 0;
    /** @type {(VoiceNote & {url: string}) | null} */
    this.note = null;
    /** @type {string | null} a sentence for the customer */
    this.problem = null;
    /** @type {number[]} */
    this.levels = [];
    /** @type {Recorder | null} */
    this.recorder = null;
  }

  get t() {
    return translator(this.language);
  }

  get field() {
    return this.renderRoot.querySelector("textarea");
  }

  focus() {
    (this.field ?? /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".voice button")))?.focus();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.recorder?.cancel();
    if (this.mode !== "preview") this.mode = "write";
  }

  // ---- files ------------------------------------------------------------------------------------------------------

  /** Files chosen, dropped, pasted or photographed. @param {Iterable<File>} chosen */
  async add(chosen) {
    this.problem = null;
    const { max_files, max_bytes, accept } = this.limits;
    for (const one of chosen) {
      if (this.files.length >= max_files) {
        this.problem = this.t("error.too_many_files", { max: max_files });
        break;
      }
      const ending = one.name.match(/\.\w+$/)?.[0].toLowerCase() ?? "";
      if (accept.length && ending && !accept.includes(ending)) {
        this.problem = `${one.name}: ${this.t("error.unsupported_type")}`;
        continue;
      }
      const file = await fitPicture(one, max_bytes);
      if (file.size > max_bytes) {
        this.problem = `${one.name}: ${this.t("error.too_large.max", { size: formatBytes(file.size), max: formatBytes(max_bytes) })}`;
        continue;
      }
      const url = file.type.startsWith("image/") && !/hei[cf]/.test(file.type) ? URL.createObjectURL(file) : null;
      this.files = [...this.files, { file, url }];
    }
    this.field?.focus();
  }

  /** @param {{file: File, url: string | null}} one */
  #remove(one) {
    if (one.url) URL.revokeObjectURL(one.url);
    this.files = this.files.filter((other) => other !== one);
    this.field?.focus();
  }

  /** @param {ClipboardEvent} event */
  #paste = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.add(files.map((file, i) => (/\.\w+$/.test(file.name) ? file : new File([file], `picture-${i + 1}.png`, { type: file.type }))));
  };

  /** Opens the file chooser. @param {boolean} [camera] the phone's camera app, where there is one */
  choose(camera = false) {
    const input = /** @type {HTMLInputElement} */ (this.renderRoot.querySelector(camera ? "#capture" : "#files"));
    input.value = "";
    input.click();
  }

  // ---- voice ------------------------------------------------------------------------------------------------------

  record = async () => {
    if (this.mode !== "write") return;
    this.problem = null;
    this.mode = "starting";
    this.levels = [];
    this.seconds = 0;
    const recorder = new Recorder({
      onLevel: (level, seconds) => this.#meter(level, seconds),
      maxSeconds: this.limits.max_audio_s,
      onFull: () => {
        this.problem = this.t("voice.limit", { max: formatDuration(this.limits.max_audio_s) });
        this.#finish();
      },
    });
    this.recorder = recorder;
    try {
      await recorder.start();
      if (this.recorder !== recorder) return;
      this.mode = "recording";
      await this.updateComplete;
      /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".stop"))?.focus();
    } catch (error) {
      if (this.recorder === recorder) this.#failed(error);
    }
  };

  /** @param {unknown} error */
  #failed(error) {
    this.recorder = null;
    this.mode = "write";
    this.problem = errorText(/** @type {{code?: string}} */ (error), this.t);
  }

  /** @param {number} level @param {number} seconds */
  #meter(level, seconds) {
    this.levels.push(level);
    if (this.levels.length % 3 && this.levels.length > 3) return; // about 15 drawings a second
    this.seconds = seconds;
    this.requestUpdate();
  }

  /** @returns {Promise<VoiceNote | null>} */
  async #stop() {
    const recorder = this.recorder;
    this.recorder = null;
    try {
      return recorder ? await recorder.stop() : null;
    } catch (error) {
      this.#failed(error);
      return null;
    }
  }

  #finish = async () => {
    const note = await this.#stop();
    if (!note) return;
    this.note = { ...note, url: URL.createObjectURL(note.file) };
    this.mode = "preview";
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".send"))?.focus();
  };

  #sendVoice = async () => {
    const note = this.note ?? (await this.#stop());
    if (!note) return;
    this.#send("", [note.file]);
    this.#endVoice();
  };

  #endVoice = async () => {
    this.recorder?.cancel();
    this.recorder = null;
    if (this.note) URL.revokeObjectURL(this.note.url);
    this.note = null;
    this.mode = "write";
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".mic"))?.focus();
  };

  // ---- sending ----------------------------------------------------------------------------------------------------

  /** @param {string} text @param {File[]} files */
  #send(text, files) {
    this.problem = null;
    this.dispatchEvent(new CustomEvent("send", { detail: { text, files }, bubbles: true, composed: true }));
  }

  #submit = () => {
    const text = (this.field?.value ?? "").trim();
    if (!text && !this.files.length) return;
    this.#send(text, this.files.map(({ file }) => file));
    for (const { url } of this.files) if (url) URL.revokeObjectURL(url);
    this.files = [];
    this.write("");
    this.field?.focus();
  };

  /** Puts words into the field. @param {string} text */
  write(text) {
    this.text = text;
    if (this.field) this.field.value = text;
    this.#grow();
  }

  /** Where `field-sizing: content` is unknown. */
  #grow() {
    if (!this.field || CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(150, this.field.scrollHeight)}px`;
  }

  /** @param {KeyboardEvent} event */
  #keys = (event) => {
    // Enter also confirms a candidate of a Chinese input method; Safari reports that with keyCode 229 only.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  };

  #typed = () => {
    this.text = this.field?.value ?? "";
    this.#grow();
  };

  /** @param {Event & {target: HTMLInputElement}} event */
  #chosen = (event) => this.add([...(event.target.files ?? [])]);

  render() {
    const t = this.t;
    const { accept } = this.limits;
    return html`${this.problem ? html`<div class="problem" role="alert">${icon("alert", 18)}<span>${this.problem}</span>
        <button type="button" aria-label=${t("close")} @click=${() => (this.problem = null)}>${icon("close", 16)}</button></div>` : nothing}
      <div class="box" @paste=${this.#paste}>
        ${this.mode === "write" ? this.#writing() : this.mode === "preview" ? this.#preview() : this.#recording()}
      </div>
      <input id="files" type="file" multiple hidden accept=${accept.join(",") || nothing} aria-label=${t("composer.attach")} @change=${this.#chosen} />
      <input id="capture" type="file" hidden accept="image/*" capture="environment" aria-label=${t("composer.camera")} @change=${this.#chosen} />`;
  }

  #writing() {
    const t = this.t;
    const empty = !this.text.trim() && !this.files.length;
    return html`${this.files.length ? html`<ul class="files" aria-label=${t("composer.files")}>${this.files.map((one) => this.#attached(one))}</ul>` : nothing}
      <label class="sr-only" for="field">${t("composer.field")}</label>
      <textarea id="field" rows="1" placeholder=${t("composer.placeholder")} maxlength="8000" enterkeyhint="send" @keydown=${this.#keys} @input=${this.#typed} .value=${this.text}></textarea>
      <div class="row">
        ${this.#tool("attach", "composer.attach", () => this.choose())}
        ${this.#tool("camera", "composer.camera", () => this.dispatchEvent(new CustomEvent("open-camera", { bubbles: true, composed: true })))}
        ${this.#tool("mic", "composer.record", this.record)}
        <span class="space"></span>
        <button type="button" class="round filled send" aria-label=${t("composer.send")} title=${t("composer.send")} ?disabled=${empty} @click=${this.#submit}>${icon("send")}</button>
      </div>`;
  }

  /** @param {import("../shared/icons.js").IconName} name @param {string} label @param {() => void} act */
  #tool(name, label, act) {
    return html`<button type="button" class="round ${name}" aria-label=${this.t(label)} title=${this.t(label)} @click=${act}>${icon(name, 21)}</button>`;
  }

  /** @param {{file: File, url: string | null}} one */
  #attached(one) {
    return html`<li>
      ${one.url ? html`<img class="thumb" src=${one.url} alt=${one.file.name} />` : html`<span class="doc">${icon("document", 22)}<span>${one.file.name}</span></span>`}
      <button type="button" aria-label=${this.t("composer.remove", { name: one.file.name })} @click=${() => this.#remove(one)}>${icon("close", 12)}</button>
    </li>`;
  }

  #recording() {
    const t = this.t;
    const shown = this.levels.slice(-BARS);
    const padded = [...Array(Math.max(0, BARS - shown.length)).fill(0), ...shown];
    return html`<div class="voice" role="group" aria-label=${t("voice.recording")}>
      ${this.#tool("trash", "voice.cancel", this.#endVoice)}
      ${this.mode === "starting" ? html`<span class="starting" role="status">${t("voice.starting")}</span>` : html`
        <span class="clock" role="timer" aria-label=${t("voice.recording")}>${formatDuration(Math.floor(this.seconds))}</span>
        <div class="meter" role="meter" aria-label=${t("voice.level")} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round((shown.at(-1) ?? 0) * 100)}>
          ${padded.map((level) => html`<i style="height:${8 + level * 92}%"></i>`)}
        </div>
        ${this.#tool("stop", "voice.stop", this.#finish)}
        <button type="button" class="round filled send" aria-label=${t("voice.send")} title=${t("voice.send")} @click=${this.#sendVoice}>${icon("send")}</button>`}
    </div>`;
  }

  #preview() {
    const t = this.t;
    if (!this.note) return nothing;
    return html`<div class="voice" role="group" aria-label=${t("voice.preview")}>
      ${this.#tool("trash", "voice.cancel", this.#endVoice)}
      <duomo-audio src=${this.note.url} .duration=${this.note.duration} .peaks=${this.note.peaks} language=${this.language}></duomo-audio>
      <button type="button" class="round filled send" aria-label=${t("voice.send")} title=${t("voice.send")} @click=${this.#sendVoice}>${icon("send")}</button>
    </div>`;
  }
}

customElements.get("duomo-composer") ?? customElements.define("duomo-composer", DuomoComposer);
