// @ts-check
import { css, html, LitElement, nothing } from "../vendor/lit.js";
import { errorText, translator } from "../shared/i18n.js";
import { controlStyles } from "./styles.js";

/** The question after a resolve. Event `rate` {score, comment, waitUntil}. */
export class DuomoCsat extends LitElement {
  static properties = {
    language: {},
    done: { type: Boolean },
    score: { state: true },
    saving: { state: true },
    problem: { state: true },
  };

  static styles = [
    controlStyles,
    css`
      :host { display: block; }
      form, .thanks { display: grid; gap: 12px; padding: 16px; border: 1px solid var(--line); border-radius: var(--radius-m); }
      .thanks { text-align: center; font-size: var(--text-s); color: var(--ink-2); }
      fieldset { min-width: 0; margin: 0; padding: 0; border: 0; }
      legend { width: 100%; margin-bottom: 12px; padding: 0; font-weight: 600; text-align: center; }
      .scores { display: grid; grid-template-columns: repeat(5, 1fr); gap: 8px; }
      label.score { position: relative; display: grid; place-items: center; height: 44px; border: 1px solid var(--line-strong); border-radius: 12px; font-weight: 600; cursor: pointer; transition: background var(--fast); }
      label.score:hover { background: var(--surface-2); }
      label.score:has(:checked) { border-color: var(--accent); color: var(--on-accent); background: var(--accent); }
      label.score:has(:focus-visible) { outline: 2px solid var(--focus); outline-offset: 2px; }
      label.score input { position: absolute; inset: 0; margin: 0; opacity: 0; cursor: pointer; }
      .ends { display: flex; justify-content: space-between; margin-top: 6px; font-size: var(--text-xs); color: var(--ink-3); }
      textarea { display: block; width: 100%; padding: 10px 12px; border: 1px solid var(--line-strong); border-radius: 10px; font-size: 16px; line-height: 1.5; background: var(--surface); resize: vertical; }
      .comment { display: grid; gap: 6px; font-size: var(--text-s); color: var(--ink-2); }
      .problem { font-size: var(--text-s); color: var(--danger); }
    `,
  ];

  constructor() {
    super();
    /** @type {import("../shared/i18n.js").Language} */
    this.language = "en";
    this.done = false;
    this.score = 0;
    this.saving = false;
    /** @type {{code?: string} | null} */
    this.problem = null;
  }

  /** @param {Event} event */
  #send = async (event) => {
    event.preventDefault();
    const comment = this.renderRoot.querySelector("textarea")?.value.trim() ?? "";
    /** @type {Promise<unknown>} */
    let work = Promise.resolve();
    const waitUntil = (/** @type {Promise<unknown>} */ promise) => (work = promise);
    this.dispatchEvent(new CustomEvent("rate", { detail: { score: this.score, comment, waitUntil }, bubbles: true, composed: true }));
    this.saving = true;
    this.problem = null;
    try {
      await work;
      this.done = true;
    } catch (error) {
      this.problem = /** @type {{code?: string}} */ (error);
    } finally {
      this.saving = false;
    }
  };

  render() {
    const t = translator(this.language);
    if (this.done) return html`<p class="thanks" role="status">${t("csat.thanks")}</p>`;
    return html`<form @submit=${this.#send}>
      <fieldset>
        <legend>${t("csat.question")}</legend>
        <div class="scores">
          ${[1, 2, 3, 4, 5].map((n) => html`<label class="score"><input type="radio" name="score" value=${n} aria-label=${t("csat.score", { n })}
            @change=${() => (this.score = n)} /><span aria-hidden="true">${n}</span></label>`)}
        </div>
        <div class="ends" aria-hidden="true"><span>${t("csat.low")}</span><span>${t("csat.high")}</span></div>
      </fieldset>
      ${this.score ? html`<label class="comment">${t("csat.comment")}<textarea rows="2" maxlength="2000"></textarea></label>
        ${this.problem ? html`<p class="problem" role="alert">${errorText(this.problem, t)}</p>` : nothing}
        <button class="button filled" ?disabled=${this.saving}>${t("csat.send")}</button>` : nothing}
    </form>`;
  }
}

customElements.get("duomo-csat") ?? customElements.define("duomo-csat", DuomoCsat);
