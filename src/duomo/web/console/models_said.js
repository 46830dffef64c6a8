// @ts-check
/** What the machine wrote down about models, in the reader's language: reasons, gates, verdicts. What people wrote stays. */
import { extend, localeOf } from "../shared/i18n.js";
import { desk } from "./desk.js";
import { labels } from "./labels.js";
import { MODELS_SAID_WORDS } from "./models_said_words.js";

extend(MODELS_SAID_WORDS);

/** @typedef {{gate: string, passed: boolean, why: string, figures: any}} Gate */
/** @typedef {{verdict: string, gates: Gate[]}} Judged */

/** Sentences that are always the same. tests/browser/test_models_said.py reads the machine's sources for others. */
const FIXED = new Map([
  ["shipped with Duomo", "said_shipped"],
  ["by command", "said_by_command"],
  ["it was taken back before", "said_back_before"],
  ["nobody has labelled a turn that may teach.", "said_nobody_labelled"],
  ["nobody has labelled anything since the last run.", "said_nothing_since"],
  ["the same model came out.", "said_same_model"],
  ["the candidate is no better than the active model and knows nothing new.", "said_no_better"],
  ["the active model changed meanwhile. Run it again.", "said_changed_meanwhile"],
  ["this very model was taken back before; only an owner may let it answer again.", "said_only_owner"],
  ["the training could not be finished; the logs say why.", "said_unfinished"],
  ["training needs the extra [train]. Install it for the workers: pip install 'duomo[train]'", "said_needs_train"],
  ["there is no former model to go back to. Deploy another one, or retire this one.", "said_no_former"],
  ["this model is the active one. Activate another, then give this one the role.", "said_is_active"],
  ["write in a sentence why this model shall answer although a gate refused it.", "said_write_why"],
]);

/** Sentences with something in them. @type {[RegExp, (found: string[]) => string][]} */
const MOULDS = [
  [/^(?:shadow|canary) passed (\d+) turns$/, ([, n]) => desk.t("passed_turns", { n })],
  [/^worse: (.+)$/, ([, found]) => found.split("; ").map(findingText).join(desk.language === "zh" ? "；" : "; ")],
  [/^the training ended with code (\d+)\.$/, ([, code]) => desk.t("said_ended", { code })],
  [/^the training was killed (\d+) times; is there enough memory\?$/, ([, n]) => desk.t("said_killed", { n })],
  [/^head (\w+): (\d+) labels have (\d+) labelled turns or more \(fewer: (.+)\); two at least are needed\. Label more turns\.$/, fewLabels],
  [/^only a refused candidate can be promoted by an owner; this one is (\w+)\.$/, ([, state]) => desk.t("said_not_refused", { state: named("training", state) })],
  [/^a canary takes a share above 0 and up to 1, other roles none; came /, () => desk.t("said_share")],
];

