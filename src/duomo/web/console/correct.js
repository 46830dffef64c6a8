// @ts-check
/** Corrections in a conversation, one press each: what a customer wants, and what the bot should have done. */
import { html, nothing, repeat } from "../vendor/lit.js";
import { formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { percent } from "./label_choice.js";
import { labels } from "./labels.js";
import "./value_picker.js";

/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {import("../shared/protocol").Artifact} Artifact */
/** @typedef {import("./thread.js").Thread} Thread */
/** @typedef {import("./labels.js").Head} Head */
/** @typedef {import("./labels.js").Kind} Kind */
/** @typedef {import("./labels.js").LabelView} LabelView */
/** @typedef {LabelView & {unsent?: boolean}} Said */

const UNSURE = 0.6;
const GATHERED = 150; // ms in which several changes are one reason to look
/** Which artifacts a person corrects, and as which kind of label. @type {Partial<Record<string, Kind>>} */
const LABELLED = { transcript: "transcript", ocr: "ocr", document_text: "ocr" };
const MEANT = ["intent", "urgency"]; // heads that have a meaning to the policy come first

/** What people said in one conversation. */
class Corrections {
  /** @type {Map<string, LabelView>} */
  views = new Map();

  /** @param {Thread} thread */
  constructor(thread) {
    this.thread = thread;
    void labels.load();
    void this.load();
  }

  async load() {
    try {
      const views = await desk.api.get(`${this.thread.path}/labels`);
      this.views = new Map([...this.views, ...views.map((/** @type {LabelView} */ view) => [view.id, view])]);
      desk.changed();
    } catch (error) {
      if (desk.thread === this.thread) desk.report(error);
    }
  }

  /** The label that holds: the newest, whether or not the server has it yet. @param {string} messageId @param {Kind} kind @param {string} [head] @param {string} [artifactId] @returns {Said | null} */
  of(messageId, kind, head = "", artifactId) {
    const waiting = labels.outbox.filter((one) => one.message_id === messageId && one.kind === kind && one.head === head && (!artifactId || one.artifact_id === artifactId)).at(-1);
    if (waiting) return { ...waiting, agent: desk.me, created_at: waiting.said_at, unsent: true };
    /** @param {LabelView} view */
    const same = (view) => !artifactId || !view.said?.artifact || view.said.artifact.id === artifactId;
    const known = [...this.views.values()].filter((view) => view.message_id === messageId && view.kind === kind && view.head === head && view.origin !== "second" && same(view));
    return known.sort((a, b) => a.created_at.localeCompare(b.created_at)).at(-1) ?? null;
  }
}

/** A label makes its message new for whoever looks at it. */
let timer = 0;
desk.addEventListener("updated", () => {
  clearTimeout(timer);
  timer = window.setTimeout(() => desk.thread && void correctionsOf(desk.thread).load(), GATHERED);
});

/** @type {WeakMap<Thread, Corrections>} */
const known = new WeakMap();

/** @param {Thread} thread */
function correctionsOf(thread) {
  let found = known.get(thread);
  if (!found) known.set(thread, (found = new Corrections(thread)));
  return found;
}

labels.addEventListener("settled", (event) => {
  const { view } = /** @type {CustomEvent} */ (event).detail;
  const { thread } = desk;
  if (view && thread) correctionsOf(thread).views.set(view.id, view);
});

/** Says it, and offers to take it back. @param {Message} message @param {{kind: Kind, head?: string, value: any, artifactId?: string, before: any, text: string}} correction before: the value that held until now */
function correct(message, { kind, head = "", value, artifactId, before, text }) {
  const saying = { message_id: message.id, kind, head, origin: /** @type {const} */ ("correction"), ...(artifactId ? { artifact_id: artifactId } : {}) };
  labels.say(message.conversation_id, { ...saying, value });
  const undo = () => labels.say(message.conversation_id, { ...saying, value: before });
  desk.toast(text, { action: { label: desk.t("undo"), act: undo } });
}

/** Corrects what was heard or read. @param {Message} message @param {Artifact} artifact @param {string} text */
export function correctArtifact(message, artifact, text) {
  correct(message, { kind: LABELLED[artifact.kind] ?? "ocr", value: text, artifactId: artifact.id, before: artifact.text, text: desk.t("corrected_toast", { value: brief(text) }) });
}

/** How a person corrected an artifact, also while the server does not know it yet. @param {Artifact} artifact @returns {{message: Message, said: Said | null} | null} */
export function artifactCorrection(artifact) {
  const { thread } = desk;
  const message = [...(thread?.messages.values() ?? [])].find((one) => one.parts.some((part) => part.artifacts.some((other) => other.id === artifact.id)));
  const kind = LABELLED[artifact.kind];
  if (!thread || !message || !kind) return null;
  const said = correctionsOf(thread).of(message.id, kind, "", artifact.id);
  return { message, said: said && (said.unsent || said.value === artifact.text) ? said : null };
}

/** @param {string} text */
const brief = (text) => (text.length > 60 ? `${text.slice(0, 58)}…` : text);

/** Who said so, and when. @param {Said} said */
export function signature(said) {
  const name = said.agent?.id === desk.me?.id ? desk.t("you") : (said.agent?.name ?? desk.t("somebody"));
  return html`<span class="said-by">${icon(said.unsent ? "clock" : "check", 13)}<span>${name}</span><time datetime=${said.created_at}>${said.unsent ? desk.t("not_sent_yet") : formatTime(said.created_at, desk.language)}</time></span>`;
}

/** What the model said of a customer's message. @param {Thread} thread @param {Message} message @returns {Record<string, Head> | null} */
function predictionOf(thread, message) {
  for (const other of thread.messages.values()) {
    if (other.decision?.understood?.message_id === message.id) return other.decision.understood.heads;
  }
  return /** @type {any} */ (message).prediction?.heads ?? null;
}

/** Whether a customer's message ends what they said in one go: a label belongs to the last one. @param {Thread} thread @param {Message} message */
function endsTurn(thread, message) {
  const next = thread.entries.find((entry) => entry.type === "message" && entry.seq > message.seq && !entry.message.private);
  return next?.type !== "message" || next.message.author !== "customer";
}

/** Whether two values of a head are the same, in whatever order their labels stand. @param {unknown} a @param {unknown} b */
function alike(a, b) {
  return JSON.stringify(Array.isArray(a) ? [...a].sort() : a) === JSON.stringify(Array.isArray(b) ? [...b].sort() : b);
}

/** A head's value in the reader's words. @param {string} head @param {any} value a label, several, or a number */
function valueTitle(head, value) {
  if (typeof value === "number") return value.toLocaleString(desk.language, { maximumFractionDigits: 2 });
  const names = Array.isArray(value) ? value : [value];
  return names.map((name) => labels.title(head, name)).join(" · ") || desk.t("out_of_scope");
}

/** Under a customer's message: what it was taken for, each a button that corrects it. */
class TurnLabels extends Pane {
  static properties = { message: { attribute: false } };

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
  }

  /** @param {Record<string, Head> | null} prediction @returns {string[]} */
  #heads(prediction) {
    const known = labels.sets.map((set) => set.head);
    const shown = Object.entries(prediction ?? {}).filter(([head, { label }]) => typeof label === "string" || known.includes(head)).map(([head]) => head);
    const names = [...new Set([...known.filter((head) => shown.includes(head) || MEANT.includes(head)), ...shown])];
    return [...MEANT.filter((head) => names.includes(head)), ...names.filter((head) => !MEANT.includes(head))];
  }

  render() {
    const { thread } = desk;
    const { message } = this;
    if (!thread || !message || message.author !== "customer") return nothing;
    const corrections = correctionsOf(thread);
    const prediction = predictionOf(thread, message);
    if (!prediction && !endsTurn(thread, message)) return nothing;
    const heads = this.#heads(prediction);
    if (!heads.length) return nothing;
    return html`<div class="turn-labels" role="group" aria-label=${desk.t("understood_as")}>${repeat(heads, (head) => head, (head) => this.#chip(message, head, prediction?.[head] ?? null, corrections.of(message.id, "head", head)))}</div>`;
  }

  /** @param {Message} message @param {string} head @param {Head | null} said @param {Said | null} label */
  #chip(message, head, said, label) {
    const { t } = desk;
    const value = label ? label.value : null;
    const corrected = value !== null && !(said && alike(value, said.label));
    const shown = value ?? said?.label ?? null;
    const unsure = said && value === null && (said.abstain || said.confidence < UNSURE);
    const face = html`<span class="visually-hidden">${t("correct_head")}</span><span class="chip-head">${labels.headTitle(head)}</span>
      ${corrected && said ? html`<del>${valueTitle(head, said.label)}</del>` : nothing}
      <span class="chip-value">${shown === null ? t("label_none") : valueTitle(head, shown)}</span>
      ${said && value === null && typeof said.confidence === "number" ? html`<span class="number">${percent(said.confidence)}</span>` : nothing}`;
    /** @param {unknown} given */
    const choose = (given) => {
      if (value !== null && alike(given, value)) return;
      correct(message, { kind: "head", head, value: given, before: value, text: t("corrected_toast", { value: `${labels.headTitle(head)}: ${valueTitle(head, given)}` }) });
    };
    const type = labels.set(head)?.type ?? "class";
    const [name, cls] = [t("review_choose", { head: labels.headTitle(head) }), `label-chip${unsure ? " unsure" : ""}${value === null ? "" : " said"}`];
    return html`<span class="turn-label" data-head=${head}>${type === "class"
        ? html`<label-picker .face=${face} .head=${head} .label=${name} .cls=${cls} .options=${() => labels.ordered(head, said)} .current=${shown} @choose=${(/** @type {CustomEvent} */ { detail }) => choose(detail.name)}></label-picker>`
        : html`<value-picker .face=${face} .label=${name} .cls=${cls} .options=${type === "number" ? null : labels.ordered(head, said)} .current=${shown} @choose=${(/** @type {CustomEvent} */ { detail }) => choose(detail.value)}></value-picker>`}
      ${label && value !== null ? signature(label) : nothing}</span>`;
  }
}
customElements.define("turn-labels", TurnLabels);

