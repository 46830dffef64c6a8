// @ts-check
/** Writing: a reply or a private note, with files, voice and canned replies; and what to do when a colleague was faster. */
import { classMap, html, live, nothing } from "../vendor/lit.js";
import { errorText, formatDuration } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { CaptureError, kindOf, Recorder } from "../shared/media.js";
import { sayBetterAnswer } from "./correct.js";
import { desk, Pane } from "./desk.js";
import { modal } from "./modal.js";

/** @typedef {import("./desk.js").Canned} Canned */
/** @typedef {import("./thread.js").Thread} Thread */
/** @typedef {import("../shared/protocol").Message} Message */

const ACCEPT = "image/*,.heic,.heif,audio/*,.pdf,.docx,.txt";
const FILE_ICONS = /** @type {const} */ ({ image: "image", audio: "mic", document: "document" });

class Composer extends Pane {
  static properties = { level: { state: true }, seconds: { state: true }, recorder: { state: true }, chosen: { state: true }, listing: { state: true }, better: { state: true } };

  constructor() {
    super();
    /** @type {Recorder | null} */
    this.recorder = null;
    this.level = 0; // [0, 1]
    this.seconds = 0;
    this.chosen = 0; // index in the list of canned replies
    this.listing = true; // false after Escape, until "/" is typed again
    /** The bot's message that a better answer is being written for. @type {{message: Message, before: string | null, text: string} | null} */
    this.better = null;
    /** Where the list of canned replies was opened by its button. */
    this.listed = false;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.recorder?.cancel();
  }

  get field() {
    return /** @type {HTMLTextAreaElement | null} */ (this.querySelector("textarea"));
  }

  get thread() {
    return /** @type {Thread} */ (desk.thread);
  }

  /** Puts the cursor into the field. @param {boolean} asNote */
  async write(asNote) {
    this.thread.write({ private: asNote });
    await this.updateComplete;
    await this.updateComplete;
    this.field?.focus();
  }

