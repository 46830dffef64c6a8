// @ts-check
/** What people say a message is: the labels there are, and those on their way to the server. */
import { ApiError, backoff } from "../shared/api.js";
import { errorText } from "../shared/i18n.js";
import { desk } from "./desk.js";
import "./learning_words.js";

/** @typedef {{zh?: string, en?: string}} Title */
/** @typedef {{name: string, title: Title, known: boolean, count: number}} Label known: to the active model */
/** @typedef {{head: string, title?: Title, type: string, out_of_scope: string | null, labels: Label[]}} LabelSet */
/** @typedef {"head" | "transcript" | "ocr" | "source" | "answer" | "handoff"} Kind */
/** @typedef {"correction" | "review" | "recheck" | "second"} Origin */
/**
 * @typedef {object} Head what a model says of a turn, docs/protocol.md
 * @property {string} label
 * @property {number} confidence [0, 1]
 * @property {boolean} [abstain]
 * @property {number | null} [out_of_scope] [0, 1]
 * @property {number | null} [conflict]
 * @property {[string, number][]} [top] the likeliest labels
 */
/**
 * @typedef {object} LabelView
 * @property {string} id
 * @property {string} message_id
 * @property {Kind} kind
 * @property {string} head "" unless the kind is head
 * @property {any} value
 * @property {any} [said] what the system had said
 * @property {string} origin
 * @property {{id: string, name: string} | null} agent
 * @property {string} created_at
 */
/** @typedef {{message_id: string, kind: Kind, head: string, value: any, origin: Origin, artifact_id?: string}} Saying */
/** @typedef {Saying & {id: string, conversation_id: string, at: number, said_at: string}} Outgoing at: their order; said_at: ISO 8601 */

const KEY = "duomo.console.label";

export class Labels extends EventTarget {
  /** @type {LabelSet[]} */
  sets = [];
  /** @type {"none" | "loading" | "ready" | "failed"} */
  state = "none";
  /** Not yet acknowledged by the server, oldest first. @type {Outgoing[]} */
  outbox = [];
  #agent = "";
  #order = 0;
  #sending = false;
  #online = true;
  /** Ends the pause between two attempts. */
  #wake = () => {};

