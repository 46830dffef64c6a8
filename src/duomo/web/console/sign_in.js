// @ts-check
import { html, nothing } from "../vendor/lit.js";
import { ApiError } from "../shared/api.js";
import { errorText } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, kept, Pane } from "./desk.js";

/** The page before the desk. */
class SignIn extends Pane {
  static properties = { busy: { state: true }, error: { state: true } };

  constructor() {
    super();
    this.busy = false;
    /** @type {ApiError | null} */
    this.error = null;
  }

  firstUpdated() {
    const empty = [...this.querySelectorAll("input")].find((input) => !input.value);
    empty?.focus();
  }

  /** @param {SubmitEvent} event */
  #submit = async (event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    /** @param {string} name */
    const field = (name) => String(form.get(name) ?? "");
    this.busy = true;
    this.error = null;
    try {
      await desk.signIn(field("workspace").trim(), field("email").trim(), field("password"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
      await this.updateComplete;
      /** @type {HTMLInputElement | null} */ (this.querySelector("#password"))?.select();
    } finally {
      this.busy = false;
    }
  };

  render() {
    const { t } = desk;
    const wrong = this.error?.code === "denied";
    return html`<main class="sign-in">
      <div class="sign-in-tools">
        <button class="button quiet" type="button" lang=${desk.language === "zh" ? "en" : "zh-CN"} @click=${() => desk.switchLanguage()}>
          ${icon("globe", 18)}${desk.language === "zh" ? "English" : "中文"}
        </button>
        <button class="icon-button" type="button" aria-label=${desk.dark ? t("theme_light") : t("theme_dark")} @click=${() => desk.switchTheme()}>
          ${icon(desk.dark ? "sun" : "moon")}
        </button>
      </div>
      <form class="card" @submit=${this.#submit}>
        <div class="brand"><img src="/w/console/icon.svg" alt="" width="40" height="40" /><div><strong>Duomo</strong><span>${t("tagline")}</span></div></div>
        <h1>${t("sign_in_title")}</h1>
        ${desk.sessionEnded && !this.error ? html`<p class="banner info">${icon("info", 18)}${t("signed_out")}</p>` : nothing}
        <label>${t("workspace")}
          <input name="workspace" required autocomplete="organization" autocapitalize="none" spellcheck="false" .defaultValue=${kept.get("workspace", "demo")} />
        </label>
        <label>${t("email")}
          <input name="email" type="email" required autocomplete="username" .defaultValue=${kept.get("email")} />
        </label>
        <label>${t("password")}
          <input id="password" name="password" type="password" required autocomplete="current-password"
            aria-invalid=${wrong ? "true" : "false"} aria-describedby="sign-in-error" />
        </label>
        <p id="sign-in-error" class="field-error" role="alert">${this.error ? (wrong ? t("wrong_sign_in") : errorText(this.error, t)) : nothing}</p>
        <button class="button primary wide" type="submit" ?disabled=${this.busy}>${this.busy ? t("signing_in") : t("sign_in")}</button>
      </form>
    </main>`;
  }
}
customElements.define("console-sign-in", SignIn);
