// @ts-check
/** Why the assistant said something: three lines at once; behind them what every word, region and second was worth. */
import { html, nothing, styleMap, svg } from "../vendor/lit.js";
import { extend } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { labels } from "./labels.js";

extend({
  en: {
    because_loading: "Looking up the reasons…", because_evidence: "What it rests on", because_weigh: "Weigh every word, region and second",
    because_weighing: "Weighing every piece, when nobody waits for an answer…", because_no_model: "No trained model read this message.",
    because_failed: "This could not be explained.", because_model_gone: "The model that read this is no longer here.",
    because_file_gone: "A file of this message has been erased.", because_prediction_gone: "What the model had said was erased.",
    because_again: "Try again", because_alternatives: "Alternatives", because_rule: "Rule and versions", because_copy: "Copy as JSON",
    because_copied: "Copied", because_text: "Words", because_image: "Picture", because_audio: "Sound", because_video: "Video", because_context: "Earlier turns",
    because_for: "speaks for it", because_against: "speaks against it", because_without: "{all} → {n} % without it",
    because_weight: "weight {n}", because_nothing: "No single piece mattered.", because_alone: "alone says {label}, {n} %", because_row: "Rule", because_row_text: "{row}, “{name}” (policy {version})",
    because_model: "Model", because_knowledge: "Knowledge", because_calibration: "Calibration", because_version: "version {n}", because_other: "Other readings",
    because_nearest: "None of the known intents fits; this explains the nearest one, “{label}”.", because_conflict: "The parts disagree ({n} %).",
    because_differs: "Read again, the model now says “{label}”.", because_play: "{time}, play", because_top_left: "top left", because_top_middle: "top",
    because_top_right: "top right", because_middle_left: "left", because_middle_middle: "middle", because_middle_right: "right",
    because_bottom_left: "bottom left", because_bottom_middle: "bottom", because_bottom_right: "bottom right", because_picture: "The picture with the regions that counted: {what}",
  },
  zh: {
    because_loading: "正在查找原因…", because_evidence: "依据", because_weigh: "逐一衡量文字、图片区域和语音片段",
    because_weighing: "正在空闲时逐一衡量…", because_no_model: "没有训练好的模型读过这条消息。",
    because_failed: "无法解释这条消息。", because_model_gone: "当时使用的模型已不在此处。",
    because_file_gone: "消息中的文件已被删除。", because_prediction_gone: "模型当时的判断已被删除。",
    because_again: "重试", because_alternatives: "其他可能", because_rule: "规则与版本", because_copy: "复制 JSON",
    because_copied: "已复制", because_text: "文字", because_image: "图片", because_audio: "语音", because_video: "视频", because_context: "之前的对话",
    because_for: "支持", because_against: "反对", because_without: "去掉后 {all}% → {n}%",
    because_weight: "权重 {n}", because_nothing: "没有哪一部分单独起决定作用。", because_alone: "单独判断为 {label}，{n}%", because_row: "规则", because_row_text: "第 {row} 条“{name}”（策略版本 {version}）",
    because_model: "模型", because_knowledge: "知识库", because_calibration: "校准", because_version: "版本 {n}", because_other: "其他判断",
    because_nearest: "不属于任何已知意图；以下解释最接近的“{label}”。", because_conflict: "各部分意见不一（{n}%）。",
    because_differs: "重新读取时，模型的判断为“{label}”。", because_play: "{time}，播放", because_top_left: "左上", because_top_middle: "上方",
    because_top_right: "右上", because_middle_left: "左侧", because_middle_middle: "中间", because_middle_right: "右侧",
    because_bottom_left: "左下", because_bottom_middle: "下方", because_bottom_right: "右下", because_picture: "标出起作用区域的图片：{what}",
  },
});

/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {import("../shared/protocol").Part} Part */
/** @typedef {{score: number, without: number | null, start?: number, end?: number, text?: string, box?: [number, number, number, number]}} Unit */
/** @typedef {{label: string, said: unknown, out_of_scope: boolean, confidence: number | null, shares: Record<string, number>, alone: Record<string, {label: string, probability: number} | null>, conflict: number, text: string | null, picture: {part_id: string, width: number, height: number} | null, sound: {part_id: string, seconds: number} | null, units: Record<string, Unit[]>}} Body */
/** @typedef {any} Why docs/protocol.md, "Why" */

