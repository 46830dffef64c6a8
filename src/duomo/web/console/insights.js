// @ts-check
/** How the service does: figures, charts over time, groups compared, and what the bot could not answer. */
import { html, nothing, repeat, styleMap } from "../vendor/lit.js";
import { extend, localeOf } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import "./chart.js";
import { desk, Pane } from "./desk.js";
import { INSIGHTS_WORDS } from "./insights_words.js";
import { labels } from "./labels.js";
import { menu } from "./modal.js";
import { reasonText } from "./models_said.js";

extend(INSIGHTS_WORDS);

/** @typedef {{k: number, n: number, rate: number | null, low: number, high: number}} Share */
/** @typedef {{n: number, median_s: number | null, p90_s: number | null}} Times */
/** @typedef {"confirmed" | "stood" | "settling" | "reopened" | "open" | "no_reaction"} Outcome */
/**
 * @typedef {object} Figures
 * @property {number} conversations
 * @property {Share} resolved
 * @property {Share} resolved_bot
 * @property {Share} resolved_people
 * @property {Share} handed_over
 * @property {Record<Outcome, number>} outcomes
 * @property {number} waiting
 * @property {Times} first_bot
 * @property {Times} first_people
 * @property {Times} handling
 * @property {{n: number, mean: number | null, satisfied: Share, scores: number[]}} csat
 */
/** @typedef {"intent" | "channel" | "language" | "modality" | "team"} By */
/** @typedef {{kind: "proposal" | "intent" | "unknown", name: string | null, n: number, examples: {message_id: string, conversation_id: string, text: string}[]}} Topic */
/** @typedef {{kind: "model" | "policy", name: string, version: string, role: string | null, share: number | null, began_at: string, ended_at: string | null, note: string}} Version */
/**
 * @typedef {object} Insights
 * @property {{since: string, until: string, tz: string, step: "day" | "week", by: By, only: string | null}} period
 * @property {Figures} total
 * @property {{start: string, figures: Figures}[]} steps
 * @property {{name: string | null, figures: Figures}[]} groups
 * @property {Topic[]} unanswered
 * @property {{overall: Share, by_intent: {name: string, agreed: Share, instead: string | null}[]}} agreement
 * @property {Version[]} versions
 * @property {string} now
 */
/** What the address says: #/insights/30d/intent/invoice. @typedef {{span: string, by: By, only: string | null}} Asked */

const SPANS = ["7d", "30d", "90d"];
const BYS = /** @type {By[]} */ (["intent", "channel", "language", "modality", "team"]);
const NOT_KNOWN = "-";
const OUTCOMES = /** @type {Outcome[]} */ (["confirmed", "stood", "settling", "reopened", "open", "no_reaction"]);
const DAY = 86_400_000; // ms
const TIMES = [1, 2, 5, 10, 15, 30].flatMap((n) => [n, n * 60]).concat([0.1, 0.2, 0.5], [1, 2, 3, 6, 12, 24, 48, 96, 168].map((h) => h * 3600)).sort((a, b) => a - b); // seconds
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The day it is here, `ago` days back, as 2026-11-24. @param {number} [ago] */
const dayHere = (ago = 0) => new Date(Date.now() - ago * DAY).toLocaleDateString("sv-SE", { timeZone: ZONE });

/** @param {string[]} path @returns {Asked} */
export function askedBy(path) {
  const [span, by, only] = path;
  const known = SPANS.includes(span) || /^\d{4}-\d\d-\d\d\.\.\d{4}-\d\d-\d\d$/.test(span ?? "");
  return { span: known ? span : "30d", by: BYS.find((name) => name === by) ?? "intent", only: only || null };
}

/** @param {Asked} asked */
export const addressOf = ({ span, by, only }) => `#/insights/${span}/${by}${only === null ? "" : `/${encodeURIComponent(only)}`}`;

/** First and last day. @param {string} span @returns {[string, string]} */
function daysOf(span) {
  const [from, to] = span.split("..");
  return to ? [from, to] : [dayHere(Number.parseInt(span, 10) - 1), dayHere()];
}

class InsightsPage extends Pane {
  static properties = { path: { attribute: false }, found: { state: true }, state: { state: true } };