/** Titles of articles that only their ids are known of. @type {Map<string, string>} */
const titles = new Map();

/** @param {string} id */
function articleTitle(id) {
  const title = titles.get(id);
  if (title !== undefined) return title;
  titles.set(id, id);
  desk.api.get(`articles/${desk.articlePath(id)}`).then((article) => {
    titles.set(id, article.title);
    desk.changed();
  }, () => {}); // a deleted article keeps its id for a name
  return id;
}

const ASKED_AFTER = 200; // ms without typing, before the articles are searched

/** Under a bot's message: one press each for what was wrong with it, and what people said of it. */
class AnswerLabels extends Pane {
  static properties = { message: { attribute: false }, found: { state: true } };

  constructor() {
    super();
    /** @type {Message | null} */
    this.message = null;
    /** Articles that fit what was typed. @type {{id: string, title: string}[]} */
    this.found = [];
    this.timer = 0;
  }

  /** @param {string} text */
  #search(text) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(async () => {
      try {
        this.found = text.trim() ? (await desk.api.get(`agent/knowledge?q=${encodeURIComponent(text.trim())}`)).items : [];
      } catch (error) {
        desk.report(error);
      }
    }, ASKED_AFTER);
  }

  /** None, what the bot considered, then what the search found. @param {Message} message @param {typeof this.found} found */
  #articles(message, found) {
    const { t } = desk;
    const cited = new Set((message.citations ?? []).map((citation) => citation.article_id));
    /** @type {Map<string, import("./label_choice.js").Option>} */
    const options = new Map();
    for (const { article_id: id, title, score } of message.decision?.candidates ?? []) {
      if (id && !options.has(id)) options.set(id, { name: id, title, note: cited.has(id) ? t("used") : Number(score).toFixed(2) });
    }
    for (const { id, title } of found) if (!options.has(id)) options.set(id, { name: id, title });
    for (const { name, title } of options.values()) titles.set(name, title);
    return [...[...options.values()].sort((a, b) => Number(cited.has(a.name)) - Number(cited.has(b.name))), { name: "", title: t("source_none") }];
  }

  render() {
    const { thread } = desk;
    const { message } = this;
    if (!thread || !message || !["answer", "clarify", "handoff"].includes(message.kind)) return nothing;
    const corrections = correctionsOf(thread);
    const [source, answer, handoff] = /** @type {const} */ (["source", "answer", "handoff"]).map((kind) => corrections.of(message.id, kind));
    return html`<div class="answer-labels" role="group" aria-label=${desk.t("correct_answer")}>
      ${this.#source(message, source)} ${this.#better(message, answer)} ${this.#handoff(message, handoff)}</div>
      ${this.#marks(message, source, answer, handoff)}`;
  }

  /** @param {Message} message @param {Said | null} said */
  #source(message, said) {
    const { t } = desk;
    const cites = (message.citations ?? []).length > 0;
    const face = html`${icon("book", 14)}${t(cites ? "wrong_source" : "right_source")}`;
    /** @param {CustomEvent} event */
    const choose = ({ detail }) => {
      correct(message, { kind: "source", value: detail.name, before: said?.value ?? null, text: t("corrected_toast", { value: `${t("right_source")}: ${detail.title}` }) });
    };
    return html`<label-picker .face=${face} .cls=${"correct-button"} .label=${t(cites ? "wrong_source" : "right_source")} .current=${said?.value}
      .options=${() => this.#articles(message, this.found)} @query=${(/** @type {CustomEvent} */ event) => this.#search(event.detail.text)} @choose=${choose}></label-picker>`;
  }

  /** @param {Message} message @param {Said | null} said */
  #better(message, said) {
    return html`<button class="correct-button" type="button" data-correct="answer" @click=${() => this.dispatchEvent(new CustomEvent("better-answer", { bubbles: true, detail: { message, before: said?.value || null } }))}>${icon("edit", 14)}${desk.t("better_answer")}</button>`;
  }

  /** @param {Message} message @param {Said | null} said */
  #handoff(message, said) {
    const { t } = desk;
    const handed = message.kind === "handoff";
    const word = t(handed ? "should_have_answered" : "should_have_handed_over");
    const pressed = said?.value === !handed;
    const press = () =>
      correct(message, { kind: "handoff", value: pressed ? null : !handed, before: said?.value ?? null, text: pressed ? t("taken_back") : t("corrected_toast", { value: word }) });
    return html`<button class="correct-button" type="button" data-correct="handoff" aria-pressed=${pressed ? "true" : "false"} @click=${press}>${icon(handed ? "spark" : "person", 14)}${word}</button>`;
  }

  /** @param {Message} message @param {Said | null} source @param {Said | null} answer @param {Said | null} handoff */
  #marks(message, source, answer, handoff) {
    const { t } = desk;
    const handed = message.kind === "handoff";
    /** @type {[Kind, unknown, Said][]} */
    const marks = [];
    if (source && source.value !== null) {
      marks.push(["source", html`<strong>${t("right_source")}</strong> ${source.value === "" ? t("source_none") : html`<button class="link" type="button" @click=${() => desk.openArticle(source.value, "", articleTitle(source.value))}>${articleTitle(source.value)}</button>`}`, source]);
    }
    if (answer?.value) marks.push(["answer", html`<strong>${t("better_answer")}</strong> <q>${answer.value}</q>`, answer]);
    if (handoff?.value === !handed) marks.push(["handoff", html`<strong>${t(handed ? "should_have_answered" : "should_have_handed_over")}</strong>`, handoff]);
    if (!marks.length) return nothing;
    /** @param {Kind} kind @param {Said} said */
    const takeBack = (kind, said) => correct(message, { kind, value: null, before: said.value, text: t("taken_back") });
    return html`<ul class="correction-marks" aria-label=${t("corrections")}>${marks.map(([kind, text, said]) => html`<li data-mark=${kind}><span>${text}</span>${signature(said)}
      <button class="icon-button small" type="button" aria-label=${t("take_back")} title=${t("take_back")} @click=${() => takeBack(kind, said)}>${icon("undo", 15)}</button></li>`)}</ul>`;
  }
}
customElements.define("answer-labels", AnswerLabels);

/** Stores what the composer holds as the better answer. @param {Message} message @param {string} text @param {string | null} before */
export function sayBetterAnswer(message, text, before) {
  correct(message, { kind: "answer", value: text, before, text: desk.t("corrected_toast", { value: `${desk.t("better_answer")}: ${brief(text)}` }) });
}
