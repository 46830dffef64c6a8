// @ts-check
/** Beside the conversation: who the customer is, where the matter stands, and every file of it. */
import { html, nothing } from "../vendor/lit.js";
import { formatTime } from "../shared/i18n.js";
import { icon } from "../shared/icons.js";
import { desk, Pane } from "./desk.js";
import { reasonText } from "./evidence.js";
import { avatar } from "./inbox.js";

class Details extends Pane {
  render() {
    const { t, thread } = desk;
    const summary = thread?.summary;
    if (!thread || !summary) return html`<aside class="details" aria-label=${t("details")}></aside>`;
    const name = desk.nameOf(summary);
    const language = desk.language;
    return html`<aside class="details" aria-label=${t("details")}>
      <header class="details-head"><a class="icon-button not-wide" href="#/inbox/${thread.id}" aria-label=${t("back")} title=${t("back")}>${icon("back")}</a><h2>${t("details")}</h2></header>
      <div class="details-body" tabindex="0" role="group" aria-label=${t("details")}>
        <section class="contact">${avatar(name, summary.contact.id)}<div><strong>${name}</strong><span class="muted">${t(`language_${summary.contact.language ?? summary.language ?? "en"}`)}</span></div></section>
        ${summary.csat ? this.#csat(summary.csat) : nothing}
        <dl class="facts">
          <dt>${t("status")}</dt><dd><span class="status ${summary.status}">${t(`status_${summary.status}`)}</span></dd>
          <dt>${t("assignee")}</dt><dd>${summary.assignee ? (summary.assignee.id === desk.me.id ? t("you") : summary.assignee.name) : t("nobody")}</dd>
          ${summary.team ? html`<dt>${t("team")}</dt><dd>${desk.teamName(summary.team)}</dd>` : nothing}
          ${summary.priority !== "normal" ? html`<dt>${t("priority")}</dt><dd>${t(`priority_${summary.priority}`)}</dd>` : nothing}
          ${summary.handoff_reason ? html`<dt>${t("hand_over_reason")}</dt><dd>${reasonText(summary.handoff_reason)}</dd>` : nothing}
          ${summary.waiting_since ? html`<dt>${t("waiting_since")}</dt><dd><time datetime=${summary.waiting_since}>${formatTime(summary.waiting_since, language)}</time></dd>` : nothing}
          ${summary.snoozed_until ? html`<dt>${t("status_snoozed")}</dt><dd>${t("snoozed_until", { time: formatTime(summary.snoozed_until, language) })}</dd>` : nothing}
          <dt>${t("since")}</dt><dd><time datetime=${summary.created_at}>${formatTime(summary.created_at, language)}</time></dd>
          <dt>${t("channel")}</dt><dd>${["web", "widget"].includes(summary.channel) ? t("channel_widget") : summary.channel}</dd>
          ${thread.others.length ? html`<dt>${t("also_here")}</dt><dd>${thread.others.map((agent) => agent.name).join(", ")}</dd>` : nothing}
          <dt>${t("conversation_id")}</dt><dd><code title=${summary.id}>${summary.id.slice(0, 8)}</code></dd>
        </dl>
        ${this.#files()}
      </div>
    </aside>`;
  }

  /** @param {{score: number, comment: string | null}} csat */
  #csat(csat) {
    const { t } = desk;
    return html`<section class="csat"><h3>${t("csat")}</h3>
      <p class="stars" role="img" aria-label=${t("csat_score", { n: csat.score })}>${[1, 2, 3, 4, 5].map((n) => html`<span class=${n <= csat.score ? "full" : ""}>${icon("star", 20)}</span>`)}</p>
      ${csat.comment ? html`<blockquote>${csat.comment}</blockquote>` : nothing}</section>`;
  }

  #files() {
    const { t, thread } = desk;
    const parts = [...(thread?.messages.values() ?? [])].flatMap((message) => message.parts).filter((part) => part.url);
    const pictures = parts.filter((part) => part.kind === "image");
    const others = parts.filter((part) => part.kind !== "image");
    return html`<section class="all-files"><h3>${t("files")}</h3>
      ${parts.length ? nothing : html`<p class="muted">${t("no_files")}</p>`}
      ${pictures.length ? html`<div class="gallery">${pictures.map((part) => html`<picture-view .file=${part}></picture-view>`)}</div>` : nothing}
      ${others.length ? html`<ul>${others.map((part) => html`<li><a href=${part.url} target="_blank" rel="noopener">${icon(part.kind === "audio" ? "mic" : "document", 16)}<span>${part.name || t(part.kind === "audio" ? "voice" : "document")}</span></a></li>`)}</ul>` : nothing}
    </section>`;
  }
}
customElements.define("console-details", Details);
