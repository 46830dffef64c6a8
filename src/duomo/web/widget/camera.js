// @ts-check
import { css, html, LitElement, nothing } from "../vendor/lit.js";
import { errorText, translator } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { Camera } from "../shared/media.js";
import { controlStyles, sheetStyles } from "./styles.js";

/** Preview, shutter, look, use. Events: `photo` {file}, `choose-file` (no camera: take a file instead), `close`. */
export class DuomoCamera extends LitElement {
  static properties = {
    language: {},
    state: { state: true },
    problem: { state: true },
    shot: { state: true },
  };

  static styles = [
    controlStyles,
    sheetStyles,
    css`
      .stage { position: relative; flex: 1; min-height: 0; display: grid; place-items: center; background: #0b0f0e; }
      .stage :is(video, img) { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
      .stage p { max-width: 300px; padding: 24px; text-align: center; color: #fff; }
      .stage .choose { display: grid; justify-items: center; gap: 4px; }
      .controls { flex: none; display: grid; grid-template-columns: 1fr auto 1fr; align-items: center; gap: 12px; padding: 18px 18px calc(18px + env(safe-area-inset-bottom)); }
      .controls.two { grid-template-columns: 1fr 1fr; }
      .controls > :last-child { justify-self: end; }
      .controls.two > * { justify-self: stretch; }
      .shutter { width: 64px; height: 64px; padding: 0; border: 4px solid var(--surface); border-radius: 50%; background: var(--accent); box-shadow: 0 0 0 3px var(--accent); }
      .shutter:hover:not(:disabled) { background: var(--accent-strong); }
    `,
  ];

  constructor() {
    super();
    /** @type {import("../shared/i18n.js").Language} */
    this.language = "en";
    /** @type {"starting" | "live" | "taken" | "failed"} */
    this.state = "starting";
    /** @type {{code?: string} | null} */
    this.problem = null;
    /** @type {{file: File, url: string} | null} */
    this.shot = null;
    /** @type {Camera | null} */
    this.camera = null;
  }

  firstUpdated() {
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".bar button"))?.focus();
    this.#open();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.camera?.close();
    if (this.shot) URL.revokeObjectURL(this.shot.url);
  }

  async #open() {
    this.state = "starting";
    const video = this.renderRoot.querySelector("video");
    if (!video) return;
    this.camera ??= new Camera(video);
    try {
      await this.camera.open();
      if (!this.isConnected) return this.camera.close(); // closed while the browser asked for permission
      this.state = "live";
      await this.updateComplete;
      /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".shutter"))?.focus();
    } catch (error) {
      this.problem = /** @type {{code?: string}} */ (error);
      this.state = "failed";
    }
  }

  #shoot = async () => {
    if (!this.camera) return;
    const file = await this.camera.shoot();
    this.camera.close();
    this.shot = { file, url: URL.createObjectURL(file) };
    this.state = "taken";
    await this.updateComplete;
    /** @type {HTMLElement | null} */ (this.renderRoot.querySelector(".use"))?.focus();
  };

  #again = () => {
    if (this.shot) URL.revokeObjectURL(this.shot.url);
    this.shot = null;
    this.#open();
  };

  /** @param {string} name @param {object} [detail] */
  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  render() {
    const t = translator(this.language);
    return html`<div class="sheet" role="dialog" aria-modal="true" aria-label=${t("camera.title")}>
      <div class="bar">
        <button type="button" class="round" aria-label=${t("close")} title=${t("close")} @click=${() => this.#tell("close")}>${icon("close")}</button>
        <h2>${t("camera.title")}</h2>
      </div>
      <div class="stage">
        <video aria-label=${t("camera.preview")} ?hidden=${this.state !== "live"} muted playsinline></video>
        ${this.state === "starting" ? html`<p role="status">${t("camera.starting")}</p>` : nothing}
        ${this.state === "failed" ? html`<div class="choose"><p role="alert">${errorText(this.problem ?? {}, t)}</p>
          <button type="button" class="button filled" @click=${() => this.#tell("choose-file")}>${t("camera.choose")}</button></div>` : nothing}
        ${this.shot ? html`<img src=${this.shot.url} alt=${t("camera.taken")} />` : nothing}
      </div>
      ${this.state === "live" ? html`<div class="controls"><span></span>
        <button type="button" class="shutter" aria-label=${t("camera.shoot")} title=${t("camera.shoot")} @click=${this.#shoot}></button>
        <button type="button" class="round" aria-label=${t("camera.flip")} title=${t("camera.flip")} @click=${() => this.camera?.flip()}>${icon("flip", 22)}</button></div>` : nothing}
      ${this.state === "taken" ? html`<div class="controls two">
        <button type="button" class="button" @click=${this.#again}>${t("camera.again")}</button>
        <button type="button" class="button filled use" @click=${() => this.#tell("photo", { file: this.shot?.file })}>${t("camera.use")}</button></div>` : nothing}
    </div>`;
  }
}

customElements.get("duomo-camera") ?? customElements.define("duomo-camera", DuomoCamera);