  constructor() {
    super();
    /** @type {string[]} */
    this.path = [];
    /** @type {Insights | null} */
    this.found = null;
    /** @type {"loading" | "ready" | "failed"} */
    this.state = "loading";
    this.shown = "";
    this.asked = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    void labels.load();
  }

  willUpdate() {
    const wanted = addressOf(askedBy(this.path));
    if (wanted === this.shown) return;
    this.shown = wanted;
    void this.#load();
  }

  /** @param {Partial<Asked>} change */
  #go(change) {
    location.hash = addressOf({ ...askedBy(this.path), ...change });
  }

  #question() {
    const { span, by, only } = askedBy(this.path);
    const [from, to] = daysOf(span);
    const ask = new URLSearchParams({ from, to, by, tz: ZONE });
    if (only !== null) ask.set("only", only);
    return ask;
  }

  async #load() {
    const asked = (this.asked += 1);
    this.state = "loading";
    try {
      const found = await desk.api.get(`agent/insights?${this.#question()}`);
      if (asked !== this.asked) return;
      this.found = found;
      this.state = "ready";
    } catch (error) {
      if (asked !== this.asked) return;
      this.state = "failed";
      desk.report(error);
    }
  }

  render() {
    const { t } = desk;
    const { found } = this;
    const asked = askedBy(this.path);
    return html`<section class="page insights" aria-label=${t("insights")} aria-busy=${this.state === "loading"}>
      <header class="page-head"><div><h1>${t("insights")}</h1>${found ? html`<p class="muted">${t("n_conversations", { n: number(found.total.conversations) })} · ${dayText(found.period.since)} – ${dayText(found.period.until)}</p>` : nothing}</div>
        <div class="controls">${this.#periods(asked)}${this.#grouping(asked)}${this.#exports()}</div>
      </header>
      <div class="page-body" tabindex="0" role="group" aria-label=${t("insights")}>${this.#body(asked)}</div>
    </section>`;
  }

  /** @param {Asked} asked */
  #periods({ span }) {
    const { t } = desk;
    const [from, to] = daysOf(span);
    /** @param {Event} event */
    const choose = (event) => {
      const form = /** @type {HTMLInputElement} */ (event.target).closest(".span-days");
      const [first, last] = [...(form?.querySelectorAll("input") ?? [])].map((input) => input.value);
      if (first && last) this.#go({ span: first <= last ? `${first}..${last}` : `${last}..${first}` });
    };
    return html`<div class="presets" role="group" aria-label=${t("own_period")}>${SPANS.map((days) => html`<button type="button" aria-pressed=${span === days} @click=${() => this.#go({ span: days })}>${t("last_days", { n: Number.parseInt(days, 10) })}</button>`)}</div>
      <div class="span-days"><input type="date" aria-label=${t("period_from")} .value=${from} max=${dayHere()} @change=${choose} /><span aria-hidden="true">–</span><input type="date" aria-label=${t("period_to")} .value=${to} max=${dayHere()} @change=${choose} /></div>`;
  }

  /** @param {Asked} asked */
  #grouping({ by }) {
    const { t } = desk;
    return html`<label class="grouping"><span>${t("group_by")}</span><select name="by" @change=${(/** @type {Event} */ event) => this.#go({ by: /** @type {By} */ (/** @type {HTMLSelectElement} */ (event.target).value), only: null })}>
      ${BYS.map((name) => html`<option value=${name} ?selected=${name === by}>${t(`by_${name}`)}</option>`)}</select></label>`;
  }

  #exports() {
    const { t } = desk;
    /** @param {string} kind */
    const href = (kind) => `/api/v1/agent/insights.csv?${this.#question()}&kind=${kind}`;
    return menu({ label: t("export_csv"), face: html`${icon("download", 18)}<span>${t("export_csv")}</span>`, cls: "button" },
      html`<a href=${href("figures")} download>${t("export_figures")}</a><a href=${href("conversations")} download>${t("export_conversations")}</a>`);
  }

  /** @param {Asked} asked */
  #body(asked) {
    const { t } = desk;
    const { found } = this;
    if (this.state === "failed") return html`<div class="empty"><p>${t("failed")}</p><button class="button" type="button" @click=${() => this.#load()}>${icon("retry", 18)}${t("retry")}</button></div>`;
    if (!found) return html`<p class="empty muted" role="status">${t("loading")}</p>`;
    const only = asked.only === null ? nothing : html`<p class="only"><span class="tag">${t("only_group", { name: groupTitle(asked.by, asked.only === NOT_KNOWN ? null : asked.only) })}</span>
      <button class="button small quiet" type="button" @click=${() => this.#go({ only: null })}>${icon("close", 16)}${t("show_all_groups")}</button></p>`;
    if (!found.total.conversations) return html`${only}${this.#nothing(asked)}`;
    return html`${only}${tiles(found.total)}
      <div class="charts">${charts(found).map((chart) => html`<time-chart .chart=${chart}></time-chart>`)}${scores(found.total)}</div>
      ${asked.only === null ? html`${this.#groups(found, asked)}
        <div class="columns">${unanswered(found.unanswered)}<div>${agreement(found.agreement)}${versions(found.versions)}</div></div>` : nothing}`;
  }

  /** @param {Asked} asked */
  #nothing({ span, only }) {
    const { t } = desk;
    return html`<div class="empty">${icon("chart", 32)}<p><strong>${t("empty_insights")}</strong></p><p class="hint">${t("empty_hint")}</p>
      ${span === "90d" || only !== null ? nothing : html`<button class="button" type="button" @click=${() => this.#go({ span: "90d" })}>${t("empty_longer")}</button>`}</div>`;
  }

  /** @param {Insights} found @param {Asked} asked */
  #groups(found, { by }) {
    const { t } = desk;
    const most = Math.max(1, ...found.groups.map((group) => group.figures.conversations));
    return html`<section class="panel" aria-label=${t("groups")}><h2>${t("groups")}: ${t(`by_${by}`)}</h2>${by === "modality" ? html`<p class="muted">${t("modality_note")}</p>` : nothing}
      <div class="scroll" tabindex="0" role="group" aria-label=${t("groups")}><table class="groups">
        <thead><tr><th scope="col">${t(`by_${by}`)}</th><th scope="col">${t("m_conversations")}</th><th scope="col">${t("m_resolved")}</th><th scope="col">${t("m_handed_over")}</th>
          <th scope="col" class="num">${t("m_first_bot")}</th><th scope="col" class="num">${t("m_first_people")}</th><th scope="col" class="num">${t("m_handling")}</th><th scope="col" class="num">${t("m_csat")}</th></tr></thead>
        <tbody>${repeat(found.groups, (group) => group.name, ({ name, figures }) => html`<tr>
          <th scope="row"><button class="link" type="button" aria-label=${t("only_group", { name: groupTitle(by, name) })} @click=${() => this.#go({ only: name ?? NOT_KNOWN })}>${groupTitle(by, name)}</button></th>
          <td>${bar(figures.conversations / most, number(figures.conversations))}</td><td>${shareBar(figures.resolved, "good")}</td><td>${shareBar(figures.handed_over, "warm")}</td>
          <td class="num">${timeCell(figures.first_bot)}</td><td class="num">${timeCell(figures.first_people)}</td><td class="num">${timeCell(figures.handling)}</td>
          <td class="num">${figures.csat.n ? html`${decimal(figures.csat.mean)} <span class="muted">(${number(figures.csat.n)})</span>` : "–"}</td></tr>`)}</tbody></table></div></section>`;
  }
}
customElements.define("console-insights", InsightsPage);

// Numbers -------------------------------------------------------------------------------------------------------------

/** @param {number} value */
const number = (value) => value.toLocaleString(localeOf(desk.language));
/** @param {number | null} value */
const decimal = (value) => (value === null ? "–" : value.toLocaleString(localeOf(desk.language), { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
/** @param {number | null} share */
const percent = (share) => (share === null ? "–" : `${(share * 100).toLocaleString(localeOf(desk.language), { maximumFractionDigits: share > 0 && share < 0.0995 ? 1 : 0 })}${desk.language === "zh" ? "" : " "}%`);

/** 8 s, 3.5 min, 2 h. @param {number | null} seconds */
function duration(seconds) {
  if (seconds === null) return "–";
  const [unit, size] = seconds < 100 ? ["s", 1] : seconds < 6000 ? ["min", 60] : seconds < 172_800 ? ["h", 3600] : ["d", 86_400];
  const value = seconds / Number(size);
  return desk.t(`unit_${unit}`, { n: value.toLocaleString(localeOf(desk.language), { maximumFractionDigits: value < 9.95 ? 1 : 0 }) });
}

/** @param {string} day 2026-11-24 @param {Intl.DateTimeFormatOptions} [how] */
const dayText = (day, how = { month: "short", day: "numeric", year: "numeric" }) => new Date(`${day}T00:00Z`).toLocaleDateString(localeOf(desk.language), { ...how, timeZone: "UTC" });

/** @param {By} by @param {string | null} name */
function groupTitle(by, name) {
  const { t } = desk;
  if (name === null) return t("not_known");
  if (by === "intent") return labels.title("intent", name);
  if (by === "team") return desk.teamName(name);
  const key = by === "channel" && name === "web" ? "channel_widget" : `${by}_${name}`;
  return t(key) === key ? name : t(key);
}

// Parts ---------------------------------------------------------------------------------------------------------------

/** @param {Figures} total */
function tiles(total) {
  const { t } = desk;
  /** @param {Share} share */
  const sure = (share) => (share.n ? t("interval", { low: percent(share.low), high: percent(share.high) }) : "");
  /** @param {Times} times */
  const within = (times) => (times.n ? t("within", { time: duration(times.p90_s) }) : t("none_yet"));
  /** @type {[string, string, string, string][]} */
  const shown = [
    ["resolved", percent(total.resolved.rate), sure(total.resolved), t("resolved_parts", { bot: percent(total.resolved_bot.rate), people: percent(total.resolved_people.rate) })],
    ["handed_over", percent(total.handed_over.rate), sure(total.handed_over), total.waiting ? t("waiting_now", { n: number(total.waiting) }) : t("n_of", { k: number(total.handed_over.k), n: number(total.handed_over.n) })],
    ["first_bot", duration(total.first_bot.median_s), within(total.first_bot), `n = ${number(total.first_bot.n)}`],
    ["first_people", duration(total.first_people.median_s), within(total.first_people), `n = ${number(total.first_people.n)}`],
    ["handling", duration(total.handling.median_s), within(total.handling), `n = ${number(total.handling.n)}`],
    ["csat", total.csat.n ? t("of_5", { n: decimal(total.csat.mean) }) : "–", total.csat.n ? t("satisfied", { share: percent(total.csat.satisfied.rate) }) : t("none_yet"), total.csat.n ? `n = ${number(total.csat.n)} · ${sure(total.csat.satisfied)}` : ""],
  ];
  return html`<dl class="tiles">${shown.map(([name, value, first, second]) => html`<div class="tile" data-tile=${name}><dt>${t(`m_${name}`)}</dt><dd class="value">${value}</dd>${first ? html`<dd>${first}</dd>` : nothing}${second ? html`<dd>${second}</dd>` : nothing}</div>`)}</dl>`;
}

/** The place of a moment on the axis. @param {Insights} found @param {string} moment ISO 8601 */
function placeOf(found, moment) {
  const day = new Date(moment).toLocaleDateString("sv-SE", { timeZone: ZONE });
  const days = (Date.parse(`${day}T00:00Z`) - Date.parse(`${found.steps[0].start}T00:00Z`)) / DAY;
  return days / (found.period.step === "week" ? 7 : 1);
}

/** @param {Insights} found @returns {import("./chart.js").Chart[]} */
function charts(found) {
  const { t } = desk;
  const { steps } = found;
  const week = found.period.step === "week";
  const figures = steps.map((step) => step.figures);
  const days = {
    steps: steps.map((step) => dayText(step.start, { month: "short", day: "numeric" })),
    full: steps.map((step) => (week ? t("week_of", { day: dayText(step.start) }) : dayText(step.start, { weekday: "short", month: "short", day: "numeric" }))),
  };
  const marks = found.versions.filter((version) => version.role !== "canary").map((version) => ({
    at: placeOf(found, version.began_at),
    label: version.kind === "model" ? t("mark_model") : t("mark_policy", { n: version.version }),
    title: version.name,
  })).filter((mark) => mark.at > 0);
  const unsettled = Math.ceil(placeOf(found, new Date(Date.parse(found.now) - 3 * DAY).toISOString()));
  /** @param {string} label @param {string} colour @param {(figures: Figures) => Share} of @returns {import("./chart.js").Line} */
  const band = (label, colour, of) => ({
    label, colour, values: figures.map((f) => of(f).rate), low: figures.map((f) => (of(f).n ? of(f).low : null)), high: figures.map((f) => (of(f).n ? of(f).high : null)),
  });
  /** @param {string} name @param {(figures: Figures) => Times} of @returns {import("./chart.js").Chart} */
  const times = (name, of) => ({
    ...days, marks, title: t(`m_${name}`), note: t(`${name}_note`), format: duration, incrs: TIMES,
    lines: [
      { label: t("median"), colour: "--chart-1", values: figures.map((f) => of(f).median_s) },
      { label: t("p90"), colour: "--chart-2", values: figures.map((f) => of(f).p90_s), dashed: true },
    ],
  });
  return [
    { ...days, marks, title: t("m_conversations"), note: t("volume_note"), stacked: true, format: (value) => number(Math.round(value)),
      lines: OUTCOMES.map((name) => ({ label: t(`outcome_${name}`), colour: `--outcome-${name.replace("_", "-")}`, values: figures.map((f) => f.outcomes[name]) })) },
    { ...days, marks, unsettled, title: t("m_resolved"), note: `${t("resolved_note")} ${unsettled < steps.length ? t("resolved_unsettled") : ""}`.trim(), range: [0, 1], format: percent,
      lines: [band(t("m_resolved"), "--chart-1", (f) => f.resolved), { label: t("bot_alone"), colour: "--chart-2", values: figures.map((f) => f.resolved_bot.rate), dashed: true }] },
    { ...days, marks, title: t("m_handed_over"), note: t("handed_note"), range: [0, 1], format: percent, lines: [band(t("m_handed_over"), "--chart-3", (f) => f.handed_over)] },
    times("first_bot", (f) => f.first_bot),
    times("first_people", (f) => f.first_people),
    times("handling", (f) => f.handling),
    { ...days, marks, title: t("m_csat"), note: t("csat_note"), range: [1, 5], format: decimal, lines: [{ label: t("m_csat"), colour: "--chart-1", values: figures.map((f) => f.csat.mean) }] },
  ];
}

/** @param {Figures} total */
function scores({ csat }) {
  const { t } = desk;
  const most = Math.max(1, ...csat.scores);
  return html`<figure class="chart scores" aria-label=${t("csat_scores")}><figcaption><h3>${t("csat_scores")}</h3><p class="muted">n = ${number(csat.n)}</p></figcaption>
    <table><thead class="visually-hidden"><tr><th scope="col">${t("m_csat")}</th><th scope="col">${t("m_conversations")}</th></tr></thead>
      <tbody>${csat.scores.map((n, i) => html`<tr><th scope="row">${"★".repeat(i + 1)}<span class="visually-hidden">${t("of_5", { n: i + 1 })}</span></th><td>${bar(n / most, `${number(n)} · ${percent(csat.n ? n / csat.n : null)}`)}</td></tr>`).reverse()}</tbody></table></figure>`;
}

/** @param {number} share [0, 1] @param {string} text */
const bar = (share, text) => html`<span class="bar"><i style=${styleMap({ width: `${share * 100}%` })}></i></span><span class="bar-text">${text}</span>`;

/** A share with its interval drawn over it. @param {Share} share @param {"good" | "warm"} tone */
function shareBar(share, tone) {
  const { t } = desk;
  if (!share.n) return "–";
  const title = `${t("n_of", { k: number(share.k), n: number(share.n) })}, ${t("interval", { low: percent(share.low), high: percent(share.high) })}`;
  return html`<span class="bar share ${tone}" aria-hidden="true" title=${title}><i style=${styleMap({ width: `${(share.rate ?? 0) * 100}%` })}></i><b style=${styleMap({ left: `${share.low * 100}%`, width: `${(share.high - share.low) * 100}%` })}></b></span>
    <span class="bar-text">${percent(share.rate)}<span class="visually-hidden">, ${title}</span></span>`;
}

/** @param {Times} times */
const timeCell = (times) => html`<span title=${times.n ? `${desk.t("within", { time: duration(times.p90_s) })}, n = ${number(times.n)}` : nothing}>${duration(times.median_s)}</span>`;

/** @param {Topic[]} topics */
function unanswered(topics) {
  const { t } = desk;
  const most = Math.max(1, ...topics.map((topic) => topic.n));
  /** @param {Topic} topic */
  const title = (topic) => (topic.kind === "unknown" ? t("topic_unknown") : topic.kind === "intent" ? labels.title("intent", topic.name ?? "") : (topic.name ?? ""));
  return html`<section class="panel topics" aria-label=${t("unanswered")}><h2>${t("unanswered")}</h2><p class="muted">${t("unanswered_note")}</p>
    ${topics.length ? html`<ol>${topics.map((topic) => html`<li><div class="topic"><strong>${title(topic)}</strong>${topic.kind === "proposal" ? html`<a class="tag" href="#/review/proposals">${t("topic_proposal")}</a>` : nothing}<span class="gap"></span>${bar(topic.n / most, t("times_asked", { n: number(topic.n) }))}</div>
      <ul class="examples">${topic.examples.map((example) => html`<li><a href="#/inbox/${example.conversation_id}">${example.text}</a></li>`)}</ul></li>`)}</ol>` : html`<p class="none">${t("unanswered_none")}</p>`}</section>`;
}

/** @param {Insights["agreement"]} found */
function agreement({ overall, by_intent: rows }) {
  const { t } = desk;
  return html`<section class="panel agreement" aria-label=${t("agreement")}><h2>${t("agreement")}</h2><p class="muted">${t("agreement_note")}</p>
    ${overall.n ? html`<p class="overall"><strong>${percent(overall.rate)}</strong> ${t("agreement_overall")} · ${t("n_of", { k: number(overall.k), n: number(overall.n) })} · ${t("interval", { low: percent(overall.low), high: percent(overall.high) })}</p>
      <div class="scroll" tabindex="0" role="group" aria-label=${t("agreement")}><table><thead><tr><th scope="col">${t("said_by_people")}</th><th scope="col">${t("agreed")}</th><th scope="col" class="num">n</th><th scope="col">${t("instead")}</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr><th scope="row">${labels.title("intent", row.name)}</th><td>${shareBar(row.agreed, "good")}</td><td class="num">${number(row.agreed.n)}</td><td>${row.instead ? labels.title("intent", row.instead) : "–"}</td></tr>`)}</tbody></table></div>` : html`<p class="none">${t("labels_none")}</p>`}</section>`;
}

/** @param {Version[]} found */
function versions(found) {
  const { t } = desk;
  /** @param {string} moment */
  const day = (moment) => dayText(new Date(moment).toLocaleDateString("sv-SE", { timeZone: ZONE }));
  return html`<section class="panel versions" aria-label=${t("versions")}><h2>${t("versions")}</h2><p class="muted">${t("versions_note")}</p>
    ${found.length ? html`<ul>${[...found].reverse().map((version) => html`<li><strong>${version.kind === "model" ? t("version_model", { name: version.name }) : t("version_policy", { n: version.version })}</strong>
      ${version.kind === "model" ? html`<code>${version.version.slice(0, 8)}</code><span class="tag">${t(`role_${version.role}`, { share: percent(version.share) })}</span>` : nothing}
      <span class="muted">${version.ended_at ? t("version_span", { from: day(version.began_at), to: day(version.ended_at) }) : t("version_since", { day: day(version.began_at) })}${version.note ? ` · ${reasonText(version.note)}` : ""}</span></li>`)}</ul>` : html`<p class="none">${t("versions_none")}</p>`}</section>`;
}