/** Why an archive is no model of this installation: what the server says, and which words tell it. @type {[RegExp, string][]} */
const REFUSALS = [
  [/not a zip archive/, "refused_zip"],
  [/is trained but not exported/, "refused_not_exported"],
  [/the archive holds no (\S+)\. Send/, "refused_no_model"],
  [/archive lacks (\S+), which/, "refused_lacks"],
  [/([^/]+) is missing\. Copy/, "refused_lacks"],
  [/([^/]+) has SHA-256/, "refused_damaged"],
  [/([^/]+) is cut off or not JSON/, "refused_damaged"],
  [/([^/]+) cannot be read \(/, "refused_damaged"],
  [/has format .+, this version reads|(?:Train or export|export) the model again\.$/i, "refused_version"],
  [/ by (.+?), version (.+?)[,;] /, "refused_encoder"],
  [/holds (\d+) files, allowed are (\d+)/, "refused_files"],
  [/unpacks to/, "refused_big"],
  [/^(.+) (?:points outside of the archive|is a symbolic link|is encrypted)/, "refused_member"],
  [/^no worker took the model/, "refused_no_worker"],
];

/** Why an uploaded model was not taken. @param {string} text */
export function refusalText(text) {
  for (const [mould, key] of REFUSALS) {
    const found = mould.exec(text);
    if (found) return desk.t(key, { a: found[1] ?? "", b: found[2] ?? "" });
  }
  return desk.t("refused_other", { text });
}

/** @param {number} share @param {number} [digits] */
const percent = (share, digits = 0) => share.toLocaleString(localeOf(desk.language), { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits });
/** @param {number} share */
const signed = (share) => share.toLocaleString(localeOf(desk.language), { style: "percent", maximumFractionDigits: 1, minimumFractionDigits: 1, signDisplay: "exceptZero" });
/** @param {number} value */
const decimal = (value) => value.toLocaleString(localeOf(desk.language), { maximumFractionDigits: 2, minimumFractionDigits: 2 });
/** @param {number} value */
const signedDecimal = (value) => value.toLocaleString(localeOf(desk.language), { maximumFractionDigits: 2, minimumFractionDigits: 2, signDisplay: "exceptZero" });
/** @param {[number, number]} count */
const rate = ([k, n]) => (n ? percent(k / n) : "–");
/** A word of ours, or what the server calls it. @param {string} key @param {string} name */
export const named = (key, name) => (desk.t(`${key}_${name}`) === `${key}_${name}` ? name.replaceAll("_", " ") : desk.t(`${key}_${name}`));

/** What the machine wrote: why a model has its role or lost it, a training failed, a change is not possible. Other words stay. @param {string} text */
export function reasonText(text) {
  const fixed = FIXED.get(text);
  if (fixed) return desk.t(fixed);
  for (const [mould, say] of MOULDS) {
    const found = mould.exec(text);
    if (found) return say(found);
  }
  return text;
}

/** @param {string} text as `Finding` in support/rollout.py writes it */
function findingText(text) {
  const found = /^(\w+) (\d+)\/(\d+) against (\d+)\/(\d+)$/.exec(text);
  if (!found) return text;
  const [, name, a, b, c, d] = found;
  return desk.t("finding_said", { what: named("found", name), tried: rate([+a, +b]), usual: rate([+c, +d]) });
}

/** @param {string[]} found */
function fewLabels([, head, n, least, fewer]) {
  const counts = [...fewer.matchAll(/(\S+) (\d+)(?:, |$)/g)].map(([, name, count]) => `${labels.title(head, name)} ${count}`);
  const told = counts.length ? listed(counts) : desk.t("said_none");
  return desk.t("said_few_labels", { head: labels.headTitle(head), n, least, fewer: told });
}

/** @param {string[]} names */
export const listed = (names) => names.join(desk.language === "zh" ? "、" : ", ");

/** @param {{figure?: string, first: number, second: number, value: number, low: number, high: number}} found */
function difference({ figure, first, second, value, low, high }) {
  const share = figure !== "mae";
  const [plain, more] = share ? [(/** @type {number} */ one) => percent(one, 1), signed] : [decimal, signedDecimal];
  return desk.t("said_difference", { first: plain(first), second: plain(second), value: more(value), low: more(low), high: more(high) });
}

/** A language, a team, an intent or what came together, as people call it. @param {any} figures */
function group({ kind, name, head }) {
  if (kind === "pattern") return String(name).split("+").map((one) => named("subject", one)).join(" + ");
  if (kind === "team") return desk.t("said_team", { name: desk.teamName(name) });
  if (kind === "label") return labels.title(head, name);
  if (!/^[a-z]{2,3}(-\w+)*$/.test(name)) return name;
  return new Intl.DisplayNames([localeOf(desk.language)], { type: "language" }).of(name) ?? name;
}

/** What one gate found, or what was gained. Runs that were stored without figures keep their sentence. @param {Gate} gate */
export function gateText({ gate, why, figures }) {
  const { t } = desk;
  const head = figures.head ? labels.headTitle(figures.head) : "";
  /** @param {string[]} names */
  const titles = (names) => listed(names.map((name) => t("said_label", { name: labels.title(figures.head, name) })));
  const compared = ["first", "second", "value", "low", "high"].every((name) => typeof figures[name] === "number");
  switch (gate === "gain" ? `gain_${figures.gain}` : gate) {
    case "evidence":
      if (figures.n === 0) return t("said_no_evidence");
      return typeof figures.held_out === "number" ? t("said_evidence", { n: figures.n, apart: figures.held_out }) : why;
    case "labels":
      if (!Array.isArray(figures.lost)) return why;
      return figures.lost.length ? t("said_lost", { head, names: titles(figures.lost) }) : t("said_knows_all", { head });
    case "guessing":
      if (typeof figures.most_frequent !== "number") return why;
      return t("said_guessing", { head, value: percent(figures.value, 1), low: percent(figures.low, 1), high: percent(figures.high, 1), n: figures.n, most: percent(figures.most_frequent, 1) });
    case "base":
      return typeof figures.first === "number" ? t("said_base", { head, first: percent(figures.first, 1), second: percent(figures.second, 1) }) : why;
    case "slice":
      return compared ? t("said_figure", { what: `${head} · ${group(figures)}`, found: difference(figures), n: figures.n }) : why;
    case "gain_fresh":
      return t("said_fresh", { n: figures.n });
    case "gain_labels":
      return t("said_new", { head, names: titles(figures.new) });
    case "gain_answers":
      return t("said_answers", { head });
    default: {
      const what = `${head} · ${named("said", (figures.name ?? gate).replaceAll(" ", "_"))}`;
      return compared ? t("said_figure", { what, found: difference(figures), n: figures.n }) : why;
    }
  }
}

/** The gates that refused a candidate; none where something else did. @param {Judged} run */
export function refusedBy({ verdict, gates }) {
  const failed = gates.filter((gate) => !gate.passed);
  return verdict === failed.map((gate) => gate.why).join(" ") ? failed : [];
}

/** Why a training ended as it did: gates or gains that decided it, a sentence of the machine, or an owner's words. @param {Judged} run */
export function verdictLines(run) {
  const gains = run.gates.filter((gate) => gate.gate === "gain");
  const decided = run.verdict === gains.map((gate) => gate.why).join(" ") ? gains : refusedBy(run);
  return decided.length ? decided.map(gateText) : [reasonText(run.verdict)];
}

/** @param {Judged} run */
export const verdictText = (run) => verdictLines(run).join(desk.language === "zh" ? "" : " ");
