// @ts-check
/** Whether everything works: models and why one does not, queues and what is stuck in them. */
import { html, nothing } from "../vendor/lit.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";

const LOOK_AGAIN = 5_000; // ms

class SystemPage extends Pane {
  static properties = { system: { state: true } };

  constructor() {
    super();
    /** @type {{models: {feature: string, available: boolean, reason: string | null, model: string | null}[], queues: {name: string, waiting: number, running: number, failed: number}[], version: string} | null} */
    this.system = null;
    this.timer = 0;
  }

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
    this.timer = window.setInterval(() => document.visibilityState === "visible" && void this.#load(), LOOK_AGAIN);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  async #load() {
    try {
      this.system = await desk.api.get("agent/system");
    } catch (error) {
      desk.report(error);
    }
  }

  render() {
    const { t } = desk;
    const { system } = this;
    return html`<section class="page system" aria-label=${t("system")}>
      <header class="page-head"><div><h1>${t("system")}</h1>${system ? html`<p class="muted">${t("version", { v: system.version })} · ${t("workspace")}: ${desk.workspace}</p>` : nothing}</div></header>
      <div class="page-body" tabindex="0" role="group" aria-label=${t("system")}>${system ? this.#tables(system) : html`<p class="empty muted">${t("loading")}</p>`}</div>
    </section>`;
  }

  /** @param {NonNullable<SystemPage["system"]>} system */
  #tables(system) {
    const { t } = desk;
    /** @param {string} feature */
    const named = (feature) => (t(`feature_${feature}`) === `feature_${feature}` ? feature : t(`feature_${feature}`));
    return html`<h2>${t("capabilities")}</h2>
      <ul class="models">${system.models.map((model) => html`<li class=${model.available ? "up" : "down"}>
        <span class="state">${icon(model.available ? "check" : "alert", 18)}</span>
        <div><strong>${named(model.feature)}</strong>${model.model ? html`<span class="muted">${model.model}</span>` : nothing}${model.reason ? html`<span class="reason">${model.reason}</span>` : nothing}</div>
        <span class="verdict">${t(model.available ? "available" : "unavailable")}</span></li>`)}</ul>
      <h2>${t("queues")}</h2>
      <table class="queues"><thead><tr><th scope="col">${t("queue")}</th><th scope="col" class="num">${t("waiting")}</th><th scope="col" class="num">${t("running")}</th><th scope="col" class="num">${t("failed_jobs")}</th></tr></thead>
        <tbody>${system.queues.map((queue) => html`<tr><th scope="row">${queue.name}</th><td class="num">${queue.waiting}</td><td class="num">${queue.running}</td><td class="num ${queue.failed ? "bad" : ""}">${queue.failed}</td></tr>`)}</tbody></table>`;
  }
}
customElements.define("console-system", SystemPage);
