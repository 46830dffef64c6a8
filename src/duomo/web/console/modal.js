// @ts-check
/** What lies over the page: dialogs, side sheets and menus. The browser keeps focus inside and gives it back. */
import { html, LitElement, nothing } from "../vendor/lit.js";
import { icon } from "../shared/icons.js";
import { desk } from "./desk.js";

/** @typedef {{label: string, kind?: "box" | "sheet" | "stage", onClose: () => void, actions?: unknown}} ModalOptions */

/** The element behind `modal`: open while it is in the page; focus returns to where it was. */
class ModalLayer extends LitElement {
  static properties = { content: { attribute: false }, options: { attribute: false } };

  constructor() {
    super();
    /** @type {unknown} */
    this.content = null;
    /** @type {ModalOptions} */
    this.options = { label: "", onClose: () => {} };
    /** @type {Element | null} */
    this.opener = null;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.opener = document.activeElement;
  }

  firstUpdated() {
    this.querySelector("dialog")?.showModal();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    const { opener } = this;
    if (opener instanceof HTMLElement && opener.isConnected && document.activeElement === document.body) opener.focus();
  }

  render() {
    const { label, kind = "box", onClose, actions } = this.options;
    const close = desk.t("close");
    return html`<dialog class="modal ${kind}" aria-label=${label} @close=${onClose}
        @pointerdown=${(/** @type {PointerEvent} */ event) => event.target === event.currentTarget && onClose()}>
      <div class="modal-body">
        <header class="modal-head"><h2>${label}</h2>${actions ?? nothing}
          <button class="icon-button" type="button" aria-label=${close} title=${close} @click=${onClose}>${icon("close")}</button></header>
        ${this.content}
      </div>
    </dialog>`;
  }
}
customElements.define("modal-layer", ModalLayer);

/** A dialog that is open for as long as it is rendered. @param {unknown} content @param {ModalOptions} options */
export function modal(content, options) {
  return html`<modal-layer .content=${content} .options=${options}></modal-layer>`;
}

/**
 * A button that opens a small panel beneath it.
 * @param {{label: string, face: unknown, cls?: string, align?: "start" | "end"}} options face: what the button shows
 * @param {unknown} content
 */
export function menu({ label, face, cls = "button quiet", align = "end" }, content) {
  return html`<details class="menu ${align}">
    <summary class=${cls} aria-label=${label} title=${label}>${face}</summary>
    <div class="menu-panel">${content}</div>
  </details>`;
}

/** Closes the menu an element stands in. @param {Element} inside */
export function closeMenu(inside) {
  const open = inside.closest("details.menu");
  if (!(open instanceof HTMLDetailsElement)) return;
  open.open = false;
  open.querySelector("summary")?.focus();
}

/** Menus close when something else is pressed. */
addEventListener("pointerdown", (event) => {
  for (const open of document.querySelectorAll("details.menu[open]")) {
    if (!open.contains(/** @type {Node} */ (event.target))) open.removeAttribute("open");
  }
});
