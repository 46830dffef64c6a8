// @ts-check
/** Charts over time: lines with the band of their interval, or bars on top of each other. Colours are those of the page. */
import uPlot from "../vendor/uplot.js";
import { html, LitElement, nothing } from "../vendor/lit.js";
import { desk } from "./desk.js";

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {string} colour a custom property of insights.css, such as --chart-1
 * @property {(number | null)[]} values
 * @property {(number | null)[]} [low] of its interval
 * @property {(number | null)[]} [high]
 * @property {boolean} [dashed]
 * @property {boolean} [area] filled down to the axis
 */
/** @typedef {{at: number, label: string, title: string}} Mark at: a place on the axis, in steps from its begin */
/**
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} [note] what the figures mean
 * @property {string[]} steps labels of the axis
 * @property {string[]} [full] the same in words, of the table and beside the pointer
 * @property {Line[]} lines
 * @property {boolean} [stacked] bars on top of each other
 * @property {(value: number) => string} format
 * @property {[number, number]} [range] of the values; from zero to the largest otherwise
 * @property {number[]} [incrs] distances at which the values' axis may be divided
 * @property {Mark[]} [marks]
 * @property {number | null} [unsettled] from this place on the figures may still change
 */

const HEIGHT = 220;

/** @param {Element} element @param {string} colour a custom property */
function resolved(element, colour) {
  const probe = document.createElement("i");
  probe.style.color = `var(${colour})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Each value plus those before it. @param {Line[]} lines @returns {(number | null)[][]} */
export function stacked(lines) {
  const sums = (lines[0]?.values ?? []).map(() => 0);
  return lines.map((line) => line.values.map((value, i) => (sums[i] += value ?? 0)));
}

export class TimeChart extends LitElement {
  static properties = { chart: { attribute: false }, at: { state: true } };

  constructor() {
    super();
    /** @type {Chart | null} */
    this.chart = null;
    /** The step under the pointer. @type {number | null} */
    this.at = null;
    /** @type {uPlot | null} */
    this.plot = null;
    this.drawn = "";
    this.sizes = new ResizeObserver(() => this.#fit());
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.sizes.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.sizes.disconnect();
    this.plot?.destroy();
    this.plot = null;
    this.drawn = "";
  }

  #fit() {
    const target = this.querySelector(".plot");
    if (this.plot && target) this.plot.setSize({ width: target.clientWidth, height: HEIGHT });
  }

  render() {
    const { chart } = this;
    if (!chart) return nothing;
    const { t } = desk;
    const full = chart.full ?? chart.steps;
    /** @param {number | null | undefined} value */
    const shown = (value) => (value === null || value === undefined ? "–" : chart.format(value));
    /** @param {Line} line @param {number} i */
    const ranged = (line, i) => line.values[i] !== null && line.low ? html` <span class="muted">${shown(line.low[i])} – ${shown(line.high?.[i])}</span>` : nothing;
    const at = this.at;
    return html`<figure class="chart" aria-label=${chart.title}>
      <figcaption><h3>${chart.title}</h3>${chart.note ? html`<p class="muted">${chart.note}</p>` : nothing}</figcaption>
      <div class="plot" aria-hidden="true">${chart.lines.some((line) => line.values.some((value) => value !== null)) ? nothing : html`<p class="plot-none">${t("none_yet")}</p>`}</div>
      <ul class="legend" aria-hidden="true">${chart.lines.map((line) => html`<li><i class=${line.dashed ? "swatch dashed" : "swatch"} style="--swatch: var(${line.colour})"></i>${line.label}
        ${at === null ? nothing : html`<strong>${shown(line.values[at])}</strong>${ranged(line, at)}`}</li>`)}
        ${at === null ? nothing : html`<li class="when">${full[at]}</li>`}</ul>
      <details class="as-table"><summary>${t("as_table")}</summary><div class="scroll" tabindex="0" role="group" aria-label=${chart.title}><table>
        <caption class="visually-hidden">${chart.title}</caption>
        <thead><tr><th scope="col">${t("time_span")}</th>${chart.lines.map((line) => html`<th scope="col" class="num">${line.label}</th>`)}</tr></thead>
        <tbody>${chart.steps.map((_, i) => html`<tr><th scope="row">${full[i]}</th>${chart.lines.map((line) => html`<td class="num">${shown(line.values[i])}${ranged(line, i)}</td>`)}</tr>`)}</tbody></table></div></details>
    </figure>`;
  }

  updated() {
    const { chart } = this;
    const target = this.querySelector(".plot");
    if (!chart || !(target instanceof HTMLElement)) return;
    const drawn = JSON.stringify([chart, desk.dark, desk.language]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.plot?.destroy();
    const width = target.clientWidth || 300;
    this.plot = new uPlot({ ...this.#options(chart, target), width, height: HEIGHT }, this.#data(chart), target);
  }

  /** @param {Chart} chart */
  #data(chart) {
    const places = chart.steps.map((_, i) => i);
    if (chart.stacked) return [places, ...stacked(chart.lines).reverse()]; // the tallest is drawn first, below the others
    return [places, ...chart.lines.flatMap((line) => (line.low && line.high ? [line.high, line.low, line.values] : [line.values]))];
  }

  /** @param {Chart} chart @param {HTMLElement} target @returns {Omit<import("../vendor/uplot.js").Options, "width" | "height">} */
  #options(chart, target) {
    /** @param {string} name */
    const colour = (name) => resolved(target, name);
    const font = `12px ${getComputedStyle(target).fontFamily}`;
    const axis = { stroke: colour("--ink-3"), font, ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
    const last = chart.steps.length - 1;
    const few = chart.steps.length < 40;
    /** @type {import("../vendor/uplot.js").Series[]} */
    const series = [{}];
    /** @type {{series: [number, number], fill: string}[]} */
    const bands = [];
    for (const line of chart.stacked ? [...chart.lines].reverse() : chart.lines) {
      const paint = colour(line.colour);
      if (chart.stacked) {
        series.push({ fill: paint, width: 0, points: { show: false }, paths: uPlot.paths.bars?.({ size: [0.82, 56] }) });
        continue;
      }
      if (line.low && line.high) {
        bands.push({ series: [series.length, series.length + 1], fill: colour(`${line.colour}-soft`) });
        series.push({ width: 0, points: { show: false } }, { width: 0, points: { show: false } });
      }
      const dashed = line.dashed ? { dash: [5, 4] } : {};
      series.push({ stroke: paint, width: 2, points: { show: few && !line.dashed, size: 5 }, ...dashed, ...(line.area ? { fill: colour(`${line.colour}-soft`) } : {}) });
    }
    return {
      padding: [12, 14, 0, 0],
      scales: {
        x: { time: false, range: () => [-0.5, last + 0.5] },
        y: { range: (_chart, _low, high) => chart.range ?? [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 64, incrs: [1, 2, 3, 4, 7, 14, 28, 56, 91], values: (_chart, splits) => splits.map((place) => chart.steps[place] ?? null) },
        { ...axis, size: 58, space: 36, ...(chart.incrs ? { incrs: chart.incrs } : {}), values: (_chart, splits) => splits.map((value) => chart.format(value)) },
      ],
      series,
      bands,
      legend: { show: false },
      cursor: { y: false, points: { show: !chart.stacked, size: 7 }, drag: { x: false, y: false } },
      hooks: {
        drawClear: [(plot) => this.#shade(plot, chart, colour("--surface-3"))],
        draw: [(plot) => this.#mark(plot, chart, colour("--ink-3"), font)],
        setCursor: [(plot) => (this.at = plot.cursor.idx ?? null)],
      },
    };
  }

  /** Behind the lines: the time whose figures may still change. @param {uPlot} plot @param {Chart} chart @param {string} colour */
  #shade(plot, chart, colour) {
    if (chart.unsettled === null || chart.unsettled === undefined) return;
    const { ctx, bbox } = plot;
    const from = Math.max(bbox.left, plot.valToPos(chart.unsettled - 0.5, "x", true));
    ctx.save();
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.6;
    ctx.fillRect(from, bbox.top, bbox.left + bbox.width - from, bbox.height);
    ctx.restore();
  }

  /** When a model or a policy began. @param {uPlot} plot @param {Chart} chart @param {string} colour @param {string} font */
  #mark(plot, chart, colour, font) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.font = font.replace("12px", `${10 * ratio}px`);
    ctx.textAlign = "center";
    let free = -Infinity; // labels that would lie on each other are left out
    for (const mark of chart.marks ?? []) {
      const x = Math.round(plot.valToPos(mark.at - 0.5, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (x < free) continue;
      ctx.fillText(mark.label, x, bbox.top - 3 * ratio);
      free = x + ctx.measureText(mark.label).width + 6 * ratio;
    }
    ctx.restore();
  }
}
customElements.define("time-chart", TimeChart);
