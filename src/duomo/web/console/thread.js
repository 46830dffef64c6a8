// @ts-check
/** One open conversation: its live events, who else is here, the draft, and what is on its way to the customer. */
import { ApiError } from "../shared/api.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./desk.js").Summary} Summary */
/** @typedef {import("../shared/protocol").Artifact} Artifact */
/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {{type: "status", seq: number, before: string, status: string, assignee: {id: string, name: string} | null, previous: {id: string, name: string} | null, reason: string | null, by: string, snoozed_until: string | null}} StatusChange */
/** @typedef {{type: "message", seq: number, message: Message} | StatusChange} Entry */
/** @typedef {{asked: string[], seen: string[], heard: string[], tried: {text: string, titles: string[]}[], missing: string[], reason: string, language: string}} Brief */
/** @typedef {{id: string, text: string, private: boolean, files: File[], after: number, state: "sending" | "failed", error: ApiError | null, at: string}} Outgoing */

/**
 * @typedef {object} Draft
 * @property {string} text
 * @property {boolean} private
 * @property {File[]} files kept while the page lives; a browser gives no cheap way to keep them longer
 * @property {number | null} after the newest event when the agent began to write; answers of others since then are news
 */

/** Drafts with files, by conversation, for as long as the page lives. @type {Map<string, File[]>} */
const filesOf = new Map();
const TYPING_EVERY = 5_000; // ms; the server forgets after 15 s
const TYPING_ENDS = 6_000;

export class Thread {
  /** @type {Summary | null} */
  summary = null;
  /** @type {Brief | null} */
  brief = null;
  /** @type {string[]} */
  allowed = [];
  /** @type {"loading" | "ready" | "gone" | "failed"} */
  state = "loading";
  /** @type {Map<string, Message>} */
  messages = new Map();
  /** @type {StatusChange[]} */
  changes = [];
  /** Answers being written, by message id. @type {Map<string, string>} */
  deltas = new Map();
  /** @type {{state: string, waiting_for: string[]}} */
  turn = { state: "done", waiting_for: [] };
  /** @type {{id: string, name: string, typing: boolean}[]} */
  present = [];
  /** @type {Outgoing[]} */
  outbox = [];
  /** The reply that met another agent's answer. @type {Outgoing | null} */
  conflict = null;
  lastSeq = 0;

  #saidTyping = 0;
  #typingTimer = 0;
  #readSeq = 0;
  #status = "pending";
  /** @type {{id: string, name: string} | null} */
  #assignee = null;