const FAINT = 0.15; // share of the strongest piece below which a piece is not drawn
const NAMED = 3; // pieces that are also said in words
const POLL_MS = 1000;
const LONGEST_POLL_MS = 5000;

/** Whole percents; what is nearly sure is not called certain. @param {number | null | undefined} share [0, 1] */
const percent = (share) => (share && share < 1 && share >= 0.995 ? ">99" : String(Math.round((share ?? 0) * 100)));

/** @param {Unit[]} units */
const strongest = (units) => Math.max(1e-9, ...units.map((unit) => Math.abs(unit.score)));

/** The pieces that count most, in the order of what they are worth. @param {Unit[]} units */
function foremost(units) {
  const top = strongest(units);
  return [...units].filter((unit) => Math.abs(unit.score) >= FAINT * top && Math.abs(unit.score) > 1e-3).sort((a, b) => Math.abs(b.score) - Math.abs(a.score)).slice(0, NAMED);
}

/** Neighbouring stretches that count, as one that is worth what the strongest of them is. @param {Unit[]} units @returns {Unit[]} */
function stretches(units) {
  const top = strongest(units);
  /** @type {Unit[]} */
  const found = [];
  for (const unit of units) {
    if (Math.abs(unit.score) < FAINT * top || Math.abs(unit.score) <= 1e-3) continue;
    const last = found.at(-1);
    if (last && last.end === unit.start && Math.sign(last.score) === Math.sign(unit.score)) found[found.length - 1] = { ...(Math.abs(last.score) < Math.abs(unit.score) ? unit : last), start: last.start, end: unit.end };
    else found.push({ ...unit });
  }
  return found;
}

class WhyPanel extends Pane {
  static properties = { message: { attribute: false }, why: { state: true }, failed: { state: true }, copied: { state: true } };