  constructor() {
    super();
    desk.addEventListener("change", () => this.#follow());
    addEventListener("online", () => this.#wake());
  }

  /** Each agent has an outbox, also in a browser that several share. */
  #follow() {
    const agent = desk.session?.agent.id ?? "";
    if (desk.online && !this.#online) this.#wake();
    this.#online = desk.online;
    if (agent === this.#agent) return;
    this.#agent = agent;
    this.sets = [];
    this.state = "none";
    this.outbox = agent ? this.#kept() : [];
    if (agent) void this.#send();
  }

  // -- which labels there are ----------------------------------------------------------------------------------------

  /** Asks once for the labels; a page that needs them calls this as often as it likes. */
  async load() {
    if (this.state === "loading" || this.state === "ready") return;
    await this.reload();
  }

  async reload() {
    this.state = "loading";
    try {
      this.sets = await desk.api.get("agent/label-sets");
      this.state = "ready";
    } catch (error) {
      this.state = "failed";
      desk.report(error);
    }
    desk.changed();
  }

  /** @param {string} head */
  set(head) {
    return this.sets.find((set) => set.head === head) ?? null;
  }

  /** A label in the reader's words. @param {string} head @param {string} name */
  title(head, name) {
    const set = this.set(head);
    const title = set?.labels.find((label) => label.name === name)?.title;
    const other = desk.language === "zh" ? title?.en : title?.zh;
    if (title?.[desk.language] || other) return title?.[desk.language] || other || name;
    return set?.out_of_scope === name ? desk.t("out_of_scope") : name.replaceAll("_", " ");
  }

  /** @param {string} head */
  headTitle(head) {
    return this.set(head)?.title?.[desk.language] || head.replaceAll("_", " ");
  }

  /**
   * Every label of a head: `first` in its order, then what the model thinks likeliest, then the others by their titles.
   * @param {string} head
   * @param {Head | null | undefined} said
   * @param {string[]} [first]
   * @returns {{name: string, title: string, share: number | null, known: boolean}[]} share: the model's, [0, 1]
   */
  ordered(head, said, first = []) {
    const set = this.set(head);
    const shares = new Map(said?.top ?? (said ? [[said.label, said.confidence]] : []));
    /** @type {Map<string, boolean>} */
    const names = new Map((set?.labels ?? []).map((label) => [label.name, label.known]));
    if (set?.out_of_scope) names.set(set.out_of_scope, true);
    for (const name of [...first, ...shares.keys()]) if (!names.has(name)) names.set(name, true);
    /** @param {string} name */
    const rank = (name) => (first.includes(name) ? first.indexOf(name) - 1000 : -(shares.get(name) ?? 0));
    return [...names]
      .map(([name, known]) => ({ name, known, title: this.title(head, name), share: shares.get(name) ?? null }))
      .sort((a, b) => rank(a.name) - rank(b.name) || Number(a.name === set?.out_of_scope) - Number(b.name === set?.out_of_scope) || a.title.localeCompare(b.title, desk.language));
  }

  /**
   * @param {string} head @param {string} name @param {Title} title
   * @throws {ApiError}
   */
  async add(head, name, title) {
    await desk.api.post(`agent/label-sets/${encodeURIComponent(head)}`, { name, title });
    const set = this.set(head);
    if (set && !set.labels.some((label) => label.name === name)) set.labels.push({ name, title, known: false, count: 0 });
    else if (!set) await this.reload();
    desk.changed();
  }

  // -- saying one ----------------------------------------------------------------------------------------------------

  /**
   * Says what a message is. It holds at once on this page, and reaches the server when it can be reached.
   * @param {string} conversationId @param {Saying} saying
   * @returns {Outgoing}
   */
  say(conversationId, saying) {
    const at = Math.max(Date.now(), this.#order + 1);
    this.#order = at;
    /** @type {Outgoing} */
    const outgoing = { ...saying, id: crypto.randomUUID(), conversation_id: conversationId, at, said_at: new Date().toISOString() };
    this.outbox = [...this.outbox, outgoing];
    try {
      localStorage.setItem(this.#keyOf(outgoing.id), JSON.stringify(outgoing));
    } catch {
      // forbidden or full: it is kept as long as the page lives
    }
    desk.changed();
    void this.#send();
    return outgoing;
  }

  /** @param {string} id */
  #keyOf(id) {
    return `${KEY}.${this.#agent}.${id}`;
  }

  /** What an earlier page could not send. @returns {Outgoing[]} */
  #kept() {
    const found = [];
    try {
      const prefix = this.#keyOf("");
      for (const key of Object.keys(localStorage)) {
        if (key.startsWith(prefix)) found.push(JSON.parse(localStorage.getItem(key) ?? "null"));
      }
    } catch {
      // unreadable or forbidden: nothing was kept
    }
    return found.filter(Boolean).sort((a, b) => a.at - b.at);
  }

  /** One after the other, since the newest label of a message is the one that holds. */
  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    const agent = this.#agent;
    for (let attempt = 0; this.outbox.length && agent && this.#agent === agent; ) {
      const [next] = this.outbox;
      try {
        const { id, conversation_id: conversation, at: _at, said_at: _said, ...body } = next;
        const view = await desk.api.put(`agent/conversations/${conversation}/labels/${id}`, body);
        if (this.#agent === agent) this.#settled(next, view);
        attempt = 0;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (this.#agent !== agent) break;
        if (error.status === 401) {
          desk.report(error);
          break;
        }
        if (error.temporary || error.status === 403) {
          await this.#pause(error.retryAfter ? error.retryAfter * 1000 : backoff(attempt));
          attempt += 1;
        } else {
          this.#settled(next, null);
          desk.toast(`${desk.t("label_refused")} ${errorText(error, desk.t)}`, { tone: "danger" });
        }
      }
    }
    this.#sending = false;
    if (this.#agent && this.#agent !== agent) void this.#send();
  }

  /** @param {number} ms */
  async #pause(ms) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(null);
      };
    });
    this.#wake = () => {};
  }

  /** @param {Outgoing} outgoing @param {LabelView | null} view null: refused for good */
  #settled(outgoing, view) {
    this.outbox = this.outbox.filter((other) => other.id !== outgoing.id);
    try {
      localStorage.removeItem(this.#keyOf(outgoing.id));
    } catch {
      // forbidden: it was never there
    }
    this.dispatchEvent(new CustomEvent("settled", { detail: { outgoing, view } }));
    desk.changed();
  }
}

export const labels = new Labels();
