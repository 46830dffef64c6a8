// @ts-check
/** Pictures one can look into, and sounds one can move about in. */
import { html, nothing, styleMap, svg } from "../vendor/lit.js";
import "../shared/audio.js";
import { icon } from "../shared/icons.js";
import { peaksOf } from "../shared/media.js";
import { desk, Pane } from "./desk.js";
import { modal } from "./modal.js";

/** @typedef {import("../shared/protocol").Part} Part */
/** @typedef {{text: string, confidence: number, box: [number, number][]}} Line */

/** Where recognised text stands in a picture. @param {Part} part @returns {{lines: Line[], size: [number, number] | null}} */
function recognised(part) {
  const ocr = part.artifacts.find((artifact) => artifact.kind === "ocr");
  const size = ocr?.data?.size ?? (part.width && part.height ? [part.width, part.height] : null);
  return { lines: ocr?.data?.lines ?? [], size };
}

/** A picture in a message; pressing it opens it large. */
class PictureView extends Pane {
  static properties = { file: { attribute: false }, open: { state: true }, broken: { state: true } };

  constructor() {
    super();
    /** @type {Part | null} */
    this.file = null;
    this.open = false;
    this.broken = false;
  }

  render() {
    const part = this.file;
    if (!part?.url) return nothing;
    const name = part.name || desk.t("picture");
    if (this.broken) return html`<p class="media-note">${icon("image", 18)}${desk.t("picture.failed")}</p>`;
    return html`<button class="thumb" type="button" aria-label=${desk.t("enlarge", { name })} @click=${() => (this.open = true)}>
        <img src=${part.url} alt=${name} width=${part.width ?? nothing} height=${part.height ?? nothing} loading="lazy" @error=${() => (this.broken = true)} />
      </button>
      ${this.open ? html`<picture-stage .file=${part} @done=${() => (this.open = false)}></picture-stage>` : nothing}`;
  }
}
customElements.define("picture-view", PictureView);

/** One picture over the whole page: zoom by button, wheel, keys and double click; drag to move; recognised text on top. */
class PictureStage extends Pane {
  static properties = { file: { attribute: false }, zoom: { state: true }, boxes: { state: true }, x: { state: true }, y: { state: true } };

  constructor() {
    super();
    /** @type {Part | null} */
    this.file = null;
    this.zoom = 1; // 1: fits the window
    this.x = this.y = 0; // pixels the picture is moved by
    this.boxes = true;
    /** @type {{x: number, y: number} | null} */
    this.held = null;
  }

