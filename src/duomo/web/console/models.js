// @ts-check
/** Which model answers, which ones are being tried and how they do, trainings, drift, alarms, and all that was. */
import { html, nothing, repeat, styleMap, svg } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { errorText, extend, formatTime, localeOf } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { labels } from "./labels.js";
import { modal } from "./modal.js";
import { gateText, listed, named, reasonText, refusalText, refusedBy, verdictLines, verdictText } from "./models_said.js";
import { MODELS_WORDS } from "./models_words.js";

extend(MODELS_WORDS);

/** @typedef {"active" | "canary" | "shadow"} Role */
/** @typedef {{indicator: string, tried: [number, number], usual: [number, number], evidence: number, needed: number, worse: boolean}} Finding */
/** @typedef {{turns: number, wanted: number, verdict: "waiting" | "passed" | "worse", against: {id: string, name: string} | null, findings: Finding[], agreement?: number | null, confidence?: [number, number] | null, duration_ms?: [number, number]}} Trial */
/** @typedef {{model_id: string, share: number | null, began_at: string, began_by: string, reason: string, trial: Trial | null}} Deployed */
/** @typedef {{name: string, type: string, labels: number, measure: string | null, reached: number | null, rows: number | null}} Reached */
/** @typedef {{id: string, fingerprint: string, name: string, origin: string, roles: Role[], taken_back: boolean, modalities: string[], heads: Reached[], duomo: string, agent: string | null, created_at: string}} Registered */
/** @typedef {{models: Registered[], roles: Partial<Record<Role, Deployed>>, rollout: {shadow_turns: number, canary_share: number, canary_turns: number}}} Models */
/** @typedef {{id: string, model_id: string, name: string, fingerprint: string, role: Role, share: number | null, began_at: string, began_by: string, agent: string | null, reason: string, ended_at: string | null, ended_by: string | null, ended_reason: string | null}} Period */
/** @typedef {{id: string, kind: string, subject: string, data: any, created_at: string, cleared_at: string | null, agent: string | null}} Alarm */
/** @typedef {{upto: number, figures: any, drifted: boolean, created_at: string}} Window */
/** @typedef {{window: number, subjects: Record<string, Window[]>}} Drift */
/** @typedef {import("./models_said.js").Gate} Gate */
/** @typedef {{id: string, state: string, began_by: string, agent: string | null, counts: Record<string, any>, model_id: string | null, model: string | null, gates: Gate[], verdict: string, has_report: boolean, progress: {stage: string, detail?: string, done?: number | null, total?: number | null} | null, created_at: string, finished_at: string | null}} Run */
/** @typedef {{kind: "deploy", model: Registered, role: Role, share: number} | {kind: "rollback", name: string} | {kind: "retire", role: Role, name: string} | {kind: "decide", run: Run}} Asking */

const ROLES = /** @type {Role[]} */ (["active", "canary", "shadow"]);
const VIEWS = ["now", "runs", "drift", "past"];
const UNDER_WAY = ["queued", "exporting", "training", "comparing"];
const COUNTS = ["labelled", "unlabelled", "held_out", "corrections"];
const LOOK_AGAIN = 10_000; // ms
const ALARMS_AGAIN = 60_000; // ms

/** @param {number} share */
const percent = (share) => share.toLocaleString(localeOf(desk.language), { style: "percent", maximumFractionDigits: share > 0 && share < 0.1 ? 1 : 0 });
/** @param {number} value @param {number} [digits] */
const decimal = (value, digits = 2) => value.toLocaleString(localeOf(desk.language), { maximumFractionDigits: digits, minimumFractionDigits: digits });
/** @param {[number, number]} count */
const rate = ([k, n]) => (n ? percent(k / n) : "–");
/** @param {string} moment */
const when = (moment) => html`<time datetime=${moment}>${formatTime(moment, desk.language)}</time>`;