  #timer = 0;
  #pause = POLL_MS;
  #asked = "";

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
    /** @type {Why | null} */
    this.why = null;
    this.failed = false;
    this.copied = false;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
    this.#asked = "";
  }

  willUpdate() {
    if (!this.message || this.#asked === this.message.id) return;
    this.#asked = this.message.id;
    this.why = null;
    void this.#load("get");
  }

  get #path() {
    return `agent/conversations/${this.message?.conversation_id}/messages/${this.message?.id}/why`;
  }

  /** @param {"get" | "post"} how post: have it explained */
  async #load(how) {
    const { id } = this.message ?? { id: "" };
    clearTimeout(this.#timer);
    try {
      const found = await (how === "get" ? desk.api.get(this.#path) : desk.api.post(this.#path));
      if (this.message?.id !== id) return;
      this.why = found;
      this.failed = false;
    } catch (error) {
      this.failed = true;
      if (how === "post") desk.report(error);
    }
    if (this.isConnected && this.why?.explanation.state === "queued") {
      this.#timer = window.setTimeout(() => this.#load("get"), this.#pause);
      this.#pause = Math.min(LONGEST_POLL_MS, this.#pause * 1.5);
    }
  }

  /** Opening the evidence has it made. @param {Event} event */
  #open = (event) => {
    const { explanation } = this.why ?? {};
    if (!(/** @type {HTMLDetailsElement} */ (event.target).open) || explanation?.state !== "none" || explanation.reason) return;
    this.#weigh();
  };

  #weigh = () => {
    this.#pause = POLL_MS;
    void this.#load("post");
  };

  /** Copies all of it; where a page may not (no HTTPS), it is downloaded. */
  #copy = async () => {
    const text = JSON.stringify(this.why, null, 2);
    try {
      await navigator.clipboard.writeText(text);
      this.copied = true;
      setTimeout(() => (this.copied = false), 2000);
    } catch {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = `why-${this.message?.id}.json`;
      link.click();
      URL.revokeObjectURL(link.href);
    }
  };

  render() {
    const { t } = desk;
    const { why } = this;
    if (!why) return this.failed ? nothing : html`<p class="muted" role="status">${t("because_loading")}</p>`;
    const lines = why.summary[desk.language] ?? [];
    return html`<div class="because">
      ${lines.length ? html`<ul class="because-lines">${lines.map((/** @type {string} */ line) => html`<li>${line}</li>`)}</ul>` : nothing}
      ${why.understood ? html`<details class="because-more evidence" @toggle=${this.#open}><summary>${t("because_evidence")}</summary><div class="because-inside">${this.#evidence(why)}</div></details>` : nothing}
      ${why.understood?.alternatives.length ? html`<details class="because-more alternatives"><summary>${t("because_alternatives")}</summary>${this.#alternatives(why.understood)}</details>` : nothing}
      ${why.policy || why.versions.model || why.versions.knowledge ? html`<details class="because-more rule"><summary>${t("because_rule")}</summary>${this.#rule(why)}</details>` : nothing}
      <button class="button small quiet because-copy" type="button" @click=${this.#copy}>${icon("copy", 15)}<span aria-live="polite">${t(this.copied ? "because_copied" : "because_copy")}</span></button>
    </div>`;
  }

  // -- evidence --------------------------------------------------------------------------------------------------------

  /** @param {Why} why */
  #evidence(why) {
    const { t } = desk;
    const { state, reason, body } = why.explanation;
    return html`${this.#shares(body?.shares ?? why.understood.shares, body?.alone)}
      ${state === "none" ? (reason ? html`<p class="muted">${t(`because_${reason}`)}</p>` : html`<button class="button small" type="button" @click=${this.#weigh}>${t("because_weigh")}</button>`) : nothing}
      ${state === "queued" ? html`<p class="because-wait" role="status"><span class="spinner" aria-hidden="true"></span>${t("because_weighing")}</p>` : nothing}
      ${state === "failed" ? html`<p class="muted" role="status">${this.#reason(reason)}</p>
        ${["model_gone", "file_gone", "prediction_gone"].includes(reason) ? nothing : html`<button class="button small" type="button" @click=${this.#weigh}>${t("because_again")}</button>`}` : nothing}
      ${body ? this.#pieces(body) : nothing}`;
  }

  /** @param {string} reason */
  #reason(reason) {
    const text = desk.t(`because_${reason}`);
    return text === `because_${reason}` ? desk.t("because_failed") : text;
  }

  /** What each part of the message counted. @param {Record<string, number>} shares @param {Body["alone"]} [alone] */
  #shares(shares, alone) {
    const { t } = desk;
    const parts = Object.entries(shares).sort((a, b) => b[1] - a[1]);
    if (!parts.length) return nothing;
    return html`<ul class="because-shares">${parts.map(([name, share]) => html`<li>
      <span>${this.#modality(name)}</span><span class="bar" aria-hidden="true"><i style=${styleMap({ width: `${share * 100}%` })}></i></span><span class="number">${percent(share)}%</span>
      ${alone?.[name] && parts.length > 1 ? html`<span class="muted alone">${t("because_alone", { label: this.#title(alone[name]?.label ?? ""), n: percent(alone[name]?.probability) })}</span>` : nothing}</li>`)}</ul>`;
  }

  /** @param {string} name */
  #modality(name) {
    const text = desk.t(`because_${name}`);
    return text === `because_${name}` ? name : text;
  }

  /** @param {string} label */
  #title(label) {
    const known = [this.why?.understood, ...(this.why?.understood?.alternatives ?? [])].find((one) => one?.label === label);
    return known?.title?.[desk.language] ?? labels.title(this.why?.understood?.head ?? "intent", label);
  }

  /** @param {Body} body */
  #pieces(body) {
    const { t } = desk;
    const drawn = [this.#words(body), this.#picture(body), this.#sound(body)].filter((one) => one !== nothing);
    return html`
      ${body.out_of_scope ? html`<p class="because-note">${icon("info", 15)}${t("because_nearest", { label: this.#title(body.label) })}</p>`
        : body.said !== body.label ? html`<p class="because-note">${icon("info", 15)}${t("because_differs", { label: this.#title(body.label) })}</p>` : nothing}
      ${body.conflict > 0.3 ? html`<p class="because-note">${icon("alert", 15)}${t("because_conflict", { n: percent(body.conflict) })}</p>` : nothing}
      ${drawn}
      <p class="because-legend"><span><i class="for"></i>${t("because_for")}</span><span><i class="against"></i>${t("because_against")}</span></p>`;
  }

  /** What a piece changed, in words. @param {Unit} unit @param {Body} body */
  #worth(unit, body) {
    const { t } = desk;
    // where the confidence hardly moves because other pieces say the same, the log-odds still tell
    const alike = unit.without !== null && body.confidence !== null && Math.round(body.confidence * 100) === Math.round(unit.without * 100);
    if (unit.without === null || body.confidence === null || alike) return t("because_weight", { n: unit.score.toFixed(1).replace("-", "−") });
    return t("because_without", { all: percent(body.confidence), n: percent(unit.without) });
  }

  /** @param {Body} body */
  #words(body) {
    const units = body.units.text ?? [];
    if (!body.text || !units.length) return nothing;
    const { t } = desk;
    const signs = [...body.text]; // offsets count characters, as Python does, not UTF-16 units
    const top = strongest(units);
    let at = 0;
    const pieces = units.map((unit) => {
      const [start, end] = [unit.start ?? 0, unit.end ?? 0];
      const before = signs.slice(at, start).join("");
      at = end;
      const weight = Math.abs(unit.score) / top;
      const word = signs.slice(start, end).join("");
      return html`${before}${weight < FAINT ? word : html`<mark class=${unit.score >= 0 ? "for" : "against"} style=${styleMap({ "--w": weight.toFixed(2) })} title=${this.#worth(unit, body)}>${word}</mark>`}`;
    });
    const named = foremost(units);
    return html`<section aria-label=${t("because_text")}><h5>${t("because_text")}</h5>
      <p class="because-text">${pieces}${signs.slice(at).join("")}</p>
      ${this.#list(named, body, (unit) => html`<q>${unit.text}</q>`)}</section>`;
  }

  /** The same in words, for whoever does not see colours. @param {Unit[]} named @param {Body} body @param {(unit: Unit) => unknown} name */
  #list(named, body, name) {
    const { t } = desk;
    if (!named.length) return html`<p class="muted">${t("because_nothing")}</p>`;
    return html`<ol class="because-list">${named.map((unit) => html`<li>${name(unit)}<span class="visually-hidden">${t(unit.score >= 0 ? "because_for" : "because_against")}</span><span class="worth ${unit.score >= 0 ? "for" : "against"}">${this.#worth(unit, body)}</span></li>`)}</ol>`;
  }

  /** A file of this conversation. @param {string} id @returns {Part | undefined} */
  #part(id) {
    for (const message of desk.thread?.messages.values() ?? []) {
      const found = message.parts.find((/** @type {Part} */ part) => part.id === id);
      if (found) return found;
    }
    return undefined;
  }

  /** @param {Body} body */
  #picture(body) {
    const units = body.units.image ?? [];
    const part = body.picture && this.#part(body.picture.part_id);
    if (!body.picture || !part?.url || !units.length) return nothing;
    const { t } = desk;
    const { width, height } = body.picture;
    const top = strongest(units);
    const where = (/** @type {Unit} */ unit) => t(`because_${place(unit.box ?? [0, 0, 0, 0], width, height)}`);
    const byPlace = new Map(foremost(units).reverse().map((unit) => [where(unit), unit])); // the strongest of each place
    const named = foremost([...byPlace.values()]);
    return html`<section aria-label=${t("because_image")}><h5>${t("because_image")}</h5>
      <figure class="because-picture"><img src=${part.url} alt=${t("because_picture", { what: named.map(where).join(", ") || "–" })} />
        <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">${units.map((unit) => {
          const weight = Math.abs(unit.score) / top;
          const [left, upper, right, lower] = unit.box ?? [0, 0, 0, 0];
          return weight < FAINT ? nothing : svg`<rect x=${left} y=${upper} width=${right - left} height=${lower - upper} class=${unit.score >= 0 ? "for" : "against"} style="--w:${weight.toFixed(2)}"><title>${this.#worth(unit, body)}</title></rect>`;
        })}</svg></figure>
      ${this.#list(named, body, where)}</section>`;
  }

  /** @param {Body} body */
  #sound(body) {
    const units = body.units.audio ?? [];
    const part = body.sound && this.#part(body.sound.part_id);
    if (!body.sound || !part?.url || !units.length) return nothing;
    const { t } = desk;
    const { seconds } = body.sound;
    const top = strongest(units);
    const play = (/** @type {number} */ from) => /** @type {any} */ (this.querySelector(".because-sound sound-view"))?.playFrom(from);
    const named = foremost(stretches(units));
    const span = (/** @type {Unit} */ unit) => `${(unit.start ?? 0).toFixed(1)}–${(unit.end ?? 0).toFixed(1)} s`;
    return html`<section class="because-sound" aria-label=${t("because_audio")}><h5>${t("because_audio")}</h5>
      <sound-view .file=${part}></sound-view>
      <div class="because-track" aria-hidden="true" @click=${(/** @type {MouseEvent} */ event) => play((event.offsetX / Math.max(1, /** @type {HTMLElement} */ (event.currentTarget).clientWidth)) * seconds)}>
        ${units.map((unit) => {
          const weight = Math.abs(unit.score) / top;
          return html`<i class=${unit.score >= 0 ? "for" : "against"} style=${styleMap({ left: `${((unit.start ?? 0) / seconds) * 100}%`, width: `${(((unit.end ?? 0) - (unit.start ?? 0)) / seconds) * 100}%`, "--w": weight < FAINT ? "0" : weight.toFixed(2) })}></i>`;
        })}</div>
      ${this.#list(named, body, (unit) => html`<button class="link" type="button" aria-label=${t("because_play", { time: span(unit) })} @click=${() => play(unit.start ?? 0)}>${icon("play", 13)}${span(unit)}</button>`)}</section>`;
  }

  // -- the rest --------------------------------------------------------------------------------------------------------

  /** @param {any} understood */
  #alternatives({ label, alternatives }) {
    return html`<ul class="because-shares">${alternatives.map((/** @type {any} */ one) => html`<li class=${one.label === label ? "chosen" : ""}>
      <span>${one.title[desk.language]}</span><span class="bar" aria-hidden="true"><i style=${styleMap({ width: `${one.probability * 100}%` })}></i></span><span class="number">${percent(one.probability)}%</span></li>`)}</ul>`;
  }

  /** @param {Why} why */
  #rule({ policy, versions, heads, understood }) {
    const { t } = desk;
    const others = Object.entries(heads).filter(([name]) => name !== understood?.head);
    const version = (/** @type {unknown} */ n) => t("because_version", { n: String(n) });
    return html`<dl class="facts">
      ${policy ? html`<dt>${t("because_row")}</dt><dd>${t("because_row_text", { row: policy.row, name: policy.name, version: policy.version })}</dd>` : nothing}
      ${others.length ? html`<dt>${t("because_other")}</dt><dd>${others.map(([name, head]) => `${labels.headTitle(name)}: ${[head.label].flat().map((label) => labels.title(name, String(label))).join(desk.language === "zh" ? "、" : ", ")}${typeof head.confidence === "number" ? ` (${percent(head.confidence)}%)` : ""}`).join(" · ")}</dd>` : nothing}
      ${versions.model ? html`<dt>${t("because_model")}</dt><dd>${versions.model.name} <code>${String(versions.model.fingerprint).slice(0, 12)}</code></dd>` : nothing}
      ${versions.knowledge ? html`<dt>${t("because_knowledge")}</dt><dd>${version(versions.knowledge)}</dd>` : nothing}
      ${versions.calibration ? html`<dt>${t("because_calibration")}</dt><dd>${versions.calibration}</dd>` : nothing}</dl>`;
  }
}
customElements.define("why-panel", WhyPanel);

/** Which ninth of a picture a region lies in. @param {[number, number, number, number]} box @param {number} width @param {number} height */
function place([left, upper, right, lower], width, height) {
  const third = (/** @type {number} */ share, /** @type {string[]} */ names) => names[Math.min(2, Math.floor(share * 3))];
  return `${third((upper + lower) / 2 / height, ["top", "middle", "bottom"])}_${third((left + right) / 2 / width, ["left", "middle", "right"])}`;
}
