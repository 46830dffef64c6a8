// @ts-check
import { css, html, LitElement } from "../vendor/lit.js";
import { formatDuration, translator } from "./i18n.js";
import { icon } from "./icons.js";

/** A voice note with play, position and time. Attributes: src, duration (seconds), language, speed; property: peaks. */
export class DuomoAudio extends LitElement {
  static properties = {
    src: {},
    duration: { type: Number },
    language: {},
    speed: { type: Number },
    peaks: { attribute: false },
    playing: { state: true },
    position: { state: true },
    failed: { state: true },
  };

  static styles = css`
    :host { display: block; min-width: 220px; color: inherit; font: inherit; }
    .player { display: flex; align-items: center; gap: 10px; }
    button {
      flex: none; display: grid; place-items: center; width: 36px; height: 36px; padding: 0; border: 0; border-radius: 50%;
      color: var(--on-accent); background: var(--accent); cursor: pointer;
    }
    button:focus-visible, input:focus-visible + .track { outline: 2px solid var(--focus); outline-offset: 2px; }
    .line { position: relative; flex: 1; height: 32px; min-width: 90px; }
    .track { position: absolute; inset: 0; display: flex; align-items: center; gap: 2px; border-radius: 6px; pointer-events: none; }
    .bar { flex: 1; min-width: 1px; border-radius: 2px; background: currentColor; opacity: 0.35; }
    .bar.played { opacity: 1; }
    .rail { flex: 1; height: 4px; border-radius: 2px; background: color-mix(in srgb, currentColor 28%, transparent); }
    .rail span { display: block; height: 100%; border-radius: 2px; background: currentColor; }
    input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
    .time { flex: none; font-size: var(--text-s); font-variant-numeric: tabular-nums; }
  `;

  constructor() {
    super();
    this.src = "";
    this.duration = 0;
    /** @type {import("./i18n.js").Language} */
    this.language = "en";
    /** @type {number[] | null} */
    this.peaks = null;
    this.speed = 1; // of playback, 1 is natural
    this.playing = false;
    this.position = 0;
    this.failed = false;
    /** @type {HTMLAudioElement | null} */
    this.sound = null;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.sound?.pause();
  }

  /** @param {Map<PropertyKey, unknown>} changed */
  willUpdate(changed) {
    if (this.sound) this.sound.playbackRate = this.speed;
    if (!changed.has("src") || changed.get("src") === undefined) return;
    // A renewed address of the same recording must not stop it while it plays.
    if (this.playing) return;
    this.sound = null;
    this.position = 0;
    this.failed = false;
  }

  #load() {
    const sound = new Audio(this.src);
    sound.preload = "auto";
    sound.defaultPlaybackRate = sound.playbackRate = this.speed;
    const follow = () => {
      this.position = sound.currentTime;
      if (!sound.paused) requestAnimationFrame(follow);
    };
    sound.onplay = () => {
      this.playing = true;
      follow();
    };
    sound.onpause = () => {
      this.playing = false;
    };
    sound.onended = () => {
      this.position = 0;
      sound.currentTime = 0;
    };
    sound.onloadedmetadata = () => {
      if (Number.isFinite(sound.duration)) this.duration = sound.duration;
    };
    sound.onerror = () => {
      this.failed = true;
      this.playing = false;
    };
    this.sound = sound;
    return sound;
  }

  toggle = () => {
    const sound = this.sound ?? this.#load();
    if (!sound.paused) sound.pause();
    else
      sound.play().catch(() => {
        this.failed = true;
      });
  };

  /** @param {number} seconds */
  playFrom(seconds) {
    const sound = this.sound ?? this.#load();
    sound.currentTime = seconds;
    sound.play().catch(() => {
      this.failed = true;
    });
  }

  /** @param {Event & {target: HTMLInputElement}} event */
  #seek = (event) => {
    const sound = this.sound ?? this.#load();
    this.position = Number(event.target.value);
    sound.currentTime = this.position;
  };

  render() {
    const t = translator(this.language);
    if (this.failed) return html`<span role="alert">${t("audio.failed")}</span>`;
    const share = this.duration ? this.position / this.duration : 0;
    return html`<div class="player">
      <button type="button" aria-label=${t(this.playing ? "audio.pause" : "audio.play")} @click=${this.toggle}>
        ${icon(this.playing ? "pause" : "play", 20)}
      </button>
      <div class="line">
        <input type="range" min="0" max=${this.duration || 1} step="0.1" .value=${String(this.position)}
          aria-label=${t("audio.seek")} aria-valuetext=${formatDuration(this.position)} @input=${this.#seek} />
        <div class="track">${this.#track(share)}</div>
      </div>
      <span class="time">${formatDuration(this.playing || this.position ? this.position : this.duration)}</span>
    </div>`;
  }

  /** @param {number} share played, [0, 1] */
  #track(share) {
    if (!this.peaks?.length) return html`<span class="rail"><span style="width:${share * 100}%"></span></span>`;
    const played = share * this.peaks.length;
    return this.peaks.map((peak, i) => html`<span class=${i < played ? "bar played" : "bar"} style="height:${12 + peak * 88}%"></span>`);
  }
}

customElements.get("duomo-audio") ?? customElements.define("duomo-audio", DuomoAudio);