  /** @param {number} factor */
  #zoomBy(factor) {
    this.zoom = Math.min(8, Math.max(1, this.zoom * factor));
    if (this.zoom === 1) this.x = this.y = 0;
  }

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    const step = 60;
    /** @type {Record<string, () => void>} */
    const keys = {
      "+": () => this.#zoomBy(1.4), "=": () => this.#zoomBy(1.4), "-": () => this.#zoomBy(1 / 1.4), 0: () => this.#zoomBy(0),
      ArrowLeft: () => (this.x += step), ArrowRight: () => (this.x -= step), ArrowUp: () => (this.y += step), ArrowDown: () => (this.y -= step),
      t: () => (this.boxes = !this.boxes),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  };

  #close = () => this.dispatchEvent(new Event("done"));

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.held || !event.buttons) return;
    this.x += event.clientX - this.held.x;
    this.y += event.clientY - this.held.y;
    this.held = { x: event.clientX, y: event.clientY };
  }

  render() {
    const { t } = desk;
    const part = this.file;
    if (!part?.url) return nothing;
    const { lines, size } = recognised(part);
    const drawn = this.boxes && lines.length > 0 && size;
    const actions = html`
      ${lines.length && size ? html`<button class="button quiet" type="button" aria-pressed=${this.boxes ? "true" : "false"} @click=${() => (this.boxes = !this.boxes)}>${icon("scan", 18)}<span class="label">${t(this.boxes ? "boxes_off" : "boxes_on")}</span></button>` : nothing}
      <button class="icon-button" type="button" aria-label=${t("zoom_out")} title=${t("zoom_out")} ?disabled=${this.zoom === 1} @click=${() => this.#zoomBy(1 / 1.4)}>${icon("minus")}</button>
      <button class="icon-button" type="button" aria-label=${t("zoom_in")} title=${t("zoom_in")} @click=${() => this.#zoomBy(1.4)}>${icon("plus")}</button>
      <a class="icon-button" href=${part.url} download=${part.name || "picture"} aria-label=${t("download")} title=${t("download")}>${icon("download")}</a>`;
    const content = html`<div class="stage" @keydown=${this.#key} tabindex="0" role="group" aria-label=${part.name || t("picture")}
        @wheel=${(/** @type {WheelEvent} */ event) => { event.preventDefault(); this.#zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15); }}
        @dblclick=${() => this.#zoomBy(this.zoom > 1 ? 0 : 2.5)}
        @pointerdown=${(/** @type {PointerEvent} */ event) => (this.held = { x: event.clientX, y: event.clientY })}
        @pointermove=${this.#move} @pointerup=${() => (this.held = null)}>
      <div class="stage-frame" style=${styleMap({ transform: `translate(${this.x}px, ${this.y}px) scale(${this.zoom})` })}>
        <img src=${part.url} alt=${part.name || t("picture")} draggable="false" />
        ${drawn ? html`<svg class="boxes" viewBox="0 0 ${size[0]} ${size[1]}" role="img" aria-label=${lines.map((line) => line.text).join(" · ")}>
          ${lines.map((line) => svg`<polygon points=${line.box.map((point) => point.join(",")).join(" ")} class=${line.confidence < 0.8 ? "unsure" : ""}><title>${line.text} (${Math.round(line.confidence * 100)} %)</title></polygon>`)}
        </svg>` : nothing}
      </div>
    </div>
    ${drawn ? html`<ol class="stage-lines">${lines.map((line) => html`<li class=${line.confidence < 0.8 ? "unsure" : ""}><span>${line.text}</span><span class="muted">${Math.round(line.confidence * 100)}%</span></li>`)}</ol>` : nothing}`;
    return modal(content, { label: part.name || t("picture"), kind: "stage", onClose: this.#close, actions });
  }
}
customElements.define("picture-stage", PictureStage);

const SPEEDS = [1, 1.5, 2];

/** A recording: the shared player with the waveform of the sound itself, and a faster playback. */
class SoundView extends Pane {
  static properties = { file: { attribute: false }, peaks: { state: true }, speed: { state: true } };

  constructor() {
    super();
    /** @type {Part | null} */
    this.file = null;
    /** @type {number[] | null} */
    this.peaks = null;
    this.speed = 1;
  }

  firstUpdated() {
    void this.#draw();
  }

  async #draw() {
    if (!this.file?.url) return;
    try {
      const bytes = await (await fetch(this.file.url)).arrayBuffer();
      const sound = await new OfflineAudioContext(1, 1, 16_000).decodeAudioData(bytes);
      this.peaks = peaksOf(sound.getChannelData(0), 56);
    } catch {
      // no waveform: the player draws a plain line, and says so itself if the sound cannot be played
    }
  }

  /** Plays, or pauses what plays. */
  toggle() {
    /** @type {import("../shared/audio.js").DuomoAudio | null} */ (this.querySelector("duomo-audio"))?.toggle();
  }

  /** @param {number} seconds */
  playFrom(seconds) {
    /** @type {import("../shared/audio.js").DuomoAudio | null} */ (this.querySelector("duomo-audio"))?.playFrom(seconds);
  }

  render() {
    if (!this.file?.url) return nothing;
    return html`<div class="sound">
      <duomo-audio .src=${this.file.url} .duration=${this.file.duration_s ?? 0} .peaks=${this.peaks} .speed=${this.speed} .language=${desk.language}></duomo-audio>
      <button class="speed" type="button" aria-label=${desk.t("speed", { n: this.speed })}
        @click=${() => (this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length])}>${this.speed}×</button>
    </div>`;
  }
}
customElements.define("sound-view", SoundView);
