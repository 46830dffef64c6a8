// @ts-check
/** What the system saw, heard and considered: artifacts with their correction, and the reasons behind a bot's message. */
import { html, nothing, styleMap } from "../vendor/lit.js";
import { formatDuration } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";

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
    return html`<div class="artifact" data-kind=${artifact.kind}>
      <span class="artifact-label">${icon(KIND_ICONS[/** @type {keyof typeof KIND_ICONS} */ (artifact.kind)] ?? "spark", 15)}${label}</span>
      ${this.editing ? this.#form(artifact) : this.#text(artifact)} ${this.#before(artifact)} ${this.#meta(artifact)}
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
    return html`<p class="artifact-text">${segments ?? (long ? `${artifact.text.slice(0, LONG)}…` : artifact.text)}
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

  /** @param {Artifact} artifact */
  #meta(artifact) {
    const { t } = desk;
    const sure = artifact.confidence;
    return html`<p class="artifact-meta">
      ${artifact.corrected_by ? html`<span class="tag">${icon("check", 13)}${t(`corrected_${artifact.corrected_by}`)}</span>` : nothing}
      ${sure === null || sure === undefined ? nothing : html`<span class=${sure < UNSURE ? "unsure-note" : ""}>${t("confidence", { n: percent(sure) })}</span>`}
      <span>${artifact.model}</span>${artifact.version ? html`<span class="version">${artifact.version.slice(0, 12)}</span>` : nothing}
      <span>${formatMs(artifact.duration_ms)}</span></p>`;
  }
}
customElements.define("artifact-view", ArtifactView);

/** @param {number} ms */
const formatMs = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`);

/** @typedef {{name: string, value: number, needed: number | null}} Measure */
/** @typedef {{id: string, title: string, text: string, score: number, signals: [string, number][]}} Candidate */

/**
 * A bot's decision, sorted for reading. Names follow support/policy.py; what is absent is left out.
 * @param {Message} message
 * @returns {{outcome: string, reason: string, measures: Measure[], candidates: Candidate[], models: [string, string][], timings: [string, number][]}}
 */
export function readDecision(message) {
  const decision = message.decision ?? {};
  const thresholds = decision.thresholds ?? {};
  /** @type {Measure[]} */
  const measures = [];
  const needed = typeof decision.threshold === "number" ? decision.threshold : null;
  const best = decision.score ?? decision.probability ?? decision.confidence;
  if (typeof best === "number") measures.push({ name: "score", value: best, needed });
  for (const [name, value] of Object.entries(decision.scores ?? {})) {
    if (typeof value === "number") measures.push({ name, value, needed: typeof thresholds[name] === "number" ? thresholds[name] : null });
  }
  const candidates = (decision.candidates ?? decision.passages ?? []).map((/** @type {any} */ one) => ({
    id: one.article_id ?? "",
    title: one.title ?? one.article_id ?? one.chunk_id ?? "",
    text: one.text ?? one.quote ?? "",
    score: Number(one.score ?? 0),
    signals: Object.entries(one.signals ?? {}).filter(([, value]) => typeof value === "number"),
  }));
  return {
    outcome: decision.outcome ?? message.kind,
    reason: decision.reason ?? "",
    measures,
    candidates,
    models: modelsOf(decision.models ?? (decision.model ? { model: decision.model } : {})),
    timings: Object.entries(decision.timings_ms ?? {}).filter(([, value]) => typeof value === "number"),
  };
}

/** @param {any} models a list of {feature, model, version}, or names with a string or {model, version} @returns {[string, string][]} */
function modelsOf(models) {
  /** @type {[string, any][]} */
  const pairs = Array.isArray(models) ? models.map((one) => [one.feature ?? one.name ?? "", one]) : Object.entries(models);
  return pairs.map(([name, one]) => [name, typeof one === "string" ? one : [one.model, one.version?.slice?.(0, 12)].filter(Boolean).join(" · ")]);
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
    const cited = new Set(this.message.citations.map((citation) => citation.article_id));
    const top = Math.max(1, ...why.candidates.map((candidate) => candidate.score));
    const shown = why.candidates.slice(0, 4);
    return html`<div class="why">
      <p class="verdict">${icon(why.outcome === "answer" ? "check" : why.outcome === "handoff" ? "person" : "info", 16)}
        <strong>${word(`why_${why.outcome}`, t("why_other"))}</strong>${why.reason ? html`<span>${reasonText(why.reason)}</span>` : nothing}</p>
      ${why.measures.map((measure) => this.#measure(measure))}
      ${shown.length ? html`<h4>${t("candidates")}${shown.length < why.candidates.length ? html` <span class="muted">${t("top_candidates", { n: shown.length, total: why.candidates.length })}</span>` : nothing}</h4>
        <ol class="candidates">${shown.map((candidate) => html`<li>
          <div class="candidate-head">
            ${candidate.id ? html`<button class="link" type="button" @click=${() => desk.openArticle(candidate.id, candidate.text, candidate.title)}>${candidate.title}</button>` : html`<span>${candidate.title}</span>`}
            ${cited.has(candidate.id) ? html`<span class="tag">${t("used")}</span>` : nothing}
            <span class="number">${candidate.score.toFixed(2)}</span></div>
          ${bar(candidate.score / top, null, "")}
          ${candidate.text ? html`<p class="candidate-text">${candidate.text}</p>` : nothing}
          ${candidate.signals.length ? html`<p class="signals">${candidate.signals.map(([name, value]) => html`<span>${name} ${value.toFixed(2)}</span>`)}</p>` : nothing}
        </li>`)}</ol>` : nothing}
      <dl class="facts">
        ${why.models.length ? html`<dt>${t("models_used")}</dt><dd>${why.models.map(([name, model]) => html`<div>${name ? `${name}: ` : ""}${model}</div>`)}</dd>` : nothing}
        ${why.timings.length ? html`<dt>${t("timings")}</dt><dd>${why.timings.map(([name, ms]) => `${name} ${formatMs(ms)}`).join(" · ")}</dd>` : nothing}
      </dl>
      <details class="json"><summary>${t("whole_decision")}</summary><pre tabindex="0">${JSON.stringify(this.message.decision, null, 2)}</pre></details>
    </div>`;
  }

  /** @param {Measure} measure */
  #measure({ name, value, needed }) {
    const { t } = desk;
    const enough = needed === null ? null : value >= needed;
    const scale = Math.max(1, value, needed ?? 0);
    return html`<div class="measure">
      <span class="measure-name">${word(name, name)}</span>
      ${bar(value / scale, needed === null ? null : needed / scale, enough === null ? "" : enough ? "enough" : "short")}
      <span class="number">${value.toFixed(2)}</span>
      ${needed === null ? nothing : html`<span class="needed ${enough ? "enough" : "short"}">${t("threshold", { value: needed.toFixed(2) })} · ${t(enough ? "above" : "below")}</span>`}
    </div>`;
  }
}
customElements.define("why-view", WhyView);

/** @param {number} share [0, 1] @param {number | null} tick where the threshold stands @param {string} tone */
function bar(share, tick, tone) {
  return html`<span class="bar ${tone}" aria-hidden="true"><i style=${styleMap({ width: `${Math.max(0, Math.min(1, share)) * 100}%` })}></i>
    ${tick === null ? nothing : html`<b style=${styleMap({ left: `${tick * 100}%` })}></b>`}</span>`;
}

/** A reason's code in words, or the sentence it already is. @param {string} reason */
export function reasonText(reason) {
  return word(`reason_${reason}`, reason);
}
