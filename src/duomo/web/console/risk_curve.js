// @ts-check
/** How much is answered and how much of that is wrong, at each threshold; the threshold is chosen on a slider. */
import { html, nothing, styleMap, svg } from "../vendor/lit.js";
import { desk, Pane } from "./desk.js";

/** @typedef {{k: number, n: number, rate: number | null, low: number, high: number}} Share */
/** @typedef {{threshold: number, answered: number, asked: number, wrong: Share}} Point */
/** @typedef {{turns: number, by_agents: number, by_customers: number, now: Record<string, number>, points: Point[], suggestion: {risk: number, confidence: number, threshold: number | null, needed: number}}} Curve */

/** @param {number} share */
export const percent = (share) => `${share > 0 && share < 0.0995 ? (100 * share).toFixed(1).replace(/\.0$/, "") : Math.round(100 * share)}${desk.language === "zh" ? "%" : " %"}`;

/** What a threshold means, in a sentence. @param {Point} point */
export function pointSays(point) {
  const { wrong } = point;
  const words = { threshold: point.threshold.toFixed(2), answered: percent(point.answered), asked: percent(point.asked) };
  if (wrong.rate === null) return desk.t("curve_says_unknown", words);
  return desk.t("curve_says", { ...words, wrong: percent(wrong.rate), low: percent(wrong.low), high: percent(wrong.high), k: wrong.k, n: wrong.n });
}

class RiskCurve extends Pane {
  static properties = { curve: { attribute: false }, chosen: { attribute: false } };

  constructor() {
    super();
    /** @type {Curve | null} */
    this.curve = null;
    /** The threshold. */
    this.chosen = 0.5;
  }

  render() {
    const { t } = desk;
    if (!this.curve) return nothing;
    const known = this.curve.points.filter((point) => point.wrong.rate !== null);
    const top = Math.min(1, Math.max(0.05, Math.ceil(20 * Math.max(0, ...known.map((point) => Math.min(point.wrong.high, 2.5 * (point.wrong.rate ?? 0) + 0.1)))) / 20));
    const chosen = this.#at(this.chosen);
    const now = [...new Set(Object.values(this.curve.now))].map((threshold) => this.#at(threshold)).filter((point) => point !== chosen);
    return html`<figure class="curve" aria-label=${t("curve_title")}>
      <figcaption><h3>${t("curve_title")}</h3><p class="muted"><span class="key line"></span>${t("curve_y")} <span class="key band"></span>${t("curve_band")}</p></figcaption>
      <div class="curve-grid">
        <div class="axis y" aria-hidden="true">${[1, 0.5, 0].map((part) => html`<span>${percent(part * top)}</span>`)}</div>
        <div class="plot-area">
          <svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
            ${[0, 25, 50, 75, 100].map((at) => svg`<path class="grid" d="M${at} 0V100M0 ${at}H100" />`)}
            <path class="band" d=${band(known, top)} /><path class="risk" d=${line(known, top)} />
            <path class="at" d="M${100 * chosen.answered} 0V100" /></svg>
          ${known.length ? nothing : html`<p class="curve-none muted">${t("curve_none_judged")}</p>`}
          ${now.map((point) => this.#dot(point, top, "now"))}${this.#dot(chosen, top, "chosen")}
        </div>
        <div class="axis x" aria-hidden="true">${[0, 0.25, 0.5, 0.75, 1].map((part) => html`<span>${percent(part)}</span>`)}</div>
        <p class="axis-title muted">${t("curve_x")}</p>
      </div>
    </figure>`;
  }

  /** @param {number} threshold */
  #at(threshold) {
    const points = this.curve?.points ?? [];
    return points[Math.round(threshold * (points.length - 1))];
  }

  /** @param {Point} point @param {number} top @param {"now" | "chosen"} which */
  #dot(point, top, which) {
    if (point.wrong.rate === null) return nothing;
    const place = { left: `${100 * point.answered}%`, top: `${100 * (1 - Math.min(1, point.wrong.rate / top))}%` };
    return html`<i class="dot ${which}" style=${styleMap(place)}><span class=${point.answered > 0.8 ? "before" : ""}>${desk.t(`curve_${which}`)}</span></i>`;
  }
}
customElements.define("risk-curve", RiskCurve);

/** @param {Point[]} points @param {number} top */
function line(points, top) {
  return points.map((point, i) => `${i ? "L" : "M"}${(100 * point.answered).toFixed(2)} ${height(point.wrong.rate ?? 0, top)}`).join("");
}

/** @param {Point[]} points @param {number} top */
function band(points, top) {
  if (!points.length) return "";
  const above = points.map((point) => `${(100 * point.answered).toFixed(2)} ${height(point.wrong.high, top)}`);
  const below = points.map((point) => `${(100 * point.answered).toFixed(2)} ${height(point.wrong.low, top)}`).reverse();
  return `M${[...above, ...below].join("L")}Z`;
}

/** @param {number} share @param {number} top */
const height = (share, top) => (100 * (1 - Math.min(1, share / top))).toFixed(2);
