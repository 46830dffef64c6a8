// @ts-check
/** A button whose panel takes what is no single label: a number, or any of several labels. */
import { html, nothing } from "../vendor/lit.js";
import { desk, Pane } from "./desk.js";
import { place } from "./label_choice.js";

/** @typedef {{name: string, title: string}} Option */

/** Event: `choose` {value}. `options` null: a number; otherwise any of them, none too. `current` is what stands there. */
class ValuePicker extends Pane {
  static properties = { face: { attribute: false }, cls: {}, label: {}, options: { attribute: false }, current: { attribute: false }, open: { state: true } };

  constructor() {
    super();
    /** What the button shows. @type {unknown} */
    this.face = "";
    this.cls = "";
    this.label = "";
    /** @type {Option[] | null} */
    this.options = null;
    /** @type {number | string[] | null} */
    this.current = null;
    this.open = false;
  }

  get panel() {
    return /** @type {HTMLElement} */ (this.querySelector(".picker-panel"));
  }

  async #show() {
    this.open = true;
    await this.updateComplete;
    this.panel.showPopover();
    place(this.panel, /** @type {Element} */ (this.querySelector("button")));
    /** @type {HTMLElement | null} */ (this.panel.querySelector("input"))?.focus();
  }

  /** @param {SubmitEvent} event */
  #save = (event) => {
    event.preventDefault();
    const given = new FormData(/** @type {HTMLFormElement} */ (event.target)).getAll("value").map(String);
    this.panel.hidePopover();
    this.dispatchEvent(new CustomEvent("choose", { detail: { value: this.options ? given : Number(given[0]) } }));
  };

  render() {
    return html`<button class=${this.cls} type="button" aria-haspopup="dialog" aria-expanded=${this.open ? "true" : "false"} @click=${() => this.#show()}>${this.face}</button>
      <div class="picker-panel" popover role="dialog" aria-label=${this.label} @toggle=${(/** @type {ToggleEvent} */ event) => (this.open = event.newState === "open")}>${this.open ? this.#form() : nothing}</div>`;
  }

  #form() {
    const { t } = desk;
    const { current, options } = this;
    const chosen = Array.isArray(current) ? current : [];
    return html`<form class="value-form" @submit=${this.#save}>
      ${options
        ? html`<fieldset><legend>${this.label}</legend>${options.map(({ name, title }) => html`<label><input type="checkbox" name="value" value=${name} .checked=${chosen.includes(name)} />${title}</label>`)}</fieldset>`
        : html`<label>${this.label}<input type="number" name="value" step="any" required .value=${typeof current === "number" ? String(current) : ""} /></label>`}
      <div class="form-buttons"><button class="button small" type="button" @click=${() => this.panel.hidePopover()}>${t("cancel")}</button>
        <button class="button primary small" type="submit">${t("save")}</button></div>
    </form>`;
  }
}
customElements.define("value-picker", ValuePicker);