/** How many alarms are open; every page shows a dot where there is one. */
export const alarms = {
  open: 0,
  at: 0,
  /** @param {Alarm[]} list */
  read(list) {
    const open = list.filter((alarm) => !alarm.cleared_at).length;
    if (open !== this.open) {
      this.open = open;
      desk.changed();
    }
  },
  async look() {
    if (!desk.session || document.visibilityState !== "visible" || Date.now() - this.at < ALARMS_AGAIN) return;
    this.at = Date.now();
    try {
      this.read(await desk.api.get("agent/alarms"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the next look will do
    }
  },
};
desk.addEventListener("change", () => void alarms.look());
setInterval(() => void alarms.look(), ALARMS_AGAIN);

class ModelsPage extends Pane {
  static properties = { path: { attribute: false }, models: { state: true }, runs: { state: true }, drift: { state: true }, past: { state: true }, alarms: { state: true }, asking: { state: true }, sending: { state: true }, refused: { state: true } };

  constructor() {
    super();
    /** What follows the page in the address. @type {string[]} */
    this.path = [];
    /** @type {Models | null} */
    this.models = null;
    /** @type {Run[] | null} */
    this.runs = null;
    /** @type {Drift | null} */
    this.drift = null;
    /** @type {Period[] | null} */
    this.past = null;
    /** @type {Alarm[]} */
    this.alarms = [];
    /** The question that is open. @type {Asking | null} */
    this.asking = null;
    this.sending = false;
    /** Why an archive was not taken. */
    this.refused = "";
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    void labels.load();
    void this.#load();
    this.timer = window.setInterval(() => document.visibilityState === "visible" && !this.asking && void this.#load(), LOOK_AGAIN);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  get view() {
    return VIEWS.includes(this.path[0]) ? this.path[0] : "now";
  }

  /** Why a model got its role or lost it: a training's verdict, or what is written. @param {string} text */
  #reason(text) {
    const run = this.runs?.find((one) => one.verdict === text);
    return run ? verdictText(run) : reasonText(text);
  }

  /** A rollback's reason tells of the model that was taken back, not of the one that came. @param {Deployed | Period} period */
  #began({ began_by, reason }) {
    const why = this.#reason(reason);
    return began_by === "rollback" && reason.startsWith("worse: ") ? desk.t("said_other_worse", { why }) : why;
  }

  /** How it ended: by whom, for which model, and why. @param {Period} period @param {Period[]} past */
  #ended(period, past) {
    const { t } = desk;
    const next = past.find((one) => one.began_at === period.ended_at && (one.role === period.role || one.model_id === period.model_id));
    const by = t("past_ended", { by: t(`model_by_${period.ended_by}`) });
    const then = next && (next.model_id === period.model_id ? t("past_next_role", { role: t(`as_${next.role}`) }) : t("past_next_model", { name: next.name }));
    return [by, then, period.ended_reason && this.#reason(period.ended_reason)].filter(Boolean).join(" · ");
  }

  get owns() {
    return desk.me.role === "owner";
  }

  async #load() {
    try {
      const asked = ["models", "improvements", "drift", "models/history", "alarms"].map((what) => desk.api.get(`agent/${what}`));
      [this.models, this.runs, this.drift, this.past, this.alarms] = /** @type {any} */ (await Promise.all(asked));
      alarms.read(this.alarms);
    } catch (error) {
      desk.report(error);
    }
  }

  /** @param {string} path @param {unknown} [body] */
  async #change(path, body) {
    this.sending = true;
    try {
      await desk.api.post(`agent/${path}`, body ?? {});
      this.asking = null;
      await this.#load();
      return true;
    } catch (error) {
      if (error instanceof ApiError && ["bad_input", "conflict"].includes(error.code) && error.message) desk.toast(reasonText(error.message), { tone: "danger" });
      else desk.report(error);
      return false;
    } finally {
      this.sending = false;
    }
  }

  /** @param {Event} event */
  #upload = async (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    const file = input.files?.[0];
    if (!file) return;
    const form = new FormData();
    form.append("file", file, file.name);
    input.value = "";
    this.refused = "";
    this.sending = true;
    try {
      const made = await desk.api.post("agent/models", form);
      desk.toast(desk.t("model_taken", { name: made.name }));
      await this.#load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.refused = error.message ? refusalText(error.message) : errorText(error, desk.t);
    } finally {
      this.sending = false;
    }
  };

  render() {
    const { t } = desk;
    const { view } = this;
    return html`<section class="page models-page" aria-label=${t("models")} aria-busy=${this.sending}>
      <header class="page-head"><div><h1>${t("models")}</h1>${this.owns ? nothing : html`<p class="muted">${t("only_owner")}</p>`}</div>
        <nav class="views" aria-label=${t("models")}>${VIEWS.map((name) => html`<a href="#/models/${name}" aria-current=${name === view ? "page" : nothing}>${t(`models_${name}`)}</a>`)}</nav></header>
      <div class="page-body" tabindex="0" role="group" aria-label=${t(`models_${view}`)}>
        ${this.#alarms()}
        ${!this.models ? html`<p class="empty muted">${t("loading")}</p>` : view === "now" ? this.#now(this.models) : view === "runs" ? this.#runs() : view === "drift" ? this.#drift() : this.#past()}
      </div>
      ${this.asking ? this.#dialog(this.asking) : nothing}
    </section>`;
  }

  #alarms() {
    const { t } = desk;
    const open = this.alarms.filter((alarm) => !alarm.cleared_at);
    return html`<ul class="alarms" aria-live="polite">${repeat(open, (alarm) => alarm.id, (alarm) => {
      const run = this.runs?.find((one) => one.id === alarm.data.improvement_id);
      const gates = run ? refusedBy(run) : [];
      const why = gates.length ? t("alarm_gates", { names: listed([...new Set(gates.map((gate) => named("gate", gate.gate)))]) }) : reasonText(alarm.data.why ?? "");
      const [title, text] = alarmText(alarm, why);
      return html`<li class="alarm" data-kind=${alarm.kind}>${icon("alert", 20)}<div><strong>${title}</strong>${text ? html`<p>${text}${run && this.view !== "runs" ? html` <a href="#/models/runs">${t("alarm_look")}</a>` : nothing}</p>` : nothing}${when(alarm.created_at)}</div>
        <button class="button small" type="button" ?disabled=${this.sending} @click=${() => this.#change(`alarms/${alarm.id}/clear`)}>${icon("check", 16)}${t("alarm_seen")}</button></li>`;
    })}</ul>`;
  }

  // -- now -----------------------------------------------------------------------------------------------------------

  /** @param {Models} models */
  #now(models) {
    const { t } = desk;
    return html`<div class="roles">${ROLES.map((role) => this.#role(role, models))}</div>
      <div class="section-head"><h2>${t("all_models")}</h2>${this.owns ? html`<label class="button" aria-disabled=${this.sending}>${icon("upload", 18)}<span>${t(this.sending ? "uploading_model" : "upload_model")}</span>
        <input class="visually-hidden" type="file" accept=".zip,application/zip" ?disabled=${this.sending} @change=${this.#upload} /></label>` : nothing}</div>
      ${this.refused ? html`<p class="banner warn" role="alert">${icon("alert", 18)}<span>${this.refused}</span></p>` : nothing}
      ${models.models.length ? this.#list(models) : html`<div class="empty">${icon("cube", 32)}<p><strong>${t("no_models")}</strong></p><p>${t("no_models_hint")}</p></div>`}`;
  }

  /** @param {Role} role @param {Models} models */
  #role(role, models) {
    const { t } = desk;
    const now = models.roles[role];
    const model = now && models.models.find((one) => one.id === now.model_id);
    if (!now || !model) return html`<article class="role-card none" aria-label=${t(`as_${role}`)}><h2>${t(`as_${role}`)}</h2><p class="muted">${t(`nobody_${role}`)}</p></article>`;
    const { trial } = now;
    return html`<article class="role-card ${role}" aria-label=${t(`as_${role}`)}>
      <header><h2>${t(`as_${role}`)}</h2>${now.share ? html`<span class="tag">${t("share_of_talks", { share: percent(now.share) })}</span>` : nothing}${trial ? html`<span class="tag verdict ${trial.verdict}">${t(`trial_${trial.verdict}`)}</span>` : nothing}</header>
      <p class="role-model"><strong>${model.name}</strong><code>${model.fingerprint.slice(0, 8)}</code></p>
      <p class="muted">${t("model_since", { when: formatTime(now.began_at, desk.language), by: t(`model_by_${now.began_by}`) })}${now.reason ? html` · ${this.#began(now)}` : nothing}</p>
      ${trial ? this.#trial(role, trial) : html`<p class="muted">${t(`as_${role}_note`)}</p>`}
      ${this.owns ? html`<div class="role-actions">${role === "active"
        ? html`<button class="button small" type="button" @click=${() => (this.asking = { kind: "rollback", name: model.name })}>${icon("undo", 16)}${t("roll_back")}</button>`
        : html`<button class="button small primary" type="button" @click=${() => this.#ask(model, "active")}>${t("make_active")}</button><button class="button small quiet" type="button" @click=${() => (this.asking = { kind: "retire", role, name: model.name })}>${t("retire")}</button>`}</div>` : nothing}
    </article>`;
  }

  /** @param {Role} role @param {Trial} trial */
  #trial(role, trial) {
    const { t } = desk;
    const { against, turns, wanted } = trial;
    const label = role === "active" && against ? t("trial_watched", { name: against.name, n: turns, of: wanted }) : t("trial_turns", { n: turns, of: wanted });
    return html`<div class="trial"><p class="trial-turns">${label}</p>
      <div class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax=${wanted} aria-valuenow=${Math.min(turns, wanted)}><i style=${styleMap({ width: `${Math.min(1, turns / Math.max(1, wanted)) * 100}%` })}></i></div>
      ${against ? (role === "active" ? nothing : html`<p class="muted">${t("trial_against", { name: against.name })}</p>`) : html`<p class="muted">${t("trial_alone")}</p>`}
      ${turns && trial.agreement !== undefined && trial.agreement !== null ? html`<dl class="facts"><dt>${t("trial_agreement")}</dt><dd>${percent(trial.agreement)}</dd>
        ${trial.confidence ? html`<dt>${t("trial_confidence")}</dt><dd>${decimal(trial.confidence[0])} · ${decimal(trial.confidence[1])}</dd>` : nothing}
        ${trial.duration_ms ? html`<dt>${t("trial_ms")}</dt><dd>${decimal(trial.duration_ms[0], 1)} · ${decimal(trial.duration_ms[1], 1)}</dd>` : nothing}</dl>` : nothing}
      ${turns && trial.findings.length ? findings(trial.findings) : nothing}</div>`;
  }

  /** @param {Models} models */
  #list({ models }) {
    const { t } = desk;
    return html`<div class="scroll" tabindex="0" role="group" aria-label=${t("all_models")}><table class="model-list"><thead><tr><th scope="col">${t("past_model")}</th><th scope="col">${t("model_roles")}</th><th scope="col">${t("model_reads")}</th><th scope="col">${t("model_reached")}</th><th scope="col">${t("model_added")}</th>${this.owns ? html`<th scope="col"><span class="visually-hidden">${t("actions")}</span></th>` : nothing}</tr></thead>
      <tbody>${repeat(models, (model) => model.id, (model) => html`<tr><th scope="row"><span class="model-name">${model.name}</span><code>${model.fingerprint.slice(0, 8)}</code> <span class="muted">${t(`model_origin_${model.origin}`)}${model.agent ? `, ${model.agent}` : ""}</span></th>
        <td>${model.roles.map((role) => html`<span class="tag role ${role}">${t(`as_${role}`)}</span> `)}${model.taken_back ? html`<span class="tag warn">${t("model_taken_back")}</span>` : nothing}</td>
        <td>${model.modalities.map((name) => named("subject", name)).join(desk.language === "zh" ? "、" : ", ")}</td>
        <td>${model.heads.map((head) => html`<div class="head-line"><span>${labels.headTitle(head.name)}</span> <span class="muted">${head.type === "number" ? nothing : t("model_labels", { n: head.labels })}</span> ${head.reached === null ? nothing : html`<strong title=${t("model_reached_of", { share: head.measure === "r2" ? decimal(head.reached) : percent(head.reached), n: head.rows ?? 0 })}>${head.measure === "r2" ? `R² ${decimal(head.reached)}` : percent(head.reached)}</strong>`}</div>`)}</td>
        <td>${when(model.created_at)}</td>
        ${this.owns ? html`<td><button class="button small" type="button" aria-label=${t("use_model", { name: model.name })} ?disabled=${model.roles.includes("active")} @click=${() => this.#ask(model, "active")}>${t("use_as")}</button></td>` : nothing}</tr>`)}</tbody></table></div>`;
  }

  // -- runs ----------------------------------------------------------------------------------------------------------

  #runs() {
    const { t } = desk;
    const runs = /** @type {Run[]} */ (this.runs ?? []);
    const running = runs.some((run) => UNDER_WAY.includes(run.state));
    return html`<div class="section-head"><h2>${t("models_runs")}</h2><button class="button primary" type="button" ?disabled=${running || this.sending} @click=${async () => (await this.#change("improvements")) && desk.toast(t("training_begun"))}>${icon("spark", 18)}${t("training_begin")}</button></div>
      ${runs.length ? html`<ul class="runs">${repeat(runs, (run) => run.id, (run) => this.#run(run))}</ul>` : html`<p class="empty muted">${t("training_none")}</p>`}`;
  }

  /** @param {Run} run */
  #run(run) {
    const { t } = desk;
    const gates = run.gates.filter((gate) => gate.gate !== "gain").sort((a, b) => Number(a.passed) - Number(b.passed));
    const passed = gates.filter((gate) => gate.passed).length;
    const counted = COUNTS.filter((name) => typeof run.counts[name] === "number");
    const by = run.agent ? t("model_by_name", { name: run.agent }) : t(`training_by_${run.began_by}`);
    const { progress } = run;
    return html`<li class="run" data-state=${run.state}>
      <header><span class="tag verdict ${run.state}">${t(`training_${run.state}`)}</span>${when(run.created_at)}<span class="muted">${by}</span>${run.model ? html`<strong>${run.model}</strong>` : nothing}<span class="gap"></span>
        ${run.has_report ? html`<a class="button small" href="/api/v1/agent/improvements/${run.id}/report" target="_blank" rel="noopener">${icon("external", 16)}${t("training_report")}</a>` : nothing}
        ${run.state === "refused" && run.model_id && this.owns ? html`<button class="button small" type="button" @click=${() => (this.asking = { kind: "decide", run })}>${t("decide")}</button>` : nothing}</header>
      ${progress ? html`<p class="muted" title=${progress.detail ?? ""}>${named("stage", progress.stage)}${progress.total ? ` · ${progress.done ?? 0}/${progress.total}` : ""}</p>` : nothing}
      ${run.verdict && !refusedBy(run).length ? html`<p class="run-verdict">${verdictText(run)}</p>` : nothing}
      ${counted.length ? html`<p class="muted">${t("training_counts", { what: counted.map((name) => `${run.counts[name]} ${t(`count_${name}`)}`).join(" · ") })}</p>` : nothing}
      ${gates.length ? html`<details ?open=${run.state === "refused"}><summary>${t("training_gates", { passed, n: gates.length })}</summary><div class="scroll" tabindex="0" role="group" aria-label=${t("gate")}><table class="gates"><tbody>
        ${gates.map((gate) => html`<tr class=${gate.passed ? "" : "failed"}><td class="gate-state">${icon(gate.passed ? "check" : "close", 16)}<span class="visually-hidden">${t(gate.passed ? "gate_passed" : "gate_failed")}</span></td><th scope="row">${named("gate", gate.gate)}</th><td>${gateText(gate)}</td></tr>`)}</tbody></table></div></details>` : nothing}</li>`;
  }

  // -- drift and history ---------------------------------------------------------------------------------------------

  #drift() {
    const { t } = desk;
    const found = Object.entries(this.drift?.subjects ?? {}).filter(([, windows]) => windows.length);
    if (!found.length) return html`<p class="muted drift-note">${t("drift_note", { n: this.drift?.window ?? 0 })}</p><p class="empty muted">${t("drift_none")}</p>`;
    const order = ["text", "image", "audio", "confidence", "out_of_scope"];
    found.sort(([a], [b]) => (order.indexOf(a) + 9) % 9 - ((order.indexOf(b) + 9) % 9));
    return html`<p class="muted drift-note">${t("drift_note", { n: this.drift?.window ?? 0 })}</p>
      <div class="drifts">${found.map(([subject, windows]) => driftChart(subject, windows))}</div>`;
  }

  #past() {
    const { t } = desk;
    const past = /** @type {Period[]} */ (this.past ?? []);
    if (!past.length) return html`<p class="empty muted">${t("past_none")}</p>`;
    return html`<ol class="timeline">${repeat(past, (period) => period.id, (period) => html`<li class=${period.ended_at ? period.role : `${period.role} runs`}>
      <p class="period">${when(period.began_at)} – ${period.ended_at ? when(period.ended_at) : html`<strong>${t("still")}</strong>`}</p>
      <p><span class="tag role ${period.role}">${t(`as_${period.role}`)}</span> <strong>${period.name}</strong> <code>${period.fingerprint.slice(0, 8)}</code>${period.share ? html` <span class="muted">${t("share_of_talks", { share: percent(period.share) })}</span>` : nothing}</p>
      <p class="muted">${period.agent ? t("model_by_name", { name: period.agent }) : t(`model_by_${period.began_by}`)}${period.reason ? html` · ${this.#began(period)}` : nothing}</p>
      ${period.ended_by ? html`<p class=${period.ended_by === "rollback" ? "ended back" : "ended muted"}>${this.#ended(period, past)}</p>` : nothing}</li>`)}</ol>`;
  }

  // -- questions -----------------------------------------------------------------------------------------------------

  /** @param {Registered} model @param {Role} role */
  #ask(model, role) {
    this.asking = { kind: "deploy", model, role, share: this.models?.rollout.canary_share ?? 0.1 };
  }

  /** @param {SubmitEvent} event */
  #answer = (event) => {
    event.preventDefault();
    const { asking } = this;
    const sent = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const words = String(sent.get("words") ?? "").trim();
    if (!asking || !words) return;
    switch (asking.kind) {
      case "deploy": {
        const share = asking.role === "canary" ? { share: Number(sent.get("share")) / 100 } : {};
        void this.#change(`models/${asking.model.id}/deploy`, { role: asking.role, reason: words, ...share });
        break;
      }
      case "rollback":
        void this.#change("models/rollback", { reason: words });
        break;
      case "retire":
        void this.#change("models/retire", { role: asking.role, reason: words });
        break;
      default:
        void this.#change(`improvements/${asking.run.id}/decide`, { words });
    }
  };

  /** @param {Asking} asking */
  #dialog(asking) {
    const { t } = desk;
    const close = () => (this.asking = null);
    const [label, text, done] = asking.kind === "deploy" ? [t("use_model", { name: asking.model.name }), "", t("use_do")]
      : asking.kind === "rollback" ? [t("roll_back_title"), t("roll_back_text", { name: asking.name }), t("roll_back")]
      : asking.kind === "retire" ? [t("retire_title", { role: t(`as_${asking.role}`) }), t("retire_text", { name: asking.name }), t("retire")]
      : [t("decide_title"), t("decide_text"), t("decide")];
    return modal(html`<form class="dialog-text model-form" @submit=${this.#answer}>
      ${text ? html`<p>${text}</p>` : nothing}
      ${asking.kind === "decide" && asking.run.verdict ? html`<blockquote>${verdictLines(asking.run).map((line) => html`<p>${line}</p>`)}</blockquote>` : nothing}
      ${asking.kind === "deploy" ? html`<fieldset><legend>${t("use_role")}</legend>${ROLES.map((role) => html`<label class="choice"><input type="radio" name="role" value=${role} .checked=${role === asking.role} @change=${() => (this.asking = { ...asking, role })} /><span><strong>${t(`as_${role}`)}</strong><span class="muted">${t(`as_${role}_note`)}</span></span></label>`)}</fieldset>
        ${asking.role === "canary" ? html`<label>${t("use_share")}<span class="share-field"><input type="number" name="share" min="1" max="100" step="1" required .value=${String(Math.round(asking.share * 100))} /> %</span></label>` : nothing}` : nothing}
      <label>${t(asking.kind === "decide" ? "decide_words" : "use_reason")}<textarea name="words" rows="3" required minlength=${asking.kind === "decide" ? 10 : 1} maxlength="1000"></textarea>${asking.kind === "decide" ? nothing : html`<span class="muted">${t("use_reason_hint")}</span>`}</label>
      <div class="form-buttons"><button class="button" type="button" @click=${close}>${t("cancel")}</button><button class="button primary" type="submit" ?disabled=${this.sending}>${done}</button></div></form>`,
    { label, onClose: close });
  }
}
customElements.define("console-models", ModelsPage);

/** @param {Finding[]} found */
function findings(found) {
  const { t } = desk;
  return html`<table class="findings"><thead><tr><th scope="col">${t("indicator")}</th><th scope="col" class="num">${t("with_this")}</th><th scope="col" class="num">${t("with_other")}</th><th scope="col">${t("proof")}</th></tr></thead>
    <tbody>${found.map((one) => html`<tr class=${one.worse ? "worse" : ""}><th scope="row">${named("found", one.indicator)}</th>${[one.tried, one.usual].map((count) => html`<td class="num">${rate(count)}${one.indicator === "confidence" ? nothing : html`<span class="muted of"> ${count[0]}/${count[1]}</span>`}</td>`)}<td>${proof(one)}</td></tr>`)}</tbody></table>`;
}

/** How far the evidence is on its way, by orders of magnitude. @param {Finding} finding */
function proof({ evidence, needed, worse }) {
  const share = worse ? 1 : needed <= 1 || evidence <= 1 ? 0 : Math.min(1, Math.log(evidence) / Math.log(needed));
  const text = desk.t("proof_note", { share: percent(share) });
  return html`<span class="proof" role="img" aria-label=${text} title=${text}><i style=${styleMap({ width: `${share * 100}%` })}></i></span>`;
}

/** @param {Alarm} alarm @param {string} why a training led to nothing @returns {[string, string]} */
function alarmText({ kind, subject, data }, why) {
  const { t } = desk;
  if (kind === "drift") {
    const usual = data.usual !== undefined;
    const text = usual ? t("alarm_confidence_text", { now: decimal(data.now), usual: decimal(data.usual) }) : t("alarm_drift_text", { distance: percent(data.distance ?? 0), from: percent(data.from ?? 0) });
    return [t("alarm_drift", { what: named("subject", subject) }), text];
  }
  if (kind === "rollback") {
    const kept = data.role === "active" && !data.to;
    const said = [reasonText(data.reason ?? ""), data.to ? t("alarm_back_to", { name: data.to.name }) : ""].filter(Boolean);
    return [t(kept ? "alarm_rollback_kept" : "alarm_rollback", { name: data.name ?? subject }), said.join(desk.language === "zh" ? "。" : ". ")];
  }
  if (kind === "model") return [t("alarm_model", { name: data.name ?? subject }), t(data.role === "active" ? "alarm_model_text" : "alarm_model_text_trial")];
  return kind === "improve" ? [t("alarm_improve"), why] : [t("alarm_other", { what: subject }), ""];
}

const WIDE = 320;
const HIGH = 96;

/** @param {string} subject @param {Window[]} windows in their order */
function driftChart(subject, windows) {
  const { t } = desk;
  const last = windows[windows.length - 1];
  const { figures } = last;
  const from = figures.from || 1;
  const most = Math.max(from * 1.6, ...windows.map((window) => window.figures.distance));
  /** @param {number} i */
  const x = (i) => (windows.length === 1 ? WIDE / 2 : 6 + (i / (windows.length - 1)) * (WIDE - 12));
  /** @param {number} value */
  const y = (value) => HIGH - 6 - (Math.max(0, value) / most) * (HIGH - 12);
  const state = t(last.drifted ? "drift_beyond" : "drift_usual");
  const what = named("subject", subject);
  /** @param {number} value */
  const told = (value) => (subject === "confidence" ? decimal(value) : percent(value));
  const line = windows.map((window, i) => `${x(i).toFixed(1)},${y(window.figures.distance).toFixed(1)}`).join(" ");
  return html`<figure class="drift ${last.drifted ? "beyond" : ""}"><figcaption><h3>${what}</h3><span class="tag verdict ${last.drifted ? "worse" : "passed"}">${state}</span></figcaption>
    <svg viewBox="0 0 ${WIDE} ${HIGH}" role="img" aria-label=${t("drift_as_text", { what, now: told(figures.distance), from: told(from), state })}>
      ${svg`<line class="limit" x1="0" x2=${WIDE} y1=${y(from)} y2=${y(from)} /><polyline points=${line} />
        ${windows.map((window, i) => svg`<circle class=${window.drifted ? "beyond" : ""} cx=${x(i)} cy=${y(window.figures.distance)} r=${window.drifted ? 4 : 2.5}><title>${formatTime(window.created_at, desk.language)}: ${told(window.figures.distance)}</title></circle>`)}`}</svg>
    <p>${t("drift_now", { now: told(figures.distance), from: told(from) })} <span class="muted">${t("drift_p", { p: decimal(figures.p, 3) })}</span></p>
    ${figures.confidence === undefined || figures.confidence === null ? nothing : html`<p class="muted">${t("drift_confidence", { now: decimal(figures.confidence) })} · ${named("found", "out_of_scope")} ${percent(figures.out_of_scope ?? 0)}</p>`}
    ${figures.usual === undefined ? nothing : html`<p class="muted">${t("drift_was", { now: told(figures.now), usual: told(figures.usual) })}</p>`}</figure>`;
}
