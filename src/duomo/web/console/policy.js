// @ts-check
/** What becomes of each turn: the rules as a table and as text, tried on the past, with a threshold set on its curve. */
import { html, live, nothing, styleMap } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { extend, formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { diff } from "./diff.js";
import { labels } from "./labels.js";
import { modal } from "./modal.js";
import { reasonText } from "./models_said.js";
import { mistakeText } from "./policy_said.js";
import { POLICY_WORDS } from "./policy_words.js";
import { percent, pointSays } from "./risk_curve.js";

extend(POLICY_WORDS);

/** @typedef {"answer" | "clarify" | "hand_over"} Do */
/** @typedef {{row: number, name: string, line: number, when: Record<string, string>, do: Do, team: string | null, priority: string, reason: string | null, answer_from: number | null, clarify_from: number | null}} Row */
/** @typedef {{zh?: string, en?: string, intents: string[]}} Team */
/**
 * @typedef {object} Said everything a policy says
 * @property {Row[]} table
 * @property {Record<string, Team>} teams
 * @property {Record<string, {answer_from: number | null, clarify_from: number | null}>} thresholds
 * @property {Record<string, string[]>} articles
 * @property {{worse_slice: number, min_slice: number}} gates
 * @property {{shadow_turns: number, canary_share: number, canary_turns: number}} rollout
 * @property {{consent: string, retention_days: number, schedule: string}} learning
 */
/** @typedef {{line: number, message: string}} Mistake */
/** @typedef {{mistakes: Mistake[], warnings: Mistake[], policy: Said | null}} Check */
/** @typedef {{version: number, note: string, agent: {id: string, name: string} | null, created_at: string | null}} Version */
/** @typedef {Version & {text: string, policy: Said, warnings: Mistake[], may_save: boolean}} Held */
/** @typedef {{n: number, answer: number, clarify: number, hand_over: number}} Shares */
/** @typedef {{message_id: string, conversation_id: string, at: string, was: any, becomes: any, text: string}} Change */
/**
 * @typedef {object} Run
 * @property {number} turns
 * @property {number} conversations
 * @property {number} changed
 * @property {number} rerouted
 * @property {number} assumed
 * @property {Shares} turns_now
 * @property {Shares} turns_then
 * @property {Shares} conversations_now
 * @property {Shares} conversations_then
 * @property {{row: number, turns: number}[]} rows
 * @property {Change[]} examples
 * @property {{rate: number, low: number, high: number, conversations: number, weeks: number} | null} next_week
 */

const VIEWS = /** @type {const} */ (["rules", "text", "threshold", "try", "history"]);
const DOS = /** @type {Do[]} */ (["answer", "clarify", "hand_over"]);
const SIGNS = /** @type {const} */ ({ answer: "chat", clarify: "help", hand_over: "person" });
const PAUSE = 350; // ms without a key before the text is checked
const SPANS = [7, 28, 90]; // days
const CURVE_DAYS = 90;
const RISKS = [0.02, 0.05, 0.1, 0.2];

/** What is written and not saved outlives a look at another page. @type {{by: string, text: string, version: number} | null} */
let draft = null;

class PolicyPage extends Pane {
  static properties = { path: { attribute: false } };

  constructor() {
    super();
    /** @type {string[]} */
    this.path = [];
    /** @type {Held | null} */
    this.held = null;
    this.text = "";
    /** Of which version the text was made. */
    this.base = 0;
    /** @type {Check | null} */
    this.check = null;
    /** The last text without mistakes. @type {Said | null} */
    this.said = null;
    this.checking = false;
    this.typed = 0;
    this.asked = 0;
    /** @type {"loading" | "ready" | "failed"} */
    this.state = "loading";
    /** @type {import("./risk_curve.js").Curve | null} */
    this.curve = null;
    this.curveOf = "";
    this.language = "";
    this.risk = 0.1;
    this.chosen = 0.5;
    /** @type {{text: string, days: number, found: Run} | null} */
    this.run = null;
    this.running = false;
    this.days = 28;
    /** @type {Version[] | null} */
    this.versions = null;
    /** @type {{version: number, text: string, lines: import("./diff.js").Line[]} | null} */
    this.compared = null;
    this.saves = false;
    this.note = "";
    this.busy = false;
  }

  connectedCallback() {
    super.connectedCallback();
    void labels.load();
    void this.#load();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.typed);
  }

  get view() {
    return VIEWS.find((view) => view === this.path[0]) ?? "rules";
  }

  get changed() {
    return this.held !== null && this.text !== this.held.text;
  }

  updated() {
    if (this.state !== "ready") return;
    if (this.view === "threshold") void this.#loadCurve();
    if (this.view === "history" && !this.versions) void this.#loadHistory();
  }

  // -- what the server knows -----------------------------------------------------------------------------------------

  async #load() {
    try {
      this.held = /** @type {Held} */ (await desk.api.get("agent/policy"));
      const mine = draft?.by === desk.session?.agent.id ? draft : null;
      this.base = mine?.version ?? this.held.version;
      this.text = mine?.text ?? this.held.text;
      this.said = this.held.policy;
      this.check = { mistakes: [], warnings: this.held.warnings, policy: this.held.policy };
      this.state = "ready";
      if (this.changed) void this.#validate();
    } catch (error) {
      this.state = "failed";
      desk.report(error);
    }
    this.requestUpdate();
  }

  /** @param {string} text */
  #write(text) {
    this.text = text;
    draft = this.changed ? { by: desk.session?.agent.id ?? "", text, version: this.base } : null;
    this.checking = true;
    clearTimeout(this.typed);
    this.typed = window.setTimeout(() => void this.#validate(), PAUSE);
    this.requestUpdate();
  }

  async #validate() {
    const asked = (this.asked += 1);
    try {
      const check = /** @type {Check} */ (await desk.api.post("agent/policy/validate", { text: this.text }));
      if (asked !== this.asked) return;
      this.check = check;
      this.said = check.policy ?? this.said;
    } catch (error) {
      desk.report(error);
    }
    this.checking = false;
    this.requestUpdate();
  }

  async #loadCurve() {
    const ask = new URLSearchParams({ days: String(CURVE_DAYS), risk: String(this.risk) });
    if (this.language) ask.set("language", this.language);
    if (this.curveOf === String(ask)) return;
    const first = !this.curveOf;
    this.curveOf = String(ask);
    try {
      const curve = /** @type {import("./risk_curve.js").Curve} */ (await desk.api.get(`agent/policy/thresholds?${ask}`));
      if (this.curveOf !== String(ask)) return;
      this.curve = curve;
      if (first) this.chosen = Object.values(curve.now)[0] ?? this.chosen;
    } catch (error) {
      desk.report(error);
    }
    this.requestUpdate();
  }

  async #loadHistory() {
    this.versions = [];
    try {
      this.versions = await desk.api.get("agent/policy/history");
      if (this.versions?.length) await this.#compare(this.versions[0].version);
    } catch (error) {
      desk.report(error);
    }
    this.requestUpdate();
  }

  /** @param {number} version */
  async #compare(version) {
    try {
      const [one, before] = await Promise.all([version, version - 1].map((n) => desk.api.get(`agent/policy/history/${n}`)));
      this.compared = { version, text: one.text, lines: diff(before.text, one.text) };
    } catch (error) {
      desk.report(error);
    }
    this.requestUpdate();
  }

  async #try() {
    this.running = true;
    this.requestUpdate();
    try {
      const { text, days } = this;
      this.run = { text, days, found: await desk.api.post("agent/policy/dry-run", { text, days }) };
    } catch (error) {
      desk.report(error);
    }
    this.running = false;
    this.requestUpdate();
  }

  async #useThreshold() {
    try {
      const sent = { text: this.text, answer_from: this.chosen, language: this.language || null };
      const { text } = await desk.api.post("agent/policy/thresholds", sent);
      this.#write(text);
    } catch (error) {
      desk.report(error);
    }
  }

  async #save() {
    this.busy = true;
    this.requestUpdate();
    try {
      const sent = { text: this.text, note: this.note.trim(), base_version: this.base };
      this.held = /** @type {Held} */ (await desk.api.put("agent/policy", sent));
      this.#start(this.held);
      desk.toast(desk.t("saved", { n: this.held.version }));
    } catch (error) {
      if (error instanceof ApiError && error.code === "changed_meanwhile") await this.#caughtUp();
      else desk.report(error);
    }
    this.busy = this.saves = false;
    this.requestUpdate();
  }

  /** Somebody else saved: their version is the one to compare with, ours stays in the editor. */
  async #caughtUp() {
    this.held = /** @type {Held} */ (await desk.api.get("agent/policy"));
    this.base = this.held.version;
    draft = { by: desk.session?.agent.id ?? "", text: this.text, version: this.base };
    this.versions = null;
    desk.toast(desk.t("save_meanwhile", { n: this.held.version }), { tone: "danger" });
    location.hash = "#/policy/history";
  }

  /** @param {Held} held */
  #start(held) {
    draft = null;
    this.text = held.text;
    this.base = held.version;
    this.said = held.policy;
    this.check = { mistakes: [], warnings: held.warnings, policy: held.policy };
    this.note = "";
    this.versions = this.compared = null;
    this.curveOf = "";
  }

  // -- the page ------------------------------------------------------------------------------------------------------

  render() {
    const { t } = desk;
    const { held } = this;
    if (this.state === "failed") return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => this.#load()}>${icon("retry", 18)}${t("retry")}</button></div>`;
    return html`<section class="page policy" aria-label=${t("policy")}>
      <header class="page-head"><div><h1>${t("policy")}</h1>${held ? html`<p class="muted">${this.#version(held)}</p>` : nothing}</div>
        <nav class="presets" aria-label=${t("policy")}>${VIEWS.map((view) => html`<a href="#/policy/${view}" aria-current=${view === this.view ? "page" : nothing}>${t(`policy_${view}`)}</a>`)}</nav></header>
      ${this.changed ? this.#bar() : nothing}
      <div class="page-body" tabindex="0" role="group" aria-label=${t(`policy_${this.view}`)}>${held && this.said ? this.#view(this.said) : html`<p class="empty muted">${t("loading")}</p>`}</div>
      ${this.saves ? this.#saving() : nothing}
    </section>`;
  }

  /** @param {Version} held */
  #version(held) {
    const { t } = desk;
    if (!held.version) return t("policy_shipped");
    const by = held.created_at ? t("policy_by", { name: held.agent?.name ?? "duomo", time: formatTime(held.created_at, desk.language) }) : "";
    return html`${t("policy_version", { n: held.version })} · ${by}${held.note ? html` · ${reasonText(held.note)}` : nothing}`;
  }

  /** @param {Said} said */
  #view(said) {
    return { rules: () => this.#rules(said), text: () => this.#editor(), threshold: () => this.#threshold(), try: () => this.#trial(), history: () => this.#history() }[this.view]();
  }

  #bar() {
    const { t } = desk;
    const wrong = this.check?.mistakes.length ?? 0;
    return html`<div class="policy-bar" role="status"><span>${icon(wrong ? "alert" : "edit", 18)}${t("policy_changed")} <span class=${wrong ? "bad" : "muted"}>${this.checking ? t("policy_checking") : this.#verdict()}</span></span>
      <button class="button" type="button" @click=${() => this.held && (this.#start(this.held), this.requestUpdate())}>${t("policy_discard")}</button>
      ${this.held?.may_save ? html`<button class="button primary" type="button" ?disabled=${wrong > 0 || this.checking} @click=${() => ((this.saves = true), this.requestUpdate())}>${t("policy_save")}</button>` : html`<span class="muted">${t("policy_not_owner")}</span>`}</div>`;
  }

  #verdict() {
    const n = this.check?.mistakes.length ?? 0;
    return n ? (n === 1 ? desk.t("policy_one_mistake") : desk.t("policy_mistakes", { n })) : desk.t("policy_fine");
  }

  #saving() {
    const { t } = desk;
    const tried = this.run?.text === this.text ? this.run.found : null;
    const point = this.#draftPoint();
    const close = () => ((this.saves = false), this.requestUpdate());
    return modal(html`<form class="dialog-text" @submit=${(/** @type {Event} */ event) => (event.preventDefault(), void this.#save())}>
      ${point ? html`<p class="says">${pointSays(point)}</p>` : nothing}
      <p class="muted">${tried ? t("save_tried", { changed: tried.changed, turns: tried.turns }) : t("save_not_tried")}</p>
      ${this.#warnings(3)}
      <label class="field"><span>${t("save_note")}</span><input name="note" maxlength="200" autofocus .value=${this.note} @input=${(/** @type {Event} */ event) => (this.note = /** @type {HTMLInputElement} */ (event.target).value)} /></label>
      <div class="form-buttons"><button class="button" type="button" @click=${close}>${t("cancel")}</button><button class="button primary" type="submit" ?disabled=${this.busy}>${t(this.busy ? "saving" : "save_now")}</button></div></form>`,
      { label: t("save_title", { n: (this.held?.version ?? 0) + 1 }), onClose: close });
  }

  /** The point of the curve that the draft's threshold stands at, where the curve was seen. */
  #draftPoint() {
    const own = Object.entries(this.said?.thresholds ?? {}).find(([language]) => !this.language || language === this.language)?.[1].answer_from;
    const points = this.curve?.points ?? [];
    return own === null || own === undefined || !points.length ? null : points[Math.round(own * (points.length - 1))];
  }

  /** @param {number} [most] that are told */
  #warnings(most = 50) {
    const { t } = desk;
    const told = this.check?.warnings ?? [];
    if (!told.length) return nothing;
    return html`<div class="policy-warnings"><p class="banner warn">${icon("info", 18)}${t("policy_warnings")}</p><ul>${told.slice(0, most).map((one) => html`<li><span class="muted">${t("policy_line", { n: one.line })}</span> ${mistakeText(one.message)}</li>`)}${told.length > most ? html`<li class="muted">${t("policy_more", { n: told.length - most })}</li>` : nothing}</ul></div>`;
  }

  // -- rules ---------------------------------------------------------------------------------------------------------

  /** @param {Said} said */
  #rules(said) {
    const { t } = desk;
    const turns = new Map(this.run?.text === this.text ? this.run.found.rows.map((one) => [one.row, one.turns]) : []);
    return html`<p class="policy-intro muted">${t("policy_intro")}</p>
      ${this.check?.mistakes.length ? html`<p class="banner warn">${icon("alert", 18)}${t("policy_mistakes_first")}</p>` : nothing}
      <table class="rules"><thead><tr><th scope="col" class="num">#</th><th scope="col">${t("rule")}</th><th scope="col">${t("rule_if")}</th><th scope="col">${t("rule_then")}</th><th scope="col">${t("team")}</th><th scope="col">${t("priority")}</th>${turns.size ? html`<th scope="col" class="num">${t("rule_decided")}</th>` : nothing}</tr></thead>
        <tbody>${said.table.map((row) => html`<tr>
          <td class="num">${row.row}</td><th scope="row">${row.name}</th>
          <td class="when">${Object.keys(row.when).length ? html`<ul>${Object.entries(row.when).map(([column, asked]) => html`<li><span class="column">${this.#column(column)}</span> ${this.#asked(column, asked)}</li>`)}</ul>` : html`<span class="muted">${t("rule_always")}</span>`}</td>
          <td><span class="do ${row.do}" title=${t(`do_${row.do}_hint`)}>${icon(SIGNS[row.do], 16)}${t(`do_${row.do}`)}</span>${row.answer_from === null ? nothing : html` <span class="muted nowrap">${t("rule_threshold", { n: row.answer_from })}</span>`}</td>
          <td>${row.team ? this.#team(row.team) : html`<span class="muted">${Object.values(said.teams).some((team) => team.intents.length) ? t("rule_of_intent") : "–"}</span>`}</td>
          <td><span class="priority ${row.priority}">${t(`priority_${row.priority}`)}</span></td>
          ${turns.size ? html`<td class="num">${turns.get(row.row) ?? 0}</td>` : nothing}</tr>`)}</tbody></table>
      ${this.#warnings()}
      ${Object.keys(said.teams).length ? html`<h2>${t("policy_teams")}</h2><table class="teams"><thead><tr><th scope="col">${t("team")}</th><th scope="col">${t("policy_team_intents")}</th></tr></thead>
        <tbody>${Object.entries(said.teams).map(([name, team]) => html`<tr><th scope="row">${this.#team(name)}</th><td>${team.intents.map((intent) => html`<span class="tag">${labels.title("intent", intent)}</span> `)}</td></tr>`)}</tbody></table>` : nothing}
      <h2>${t("policy_thresholds")}</h2>
      ${Object.keys(said.thresholds).length ? Object.entries(said.thresholds).map(([language, own]) => html`<p>${t("thresholds_own", { language: t(`language_${language}`), answer: own.answer_from ?? t("as_calibrated"), clarify: own.clarify_from ?? t("as_calibrated") })}</p>`) : html`<p class="muted">${t("thresholds_none")}</p>`}
      <h2>${t("policy_models")}</h2><p>${t("policy_models_text", { slice: percent(said.gates.worse_slice), n: said.gates.min_slice, shadow: said.rollout.shadow_turns, share: percent(said.rollout.canary_share), canary: said.rollout.canary_turns, schedule: t(`schedule_${said.learning.schedule}`), days: said.learning.retention_days, consent: t(`consent_${said.learning.consent}`) })}</p>`;
  }

  /** @param {string} column */
  #column(column) {
    return column.startsWith("head.") ? labels.headTitle(column.slice(5)) : desk.t(`col_${column}`);
  }

  /** A condition as it reads. @param {string} column @param {string} asked */
  #asked(column, asked) {
    const { t } = desk;
    if (/^[<>=]/.test(asked)) return html`<span class="number nowrap">${asked.replaceAll("<=", "≤").replaceAll(">=", "≥")}</span>`;
    if (column === "out_of_scope" || column === "abstain" || column === "chosen") return t(asked === "yes" ? "cond_yes" : "cond_no");
    const not = asked.startsWith("not ");
    const names = (not ? asked.slice(4) : asked).split(", ").map((name) => this.#value(column, name)).join(t("cond_or"));
    return not ? t("cond_not", { what: names }) : names;
  }

  /** @param {string} column @param {string} name */
  #value(column, name) {
    const { t } = desk;
    if (column === "wish" || column === "sent" || column === "language") return t(`${column}_${name}`);
    if (column === "urgency" && !labels.set("urgency") && t(`priority_${name}`) !== `priority_${name}`) return t(`priority_${name}`);
    return labels.title(column.startsWith("head.") ? column.slice(5) : column, name);
  }

  /** @param {string} name */
  #team(name) {
    const team = this.said?.teams[name];
    return team?.[desk.language] || team?.en || team?.zh || name;
  }

  // -- text ----------------------------------------------------------------------------------------------------------

  #editor() {
    const { t } = desk;
    const mistakes = this.check?.mistakes ?? [];
    const wrong = new Set(mistakes.map((one) => one.line));
    const count = this.text.split("\n").length;
    return html`<div class="editor"><div class="gutter" aria-hidden="true"><ol>${Array.from({ length: count }, (_, i) => html`<li class=${wrong.has(i + 1) ? "wrong" : ""}>${i + 1}</li>`)}</ol></div>
        <textarea id="policy-text" spellcheck="false" autocapitalize="off" wrap="off" aria-label=${t("policy_yaml")} aria-describedby="policy-mistakes" aria-invalid=${mistakes.length ? "true" : "false"}
          .value=${live(this.text)} @input=${(/** @type {Event} */ event) => this.#write(/** @type {HTMLTextAreaElement} */ (event.target).value)} @scroll=${this.#scroll}></textarea></div>
      <div id="policy-mistakes" class="mistakes" role="status">
        <p class=${mistakes.length ? "field-error" : "fine"}>${icon(mistakes.length ? "alert" : "check", 16)}${this.checking ? t("policy_checking") : this.#verdict()}</p>
        <ul>${mistakes.map((one) => html`<li><button class="link" type="button" @click=${() => this.#jump(one.line)}>${t("policy_line", { n: one.line })}</button> <span>${mistakeText(one.message)}</span></li>`)}</ul></div>
      ${this.#warnings()}`;
  }

  /** @param {Event} event */
  #scroll = (event) => {
    const list = this.querySelector(".gutter ol");
    if (list instanceof HTMLElement) list.style.transform = `translateY(${-/** @type {HTMLElement} */ (event.target).scrollTop}px)`;
  };

  /** @param {number} line from 1 */
  #jump(line) {
    const area = /** @type {HTMLTextAreaElement | null} */ (this.querySelector("#policy-text"));
    if (!area) return;
    const lines = this.text.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.focus();
    area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    area.scrollTop = Math.max(0, (line - 6) * Number.parseFloat(getComputedStyle(area).lineHeight));
  }

  // -- threshold -----------------------------------------------------------------------------------------------------

  #threshold() {
    const { t } = desk;
    const { curve } = this;
    if (!curve) return html`<p class="empty muted">${t("loading")}</p>`;
    const pick = html`<label class="grouping">${t("curve_language")} <select name="language" @change=${(/** @type {Event} */ event) => ((this.language = /** @type {HTMLSelectElement} */ (event.target).value), this.requestUpdate())}>
      <option value="">${t("curve_both")}</option>${["zh", "en"].map((language) => html`<option value=${language} ?selected=${language === this.language}>${t(`language_${language}`)}</option>`)}</select></label>`;
    if (!curve.turns) return html`${pick}<div class="empty">${icon("chart", 32)}<p><strong>${t("curve_empty")}</strong></p><p>${t("curve_empty_hint")}</p></div>`;
    const point = curve.points[Math.round(this.chosen * (curve.points.length - 1))];
    const used = this.changed && Object.entries(this.said?.thresholds ?? {}).some(([language, own]) => own.answer_from === this.chosen && (!this.language || language === this.language));
    return html`<div class="threshold"><div class="threshold-head">${pick}<p class="muted">${t("curve_judged", { turns: curve.turns, days: CURVE_DAYS, agents: curve.by_agents, customers: curve.by_customers })}</p></div>
      <risk-curve .curve=${curve} .chosen=${this.chosen}></risk-curve>
      <div class="slide"><label for="threshold">${t("curve_slider")}</label><output for="threshold" class="number">${this.chosen.toFixed(2)}</output>
        <input id="threshold" type="range" min="0" max="1" step="0.01" .value=${live(String(this.chosen))} aria-valuetext=${pointSays(point)} @input=${(/** @type {Event} */ event) => ((this.chosen = Number(/** @type {HTMLInputElement} */ (event.target).value)), this.requestUpdate())} /></div>
      <p class="says">${pointSays(point)}</p>
      <div class="threshold-act"><button class="button primary" type="button" ?disabled=${used || Boolean(this.check?.mistakes.length)} @click=${() => this.#useThreshold()}>${t("curve_use")}</button>${used ? html`<span class="muted" role="status">${t("curve_used", { threshold: this.chosen.toFixed(2) })}</span>` : nothing}</div>
      ${this.#suggestion(curve)}
      <p class="muted note">${t("curve_bias")}</p>
      <details><summary>${t("curve_table")}</summary><table><thead><tr><th scope="col" class="num">${t("curve_th")}</th><th scope="col" class="num">${t("curve_x")}</th><th scope="col" class="num">${t("curve_y")}</th><th scope="col" class="num">${t("curve_interval")}</th></tr></thead>
        <tbody>${curve.points.filter((_, i) => i % 5 === 0).map((one) => html`<tr><th scope="row" class="num">${one.threshold.toFixed(2)}</th><td class="num">${percent(one.answered)}</td><td class="num">${one.wrong.rate === null ? "–" : percent(one.wrong.rate)}</td><td class="num">${one.wrong.rate === null ? "–" : `${percent(one.wrong.low)} – ${percent(one.wrong.high)}`}</td></tr>`)}</tbody></table></details></div>`;
  }

  /** @param {import("./risk_curve.js").Curve} curve */
  #suggestion({ suggestion }) {
    const { t } = desk;
    const n = suggestion.threshold?.toFixed(2) ?? "";
    return html`<div class="suggestion"><label class="grouping">${t("curve_wish")} <select name="risk" @change=${(/** @type {Event} */ event) => ((this.risk = Number(/** @type {HTMLSelectElement} */ (event.target).value)), this.requestUpdate())}>${RISKS.map((risk) => html`<option value=${risk} ?selected=${risk === this.risk}>${percent(risk)}</option>`)}</select></label>
      <p>${n ? t("curve_suggested", { n, risk: percent(suggestion.risk) }) : t("curve_none", { needed: suggestion.needed })}</p>
      ${n ? html`<button class="button" type="button" @click=${() => ((this.chosen = suggestion.threshold ?? this.chosen), this.requestUpdate())}>${t("curve_take", { n })}</button>` : nothing}</div>`;
  }

  // -- dry run -------------------------------------------------------------------------------------------------------

  #trial() {
    const { t } = desk;
    const { run } = this;
    return html`<div class="trial-head"><label class="grouping">${t("run_days")} <select name="days" @change=${(/** @type {Event} */ event) => (this.days = Number(/** @type {HTMLSelectElement} */ (event.target).value))}>${SPANS.map((days) => html`<option value=${days} ?selected=${days === this.days}>${t("run_n_days", { n: days })}</option>`)}</select></label>
        <button class="button primary" type="button" ?disabled=${this.running || Boolean(this.check?.mistakes.length)} @click=${() => this.#try()}>${icon("play", 18)}${t(this.running ? "run_running" : "run_it")}</button></div>
      <p class="muted note">${t("run_hint")}</p>
      <div aria-live="polite">${run ? this.#found(run.found, run.text !== this.text) : nothing}</div>`;
  }

  /** @param {Run} found @param {boolean} stale */
  #found(found, stale) {
    const { t } = desk;
    if (!found.turns) return html`<p class="empty muted">${t("run_none")}</p>`;
    const week = found.next_week;
    /** @type {[string, Shares][]} */
    const bars = [
      [t("run_now", { what: t("run_turns") }), found.turns_now], [t("run_then", { what: t("run_turns") }), found.turns_then],
      [t("run_now", { what: t("run_conversations") }), found.conversations_now], [t("run_then", { what: t("run_conversations") }), found.conversations_then],
    ];
    return html`${stale ? html`<p class="banner warn">${icon("info", 18)}${t("run_stale")}</p>` : nothing}
      <p class="says">${t("run_sum", { changed: found.changed, turns: found.turns, conversations: found.conversations })} ${found.rerouted ? t("run_rerouted", { n: found.rerouted }) : nothing}</p>
      ${week ? html`<p class="says">${t("run_next", { rate: percent(week.rate), n: Math.round(week.conversations), low: percent(week.low), high: percent(week.high) })} ${week.weeks < 2 ? html`<span class="muted">${t("run_one_week")}</span>` : nothing}</p>` : nothing}
      ${found.assumed ? html`<p class="muted note">${t("run_assumed", { n: found.assumed })}</p>` : nothing}
      <table class="bars"><thead><tr><td class="corner"></td>${DOS.map((what) => html`<th scope="col" class="num"><span class="key ${what}"></span>${t(`do_${what}`)}</th>`)}<td class="bar-cell corner"></td></tr></thead>
        <tbody>${bars.map(([name, shares]) => html`<tr><th scope="row">${name}</th>${DOS.map((what) => html`<td class="num">${percent(shares[what])}</td>`)}<td class="bar-cell" aria-hidden="true"><div class="stack">${DOS.map((what) => html`<i class=${what} style=${styleMap({ width: `${100 * shares[what]}%` })}></i>`)}</div></td></tr>`)}</tbody></table>
      ${found.examples.length ? html`<h2>${t("run_examples")}</h2><table class="changes"><thead><tr><th scope="col">${t("run_said")}</th><th scope="col">${t("run_was")}</th><th scope="col">${t("run_becomes")}</th></tr></thead>
        <tbody>${found.examples.map((one) => html`<tr><td><a href="#/inbox/${one.conversation_id}">${one.text || t("run_no_text")}</a></td><td>${this.#ruled(one.was)}</td><td>${this.#ruled(one.becomes)}</td></tr>`)}</tbody></table>` : html`<p class="muted">${t("run_same")}</p>`}`;
  }

  /** @param {any} ruled */
  #ruled(ruled) {
    const { t } = desk;
    const what = /** @type {Do} */ (ruled.do);
    const to = what === "hand_over" && ruled.team ? ` · ${this.#team(ruled.team)}` : "";
    return html`<span class="do ${what}">${icon(SIGNS[what], 16)}${t(`do_${what}`)}${to}</span>${ruled.name ? html`<span class="muted row-name">${t("rule_row", { n: ruled.row, name: ruled.name })}</span>` : nothing}`;
  }

  // -- history -------------------------------------------------------------------------------------------------------

  #history() {
    const { t } = desk;
    const { versions, compared } = this;
    if (!versions) return html`<p class="empty muted">${t("loading")}</p>`;
    if (!versions.length) return html`<p class="empty muted">${t("history_none")}</p>`;
    return html`<div class="versions"><ol>${versions.map((one) => html`<li><button type="button" aria-pressed=${one.version === compared?.version} @click=${() => this.#compare(one.version)}>
        <strong>${t("policy_version", { n: one.version })}</strong>${one.version === this.held?.version ? html` <span class="tag">${t("history_holds")}</span>` : nothing}
        <span class="muted">${one.agent?.name ?? "duomo"} · ${one.created_at ? formatTime(one.created_at, desk.language) : ""}</span>${one.note ? html`<span>${reasonText(one.note)}</span>` : nothing}</button></li>`)}</ol>
      ${compared ? html`<section aria-label=${t("history_changes", { n: compared.version })}><div class="versions-head"><h2>${t("history_changes", { n: compared.version })}</h2>
        <button class="button" type="button" ?disabled=${compared.text === this.text} @click=${() => this.#write(compared.text)}>${icon("undo", 18)}${t("history_restore")}</button></div>
        ${compared.version === 1 ? html`<p class="muted note">${t("history_first")}</p>` : nothing}
        ${compared.lines.length ? html`<div class="diff" tabindex="0" role="group" aria-label=${t("history_changes", { n: compared.version })}>${compared.lines.map((line) => (line.kind === "gap" ? html`<div class="gap-line">⋯</div>` : line.kind === "added" ? html`<ins>${line.text || " "}</ins>` : line.kind === "removed" ? html`<del>${line.text || " "}</del>` : html`<div>${line.text || " "}</div>`))}</div>` : html`<p class="muted">${t("history_same")}</p>`}</section>` : nothing}</div>`;
  }
}
customElements.define("console-policy", PolicyPage);
