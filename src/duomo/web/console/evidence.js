// @ts-check
/** What the system saw, heard and considered: artifacts with their correction, and the reasons behind a bot's message. */
import { html, nothing, styleMap } from "../vendor/lit.js";
import { formatDuration } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { artifactCorrection, correctArtifact, signature } from "./correct.js";
import { desk, Pane } from "./desk.js";
import "./why.js";

/** @typedef {import("../shared/protocol").Artifact} Artifact */
/** @typedef {import("../shared/protocol").Message} Message */

const LONG = 320; // characters of an artifact that are shown at first
const UNSURE = 0.7;
const KIND_ICONS = /** @type {const} */ ({ transcript: "mic", ocr: "scan", picture_kind: "image", document_text: "document" });

/** @param {string} key @param {string} otherwise for a key the words do not have */
function word(key, otherwise) {
  const text = desk.t(key);
  return text === key ? otherwise : text;
}

/** @param {number} share [0, 1] */
const percent = (share) => Math.round(share * 100);

/** One artifact: its text, how sure, by which model, and a correction in place. */
class ArtifactView extends Pane {
  static properties = { artifact: { attribute: false }, editing: { state: true }, whole: { state: true }, busy: { state: true } };

  constructor() {
    super();
    /** @type {Artifact | null} */
    this.artifact = null;
    this.editing = false;
    this.whole = false;
    this.busy = false;
  }

  async #edit() {
    this.editing = true;
    await this.updateComplete;
    this.querySelector("textarea")?.focus();
  }

  async #done() {
    this.editing = false;
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.querySelector(".edit"))?.focus();
  }

  /** @param {Event} event */
  #save = async (event) => {
    event.preventDefault();
    const text = this.querySelector("textarea")?.value.trim() ?? "";
    if (!this.artifact || !desk.thread || !text) return;
    const owner = artifactCorrection(this.artifact);
    if (owner) {
      if (text !== (owner.said?.value ?? this.artifact.text)) correctArtifact(owner.message, this.artifact, text);
      return this.#done();
    }
    this.busy = true;
    const saved = text === this.artifact.text || (await desk.thread.correct(this.artifact, text));
    this.busy = false;
    if (saved) await this.#done();
  };

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      void this.#done();
    } else if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) void this.#save(event);
  };

  render() {
    const { t } = desk;
    const { artifact } = this;
    if (!artifact) return nothing;
    const label = word(`artifact_${artifact.kind}`, artifact.kind);
    const said = artifactCorrection(artifact)?.said ?? null;
    const shown = said?.unsent ? { ...artifact, text: said.value, original_text: artifact.original_text ?? artifact.text } : artifact;
    return html`<div class="artifact" data-kind=${artifact.kind}>
      <span class="artifact-label">${icon(KIND_ICONS[/** @type {keyof typeof KIND_ICONS} */ (artifact.kind)] ?? "spark", 15)}${label}</span>
      ${this.editing ? this.#form(shown) : this.#text(shown)} ${this.#before(shown)} ${this.#meta(artifact, said)}
    </div>`;
  }

  /** @param {Artifact} artifact */
  #form(artifact) {
    const { t } = desk;
    return html`<form class="artifact-form" @submit=${this.#save}>
      <textarea aria-label=${t("edit_artifact")} rows=${Math.min(8, artifact.text.split("\n").length + 1)} .value=${artifact.text} @keydown=${this.#key}></textarea>
      <div class="form-buttons"><button class="button small" type="button" @click=${() => this.#done()}>${t("cancel")}</button>
        <button class="button primary small" type="submit" ?disabled=${this.busy}>${t("save")}</button></div>
    </form>`;
  }

  /** @param {Artifact} artifact */
  #text(artifact) {
    const { t } = desk;
    if (artifact.kind === "picture_kind") return html`<p class="artifact-text">${word(`kind_${artifact.text}`, artifact.text)}</p>`;
    const segments = this.#segments(artifact);
    const long = artifact.text.length > LONG && !this.whole;
    return html`<p class="artifact-text"><span class="said">${segments ?? (long ? `${artifact.text.slice(0, LONG)}…` : artifact.text)}</span>
      ${artifact.text.length > LONG && !segments ? html`<button class="link" type="button" aria-expanded=${this.whole ? "true" : "false"} @click=${() => (this.whole = !this.whole)}>${t(this.whole ? "show_less" : "show_all")}</button>` : nothing}
      <button class="icon-button small edit" type="button" aria-label=${t("edit_artifact")} title=${t("edit_artifact")} @click=${() => this.#edit()}>${icon("edit", 15)}</button></p>`;
  }

  /** Pieces of a transcript that play from their beginning; only while they still say what the text says. @param {Artifact} artifact */
  #segments(artifact) {
    /** @type {{start_s: number, end_s: number, text: string, confidence: number}[]} */
    const segments = artifact.data?.segments ?? [];
    const bare = (/** @type {string} */ text) => text.replace(/\s/g, "");
    if (segments.length < 2 || bare(segments.map((segment) => segment.text).join("")) !== bare(artifact.text)) return null;
    const player = /** @type {any} */ (this.closest(".part")?.querySelector("sound-view"));
    return segments.map((segment) => html`<button type="button" class="segment ${segment.confidence < UNSURE ? "unsure" : ""}"
      title="${desk.t("segment_at", { time: formatDuration(segment.start_s) })} · ${desk.t("confidence", { n: percent(segment.confidence) })}"
      @click=${() => player?.playFrom(segment.start_s)}>${segment.text}</button>`);
  }

  /** What stood there before. @param {Artifact} artifact */
  #before(artifact) {
    const { t } = desk;
    const repaired = artifact.data?.original;
    return html`
      ${artifact.original_text && artifact.original_text !== artifact.text ? html`<p class="artifact-before"><span>${t("original")}</span><del>${artifact.original_text}</del></p>` : nothing}
      ${repaired && repaired !== artifact.text && repaired !== artifact.original_text ? html`<p class="artifact-before"><span>${t("repaired")}</span><q>${repaired}</q></p>` : nothing}`;
  }

  /** @param {Artifact} artifact @param {import("./correct.js").Said | null} said */
  #meta(artifact, said) {
    const { t } = desk;
    const sure = artifact.confidence;
    return html`<p class="artifact-meta">
      ${artifact.corrected_by ? html`<span class="tag">${icon("check", 13)}${t(`corrected_${artifact.corrected_by}`)}</span>` : nothing}
      ${said ? signature(said) : nothing}
      ${sure === null || sure === undefined ? nothing : html`<span class=${sure < UNSURE ? "unsure-note" : ""}>${t("confidence", { n: percent(sure) })}</span>`}
      <span>${artifact.model}</span>${artifact.version ? html`<span class="version">${artifact.version.slice(0, 12)}</span>` : nothing}
      <span>${formatMs(artifact.duration_ms)}</span></p>`;
  }
}
customElements.define("artifact-view", ArtifactView);

