// @ts-check
import { html, render } from "../vendor/lit.js";
import { detectLanguage } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { PRODUCTS, WORDS } from "./words.js";

/** @typedef {import("../shared/i18n.js").Language} Language */

const PICTURES = "/w/scenarios/customer_service/media/products";
const KEPT = "duomo-shop:language";

/** @type {Language} */
let language = detectLanguage(
  // not the page's own language: it has both
  new URLSearchParams(location.search).get("lang") ?? localStorage.getItem(KEPT) ?? navigator.languages.find((tag) => /^(zh|en)\b/i.test(tag)),
);

/** @param {string} key @param {Record<string, string>} [params] */
const t = (key, params = {}) => WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => params[name]);

/** The widget; waits until its script has put it on the page. @returns {Promise<import("../widget/chat.js").DuomoChat>} */
async function chat() {
  await customElements.whenDefined("duomo-chat");
  for (;;) {
    const found = /** @type {import("../widget/chat.js").DuomoChat | null} */ (document.querySelector("duomo-chat"));
    if (found) return found;
    await new Promise(requestAnimationFrame);
  }
}

/** @param {string} text */
const ask = (text) => async () => (await chat()).ask(text);

function speakOther() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem(KEPT, language);
  draw();
  chat().then((found) => found.speak(language));
}

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  render(page(), /** @type {HTMLElement} */ (document.querySelector("#shop")));
}

const page = () => html`
  <a class="skip" href="#products">${t("skip")}</a>
  <header class="top"><div class="wide">
    <a class="brand" href="/">${logo()}${t("brand")}</a>
    <nav>
      <a href="#products">${t("nav.products")}</a>
      <a href="#service">${t("nav.service")}</a>
      <a href="/console">${t("nav.console")}</a>
    </nav>
    <button type="button" class="switch" lang=${language === "zh" ? "en" : "zh-CN"} @click=${speakOther}>${t("switch")}</button>
  </div></header>
  <main>
    <div class="hero"><div class="wide">
      <div>
        <h1>${t("hero.title")}</h1>
        <p>${t("hero.text")}</p>
        <div class="actions">
          <a class="button filled" href="#products">${t("hero.browse")}</a>
          <button type="button" class="button" @click=${async () => (await chat()).open()}>${icon("chat")}${t("hero.ask")}</button>
        </div>
      </div>
      <div class="stage">${["h3", "t9", "s2"].map((id) => tile(id, ""))}</div>
    </div></div>
    <section class="block wide" id="products">
      <h2>${t("products.title")}</h2>
      <p class="lead">${t("products.text")}</p>
      <ul class="products">${PRODUCTS.map(product)}</ul>
    </section>
    <div class="service"><section class="block wide" id="service">
      <h2>${t("service.title")}</h2>
      <ul class="promises">
        ${promise("truck", "delivery")} ${promise("retry", "return")} ${promise("shield", "warranty")}
      </ul>
      <div class="ways">
        <div><h3>${t("ways.title")}</h3><p>${t("ways.text")}</p></div>
        <ul class="tries">${["try.1", "try.2", "try.3"].map((key) => html`<li><button type="button" @click=${ask(t(key))}>${icon("chat")}${t(key)}</button></li>`)}</ul>
      </div>
    </section></div>
  </main>
  <footer><div class="wide"><span>${t("foot.about")}</span><span>${t("foot.contact")}</span></div></footer>
`;

const logo = () => html`<svg width="30" height="30" viewBox="0 0 30 30" aria-hidden="true">
  <rect width="30" height="30" rx="9" fill="var(--accent)" />
  <path d="M7 18.5c2.6-2.2 5.3-2.2 8 0s5.4 2.2 8 0M11 13.500a4 4 0 0 1 8 0" fill="none" stroke="var(--on-accent)" stroke-width="2" stroke-linecap="round" />
</svg>`;

/** @param {string} id @param {string} alt */
const tile = (id, alt) => html`<div class="tile"><img src="${PICTURES}/lt-${id}.jpg" alt=${alt} width="800" height="800" decoding="async" /></div>`;

/** @param {typeof PRODUCTS[number]} product */
const product = ({ id, name, fact, price, ask: question }) => html`<li>
  ${tile(id, name[language])}
  <h3>${name[language]}</h3>
  <p class="fact">${fact[language]}</p>
  <div class="line">
    <span class="price">${price[language]}</span>
    <button type="button" class="ask" aria-label=${t("ask.label", { name: name[language] })} @click=${ask(question[language])}>${icon("chat", 16)}${t("ask")}</button>
  </div>
</li>`;

/** @param {import("../shared/icons.js").IconName} sign @param {string} key */
const promise = (sign, key) => html`<li>${icon(sign, 28)}<h3>${t(`promise.${key}`)}</h3><p>${t(`promise.${key}.text`)}</p></li>`;

draw();