  /** @param {Desk} desk @param {string} id */
  constructor(desk, id) {
    this.desk = desk;
    this.id = id;
    this.path = `agent/conversations/${id}`;
    this.draft = this.#keptDraft();
    this.stream = desk.api.events(`${this.path}/events`, {
      onEvent: (event) => this.#receive(event),
      onState: () => desk.changed(),
    });
    document.addEventListener("visibilitychange", this.#markRead);
    void this.refresh();
  }

  close() {
    this.stream.stop();
    document.removeEventListener("visibilitychange", this.#markRead);
    this.typing(false);
  }

  /** Loads what the events do not carry: summary, brief, allowed actions. */
  async refresh() {
    try {
      const answer = await this.desk.api.get(this.path);
      this.summary = answer.conversation;
      this.brief = answer.brief;
      this.allowed = answer.allowed;
      this.present = answer.presence?.agents ?? this.present;
      this.state = "ready";
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") this.state = "gone";
      else if (this.state !== "ready") this.state = "failed";
      if (this.state !== "gone") this.desk.report(error);
    }
    this.desk.changed();
  }

  /** Agents other than this one who have the conversation open. */
  get others() {
    return this.present.filter((agent) => agent.id !== this.desk.me?.id);
  }

  /** Messages and changes of status in their order. @returns {Entry[]} */
  get entries() {
    /** @type {Entry[]} */
    const messages = [...this.messages.values()].map((message) => ({ type: "message", seq: message.seq, message }));
    return [...messages, ...this.changes].sort((a, b) => a.seq - b.seq);
  }

  /** @param {import("../shared/api.js").ServerEvent} event */
  #receive({ id, kind, data }) {
    if (id !== null) this.lastSeq = id;
    if (kind === "message" || kind === "update") {
      // an update keeps its message's place; the seq inside may be the update's own
      const seq = this.messages.get(data.id)?.seq ?? data.seq ?? id;
      this.messages.set(data.id, { ...data, seq });
      this.deltas.delete(data.id);
      this.outbox = this.outbox.filter((outgoing) => outgoing.id !== data.id);
      if (data.author === "bot") this.turn = { state: "done", waiting_for: [] };
      if (kind === "update") this.desk.dispatchEvent(new Event("updated"));
    } else if (kind === "delta") {
      this.deltas.set(data.message_id, (this.deltas.get(data.message_id) ?? "") + data.text);
    } else if (kind === "turn") {
      this.turn = data;
    } else if (kind === "status") {
      this.#statusChanged(id ?? this.lastSeq, data);
    } else if (kind === "presence") {
      this.present = data.agents;
    }
    this.#markRead();
    this.desk.changed();
  }

  /** @param {number} seq @param {any} data */
  #statusChanged(seq, data) {
    const change = { type: "status", seq, before: this.#status, previous: this.#assignee, ...data };
    this.changes.push(/** @type {StatusChange} */ (change));
    this.#status = data.status;
    this.#assignee = data.assignee;
    if (data.status !== "pending") {
      this.deltas.clear();
      this.turn = { state: "done", waiting_for: [] };
    }
  }

  #markRead = () => {
    if (document.visibilityState !== "visible") return;
    const customers = [...this.messages.values()].filter((message) => message.author === "customer");
    const newest = Math.max(0, ...customers.map((message) => message.seq));
    if (newest <= this.#readSeq) return;
    this.#readSeq = newest;
    clearTimeout(this.readTimer);
    this.readTimer = window.setTimeout(() => {
      this.desk.api.post(`${this.path}/read`, { seq: Math.max(newest, this.lastSeq) }).catch(() => {
        this.#readSeq = 0; // the next event tries again
      });
    }, 250);
  };
  readTimer = 0;

  // -- draft ---------------------------------------------------------------------------------------------------------

  get #draftKey() {
    return `duomo.console.draft.${this.desk.me.id}.${this.id}`;
  }