/** @param {number} ms */
const formatMs = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`);

/** @typedef {{id: string, title: string, text: string, score: number, signals: [string, number][]}} Candidate */

const NOT_SIGNALS = new Set(["score", "position"]);
const SMALL_TALK = new Set(["greeting", "thanks", "goodbye", "acknowledged", "who"]);

/**
 * A bot's decision, sorted for reading; support/answer.py writes it. What is absent is left out.
 * @param {Message} message
 * @returns {{outcome: string, reason: string, searched: string, confidence: number | null, answerFrom: number, clarifyFrom: number, candidates: Candidate[], facts: [string, string][]}}
 */
export function readDecision({ decision = {}, kind }) {
  const candidates = (decision.candidates ?? []).map((/** @type {any} */ one) => ({
    id: one.article_id ?? "",
    title: one.title ?? "",
    text: one.text ?? "",
    score: Number(one.score ?? 0),
    signals: Object.entries(one).filter(([name, value]) => typeof value === "number" && !NOT_SIGNALS.has(name)),
  }));
  const outcome = decision.outcome ?? kind;
  /** @type {[string, string][]} */
  const facts = [];
  for (const [name, model] of Object.entries(decision.models ?? {})) facts.push([name, typeof model === "string" ? model : [model.model, model.version].filter(Boolean).join(" · ")]);
  for (const name of ["writer", "llm", "calibration"]) if (decision[name]) facts.push([name, String(decision[name])]);
  const removed = decision.removed_sentences;
  if (Array.isArray(removed) ? removed.length : removed) facts.push(["removed_sentences", Array.isArray(removed) ? removed.join(" ") : String(removed)]);
  const timings = Object.entries(decision.timings_ms ?? {});
  if (timings.length) facts.push(["timings", timings.map(([name, ms]) => `${name} ${formatMs(Number(ms))}`).join(" · ")]);
  return {
    outcome: SMALL_TALK.has(outcome) ? "small_talk" : outcome,
    reason: decision.reason ?? "",
    searched: decision.searched ?? "",
    confidence: typeof decision.confidence === "number" ? decision.confidence : null,
    answerFrom: Number(decision.answer_from ?? 0),
    clarifyFrom: Number(decision.clarify_from ?? 0),
    candidates,
    facts,
  };
}

/** Readable in ten seconds: the verdict, the score against what was needed, the passages; all the rest on demand. */
class WhyView extends Pane {
  static properties = { message: { attribute: false } };

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
  }

  render() {
    const { t } = desk;
    if (!this.message) return nothing;
    const why = readDecision(this.message);
    return html`<div class="why">
      <p class="verdict">${icon(VERDICT_ICONS[/** @type {keyof typeof VERDICT_ICONS} */ (why.outcome)] ?? "info", 16)}
        <strong>${word(`why_${why.outcome}`, t("why_other"))}</strong>${why.reason ? html`<span>${reasonText(why.reason)}</span>` : nothing}</p>
      <why-panel .message=${this.message}></why-panel>
      ${this.#confidence(why)} ${this.#candidates(why.candidates)}
      ${why.searched || why.facts.length ? html`<dl class="facts">
        ${why.searched ? html`<dt>${t("query")}</dt><dd>${why.searched}</dd>` : nothing}
        ${why.facts.map(([name, value]) => html`<dt>${word(`fact_${name}`, name)}</dt><dd>${value}</dd>`)}</dl>` : nothing}
      <details class="json"><summary>${t("whole_decision")}</summary><pre tabindex="0">${JSON.stringify(this.message.decision, null, 2)}</pre></details>
    </div>`;
  }

  /** How sure it was, against what an answer and a question back need. @param {ReturnType<typeof readDecision>} why */
  #confidence({ confidence, answerFrom, clarifyFrom }) {
    const { t } = desk;
    if (confidence === null) return nothing;
    const enough = answerFrom > 0 ? confidence >= answerFrom : null;
    const ticks = [clarifyFrom, answerFrom].filter((tick) => tick > 0 && tick < 1);
    return html`<div class="measure">
      <span class="measure-name">${t("score")}</span>
      ${bar(confidence, ticks, enough === null ? "" : enough ? "enough" : "short")}
      <span class="number">${confidence.toFixed(2)}</span>
      ${enough === null ? nothing : html`<span class="needed ${enough ? "enough" : "short"}">${t(enough ? "above" : confidence >= clarifyFrom && clarifyFrom > 0 ? "between" : "below", { answer: answerFrom.toFixed(2), clarify: clarifyFrom.toFixed(2) })}</span>`}
    </div>`;
  }

  /** @param {Candidate[]} candidates */
  #candidates(candidates) {
    const { t } = desk;
    if (!candidates.length) return nothing;
    const shown = candidates.slice(0, 4);
    const cited = new Set((this.message?.citations ?? []).flatMap((citation) => [citation.article_id, citation.title]));
    const top = Math.max(Number.EPSILON, ...candidates.map((candidate) => candidate.score));
    return html`<h4>${t("candidates")}${shown.length < candidates.length ? html` <span class="muted">${t("top_candidates", { n: shown.length, total: candidates.length })}</span>` : nothing}</h4>
      <ol class="candidates">${shown.map((candidate) => html`<li>
        <div class="candidate-head">
          ${candidate.id ? html`<button class="link" type="button" @click=${() => desk.openArticle(candidate.id, candidate.text, candidate.title)}>${candidate.title}</button>` : html`<span>${candidate.title}</span>`}
          ${cited.has(candidate.id) || cited.has(candidate.title) ? html`<span class="tag">${t("used")}</span>` : nothing}
          <span class="number">${candidate.score.toFixed(candidate.score < 0.1 ? 3 : 2)}</span></div>
        ${bar(candidate.score / top, [], "")}
        ${candidate.text ? html`<p class="candidate-text">${candidate.text}</p>` : nothing}
        ${candidate.signals.length ? html`<p class="signals">${candidate.signals.map(([name, value]) => html`<span>${name} ${value.toFixed(2)}</span>`)}</p>` : nothing}
      </li>`)}</ol>`;
  }
}
customElements.define("why-view", WhyView);

const VERDICT_ICONS = /** @type {const} */ ({ answer: "check", handoff: "person", emergency: "alert", clarify: "help", small_talk: "chat" });

/** @param {number} share [0, 1] @param {number[]} ticks where the thresholds stand @param {string} tone */
function bar(share, ticks, tone) {
  return html`<span class="bar ${tone}" aria-hidden="true"><i style=${styleMap({ width: `${Math.max(0, Math.min(1, share)) * 100}%` })}></i>
    ${ticks.map((tick) => html`<b style=${styleMap({ left: `${tick * 100}%` })}></b>`)}</span>`;
}

/** A reason's code in words, or the sentence it already is. @param {string} reason */
export function reasonText(reason) {
  return word(`reason_${reason}`, reason);
}