  /** Why no reply can be written right now: the bot has the conversation, or it is closed. */
  get #barrier() {
    const status = this.thread.summary?.status;
    if (this.thread.draft.private) return null;
    if (status === "pending") return { text: "bot_answers", button: "take_over_reply", action: "take_over" };
    if (status === "resolved") return { text: "is_resolved", button: "reopen_reply", action: "reopen" };
    return null;
  }

  /** @returns {Canned[] | null} the replies that fit what follows "/", null while none is asked for */
  get #offered() {
    const match = /^\/(\S*)$/.exec(this.thread.draft.text);
    if (!this.listing || (!match && !this.listed)) return null;
    const wanted = (match?.[1] ?? "").toLowerCase();
    /** 0: the shortcut begins so, 1: it, the title or a text contains it, 2: neither. @param {Canned} canned */
    const distance = ({ shortcut, title, text }) => {
      if (shortcut.toLowerCase().startsWith(wanted)) return 0;
      return [shortcut, title, text.zh, text.en].some((words) => words?.toLowerCase().includes(wanted)) ? 1 : 2;
    };
    return desk.canned.filter((canned) => distance(canned) < 2).sort((a, b) => distance(a) - distance(b));
  }

  /** @param {Canned} canned */
  #insert(canned) {
    const language = this.thread.summary?.language ?? desk.language;
    const before = this.listed ? this.thread.draft.text : "";
    this.listed = false;
    this.thread.write({ text: before + (canned.text[language] || canned.text.en || canned.text.zh) });
    this.field?.focus();
  }

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.isComposing) return;
    const offered = this.#offered;
    if (offered && this.#keyInList(event, offered)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.thread.send();
    } else if (event.key === "Escape") this.field?.blur();
  };

  /** @param {KeyboardEvent} event @param {Canned[]} offered @returns {boolean} whether the key was meant for the list */
  #keyInList(event, offered) {
    if (event.key === "Escape") this.listing = this.listed = false;
    else if (!offered.length) return false;
    else if (event.key === "ArrowDown") this.chosen = (this.chosen + 1) % offered.length;
    else if (event.key === "ArrowUp") this.chosen = (this.chosen + offered.length - 1) % offered.length;
    else if (event.key === "Enter" || event.key === "Tab") this.#insert(offered[Math.min(this.chosen, offered.length - 1)]);
    else return false;
    return true;
  }

  /** @param {Event} event */
  #input = (event) => {
    const text = /** @type {HTMLTextAreaElement} */ (event.target).value;
    this.chosen = 0;
    this.listed = false;
    if (!text.startsWith("/")) this.listing = true;
    this.thread.write({ text });
  };

  /** @param {Iterable<File>} files */
  addFiles(files) {
    const added = [...files];
    if (added.length) this.thread.write({ files: [...this.thread.draft.files, ...added].slice(0, 4) });
  }

  /** @param {ClipboardEvent} event */
  #paste = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.addFiles(files);
  };

  // -- a better answer than the bot's ----------------------------------------------------------------------------------

  /** What is being written already is the better answer, else the bot's own words are the beginning. @param {{message: Message, before: string | null}} wanted */
  async improve({ message, before }) {
    const { text, private: asNote } = this.thread.draft;
    this.better = { message, before, text: before || (asNote ? "" : text.trim()) || message.text.replace(/\s*\[\d+\]/g, "") };
    await this.updateComplete;
    this.field?.focus();
  }

  #keepBetter = () => {
    const { better } = this;
    const text = better?.text.trim() ?? "";
    this.better = null;
    if (better && text && text !== better.before) sayBetterAnswer(better.message, text, better.before);
  };

  /** @param {NonNullable<Composer["better"]>} better */
  #improving(better) {
    const { t } = desk;
    /** @param {KeyboardEvent} event */
    const keys = (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") this.better = null;
      else if (event.key === "Enter" && !event.shiftKey) this.#keepBetter();
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    return html`<section class="composer better" aria-label=${t("better_answer")}>
      <div class="composer-kinds"><strong>${icon("edit", 15)}${t("better_answer")}</strong><span class="muted">${t("better_not_sent")}</span></div>
      <textarea rows="2" aria-label=${t("better_answer")} .value=${live(better.text)} @keydown=${keys} @input=${(/** @type {Event} */ event) => (this.better = { ...better, text: /** @type {HTMLTextAreaElement} */ (event.target).value })}></textarea>
      <div class="composer-bar"><span class="gap"></span>
        <button class="button quiet" type="button" @click=${() => (this.better = null)}>${t("cancel")}</button>
        <button class="button primary send" type="button" ?disabled=${!better.text.trim()} @click=${this.#keepBetter}>${t("better_keep")}</button></div>
    </section>`;
  }

  // -- voice ---------------------------------------------------------------------------------------------------------

  async #record() {
    const recorder = new Recorder({
      maxSeconds: 120,
      onLevel: (level, seconds) => { this.level = level; this.seconds = seconds; },
      onFull: () => void this.#finish(),
    });
    try {
      this.seconds = 0;
      await recorder.start();
      this.recorder = recorder;
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      desk.toast(errorText(error, desk.t), { tone: "danger" });
    }
  }

  async #finish() {
    const { recorder } = this;
    this.recorder = null;
    try {
      if (recorder) this.addFiles([(await recorder.stop()).file]);
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      desk.toast(errorText(error, desk.t), { tone: "danger" });
    }
    await this.updateComplete;
    this.field?.focus();
  }

  #cancel = () => {
    this.recorder?.cancel();
    this.recorder = null;
  };

  // -- drawing -------------------------------------------------------------------------------------------------------

  render() {
    if (!desk.thread) return nothing;
    if (this.better?.message.conversation_id === this.thread.id) return this.#improving(this.better);
    const { t } = desk;
    const { draft } = this.thread;
    const barrier = this.#barrier;
    return html`<section class=${classMap({ composer: true, note: draft.private })} aria-label=${t(draft.private ? "private_note" : "reply")}>
      <div class="composer-kinds" role="group" aria-label=${t("write_kind")}>
        ${[false, true].map((asNote) => html`<button type="button" class=${asNote ? "as-note" : "as-reply"} aria-pressed=${draft.private === asNote ? "true" : "false"} @click=${() => this.write(asNote)}>
          ${icon(asNote ? "lock" : "chat", 15)}${t(asNote ? "private_note" : "reply")}</button>`)}
        ${draft.private ? html`<span class="muted">${t("only_agents")}</span>` : nothing}
      </div>
      ${barrier ? this.#barrierView(barrier) : this.recorder ? this.#recording() : this.#writing()}
    </section>`;
  }

  /** @param {{text: string, button: string, action: string}} barrier */
  #barrierView({ text, button, action }) {
    return html`<div class="barrier"><span>${icon(action === "take_over" ? "spark" : "check", 18)}${desk.t(text)}</span>
      ${this.thread.allowed.includes(action) ? html`<button class="button primary" type="button" @click=${async () => { if (await this.thread.act(action)) await this.write(false); }}>${desk.t(button)}</button>` : nothing}</div>`;
  }

  #writing() {
    const { t } = desk;
    const { draft } = this.thread;
    const offered = this.#offered;
    const empty = !draft.text.trim() && !draft.files.length;
    return html`
      ${offered ? this.#canned(offered) : nothing}
      ${draft.files.length ? html`<ul class="files">${draft.files.map((file, index) => html`<li>${icon(FILE_ICONS[kindOf(file.type, file.name)], 16)}<span>${file.name}</span>
        <button class="icon-button small" type="button" aria-label=${t("remove_file", { name: file.name })} @click=${() => this.thread.write({ files: draft.files.filter((_, at) => at !== index) })}>${icon("close", 14)}</button></li>`)}</ul>` : nothing}
      <textarea rows="1" aria-label=${t(draft.private ? "write_note" : "reply")} placeholder=${t(draft.private ? "write_note" : "reply_to")} .value=${live(draft.text)}
        aria-autocomplete="list" aria-controls=${offered ? "canned" : nothing} aria-activedescendant=${offered?.length ? `canned-${Math.min(this.chosen, offered.length - 1)}` : nothing}
        @input=${this.#input} @keydown=${this.#key} @paste=${this.#paste} @blur=${() => this.thread?.typing(false)}></textarea>
      <div class="composer-bar">
        <label class="icon-button" title=${t("attach")}>${icon("attach")}<span class="visually-hidden">${t("attach")}</span>
          <input class="visually-hidden" type="file" multiple accept=${ACCEPT} @change=${(/** @type {Event} */ event) => { const input = /** @type {HTMLInputElement} */ (event.target); this.addFiles(input.files ?? []); input.value = ""; }} /></label>
        <button class="icon-button" type="button" aria-label=${t("record")} title=${t("record")} @click=${() => this.#record()}>${icon("mic")}</button>
        <button class="icon-button" type="button" aria-label=${t("canned")} title="${t("canned")} ( / )" aria-expanded=${offered ? "true" : "false"} @click=${() => { this.listed = !this.listed; this.listing = true; this.requestUpdate(); this.field?.focus(); }}>${icon("bolt")}</button>
        <span class="muted hint">${t("send_keys")}</span>
        <button class="button primary send" type="button" ?disabled=${empty} @click=${() => { this.thread.send(); this.field?.focus(); }}>${t(draft.private ? "send_note" : "send")}</button>
      </div>`;
  }

  /** @param {Canned[]} offered */
  #canned(offered) {
    const { t } = desk;
    const language = this.thread.summary?.language ?? desk.language;
    const chosen = Math.min(this.chosen, offered.length - 1);
    if (!offered.length) return html`<p class="canned none" id="canned">${t("no_canned")}</p>`;
    return html`<ul class="canned" id="canned" role="listbox" aria-label=${t("canned")}>
      ${offered.map((canned, index) => html`<li role="option" id="canned-${index}" aria-selected=${index === chosen ? "true" : "false"}
        @pointerdown=${(/** @type {Event} */ event) => { event.preventDefault(); this.#insert(canned); }}>
        <span class="canned-head"><code>/${canned.shortcut}</code><strong>${canned.title}</strong></span><span class="canned-text">${canned.text[language] || canned.text.en}</span></li>`)}
    </ul>`;
  }

  #recording() {
    const { t } = desk;
    return html`<div class="recording" role="group" aria-label=${t("recording")}>
      <span class="record-dot" aria-hidden="true"></span><span class="clock">${formatDuration(this.seconds)}</span>
      <meter min="0" max="1" .value=${this.level} aria-label=${t("recording")}></meter>
      <button class="button quiet" type="button" @click=${this.#cancel}>${icon("trash", 18)}${t("cancel_recording")}</button>
      <button class="button primary" type="button" @click=${() => this.#finish()}>${icon("check", 18)}${t("stop_recording")}</button>
    </div>`;
  }

  updated() {
    this.querySelector("[role=option][aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }
}
customElements.define("console-composer", Composer);

/** Another agent answered while this one wrote: show it, and let this one decide. */
class ConflictDialog extends Pane {
  render() {
    const { t, thread } = desk;
    const conflict = thread?.conflict;
    if (!thread || !conflict) return nothing;
    const answers = thread.answersMeanwhile;
    const name = answers.at(-1)?.agent?.name ?? thread.others[0]?.name ?? t("somebody");
    /** @param {"edit" | "insist" | "discard"} choice */
    const settle = (choice) => thread.settleConflict(choice, this.querySelector("textarea")?.value ?? conflict.text);
    const content = html`<div class="conflict">
      <p>${t("conflict_text")}</p>
      ${answers.map((answer) => html`<blockquote><strong>${answer.agent?.name}</strong>${answer.text || answer.parts.map((part) => part.name).join(", ")}</blockquote>`)}
      <label>${t("your_reply")}<textarea rows="3" autofocus .value=${conflict.text}></textarea></label>
      ${conflict.files.length ? html`<p class="muted">${icon("attach", 15)} ${conflict.files.map((file) => file.name).join(", ")}</p>` : nothing}
      <div class="form-buttons">
        <button class="button danger" type="button" @click=${() => settle("discard")}>${t("discard")}</button>
        <span class="gap"></span>
        <button class="button" type="button" @click=${() => settle("edit")}>${t("keep_editing")}</button>
        <button class="button primary" type="button" @click=${() => settle("insist")}>${t("send_anyway")}</button>
      </div>
    </div>`;
    return modal(content, { label: t("conflict_title", { name }), onClose: () => settle("edit") });
  }
}
customElements.define("conflict-dialog", ConflictDialog);