  /** @returns {Draft} */
  #keptDraft() {
    let stored = null;
    try {
      stored = JSON.parse(localStorage.getItem(this.#draftKey) ?? "null");
    } catch {
      // unreadable or forbidden: begin anew
    }
    return { text: stored?.text ?? "", private: stored?.private ?? false, after: stored?.after ?? null, files: filesOf.get(this.id) ?? [] };
  }

  /** @param {Partial<Draft>} change */
  write(change) {
    const draft = { ...this.draft, ...change };
    if (!draft.text && !draft.files.length) draft.after = null;
    else draft.after ??= this.lastSeq;
    this.draft = draft;
    if (draft.files.length) filesOf.set(this.id, draft.files);
    else filesOf.delete(this.id);
    try {
      if (draft.text || draft.private) {
        localStorage.setItem(this.#draftKey, JSON.stringify({ text: draft.text, private: draft.private, after: draft.after }));
      } else localStorage.removeItem(this.#draftKey);
    } catch {
      // the draft lasts as long as the page
    }
    if ("text" in change) this.typing(Boolean(change.text) && !draft.private);
    this.desk.changed();
  }

  /** Tells the other agents; says so at most every few seconds, and that it ended. @param {boolean} typing */
  typing(typing) {
    clearTimeout(this.#typingTimer);
    const now = Date.now();
    if (typing) this.#typingTimer = window.setTimeout(() => this.typing(false), TYPING_ENDS);
    if (typing && now - this.#saidTyping < TYPING_EVERY) return;
    if (!typing && !this.#saidTyping) return;
    this.#saidTyping = typing ? now : 0;
    this.desk.api.post(`${this.path}/presence`, { typing }).catch(() => {});
  }

  // -- sending -------------------------------------------------------------------------------------------------------

  /** Sends the draft and empties it. */
  send() {
    const { text, files, after } = this.draft;
    if (!text.trim() && !files.length) return;
    /** @type {Outgoing} */
    const outgoing = {
      id: crypto.randomUUID(),
      text: text.trim(),
      private: this.draft.private,
      files,
      after: after ?? this.lastSeq,
      state: "sending",
      error: null,
      at: new Date().toISOString(),
    };
    this.write({ text: "", files: [], private: false });
    this.outbox = [...this.outbox, outgoing];
    void this.put(outgoing);
  }

  /** Sends one message; safe to repeat, the server knows its id. @param {Outgoing} outgoing */
  async put(outgoing) {
    outgoing.state = "sending";
    outgoing.error = null;
    this.desk.changed();
    try {
      const message = await this.desk.api.put(`${this.path}/messages/${outgoing.id}`, bodyOf(outgoing));
      if (!this.messages.has(message.id)) this.messages.set(message.id, message);
      this.discard(outgoing);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === "answered_meanwhile") {
        this.discard(outgoing);
        this.conflict = outgoing;
      } else {
        outgoing.state = "failed";
        outgoing.error = error;
        if (error.status === 401) this.desk.report(error);
      }
    }
    this.desk.changed();
  }

  /** @param {Outgoing} outgoing */
  discard(outgoing) {
    this.outbox = this.outbox.filter((other) => other.id !== outgoing.id);
    this.desk.changed();
  }

  /** What other agents told the customer since the reply in conflict was begun. @returns {Message[]} */
  get answersMeanwhile() {
    const { conflict } = this;
    if (!conflict) return [];
    return [...this.messages.values()].filter(
      (message) => message.author === "agent" && !message.private && message.seq > conflict.after && message.agent?.id !== this.desk.me.id,
    );
  }

  /** @param {"edit" | "insist" | "discard"} choice @param {string} text as it stands in the dialog */
  settleConflict(choice, text) {
    const { conflict } = this;
    if (!conflict) return;
    this.conflict = null;
    if (choice === "edit") this.write({ text, files: conflict.files, private: false, after: this.lastSeq });
    if (choice === "insist" && (text.trim() || conflict.files.length)) {
      const again = { ...conflict, text, after: this.lastSeq };
      this.outbox = [...this.outbox, again];
      void this.put(again);
    }
    this.desk.changed();
  }

  // -- actions -------------------------------------------------------------------------------------------------------

  /** @param {string} action @param {{until?: string, assignee_id?: string | null}} [more] @returns {Promise<boolean>} */
  async act(action, more = {}) {
    try {
      this.summary = await this.desk.api.post(`${this.path}/actions`, { action, ...more });
      await this.refresh();
      return true;
    } catch (error) {
      this.desk.report(error);
      void this.refresh();
      return false;
    }
  }

  /** @param {Artifact} artifact @param {string} text @returns {Promise<boolean>} */
  async correct(artifact, text) {
    try {
      const message = await this.desk.api.post(`${this.path}/artifacts/${artifact.id}`, { text });
      const seq = this.messages.get(message.id)?.seq ?? message.seq;
      this.messages.set(message.id, { ...message, seq });
      this.desk.changed();
      return true;
    } catch (error) {
      this.desk.report(error);
      return false;
    }
  }
}

/** @param {Outgoing} outgoing @returns {object | FormData} */
function bodyOf({ text, private: isPrivate, after, files }) {
  if (!files.length) return { text, private: isPrivate, after };
  const form = new FormData();
  form.set("text", text);
  form.set("private", String(isPrivate));
  form.set("after", String(after));
  for (const file of files) form.append("file", file, file.name);
  return form;
}
