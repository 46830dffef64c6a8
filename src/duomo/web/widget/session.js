// @ts-check
import { Api, ApiError, backoff } from "../shared/api.js";
import { Outbox } from "./outbox.js";

/** @typedef {import("../shared/protocol").Message} Message */
/** @typedef {import("../shared/protocol").Workspace} Workspace */
/** @typedef {import("../shared/protocol").Language} Language */
/** @typedef {import("./outbox.js").Outgoing} Outgoing */
/** @typedef {Outgoing & {state: "waiting" | "sending" | "failed", problem: ApiError | null}} Pending */

/**
 * One visitor's conversation: what is shown, what waits to be sent, and the line to the server. Knows no HTML.
 *
 * Events: `change` after anything shown has changed; `arrived` {message} for a message of the bot or a person that came
 * after the first load.
 */
export class Session extends EventTarget {
  /** @type {Workspace | null} */
  workspace = null;
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** @type {Map<string, string>} text so far of answers that still stream, by message id */
  streaming = new Map();
  /** @type {Pending[]} */
  pending = [];
  /** @type {Map<string, File[]>} what this page sent, shown until the server has its own copy */
  localFiles = new Map();
  status = "";
  /** @type {{id: string, name: string} | null} */
  assignee = null;
  /** @type {{state: string, waiting_for: string[]}} */
  turn = { state: "done", waiting_for: [] };
  /** @type {"idle" | "connected" | "waiting"} */
  line = "idle";
  personAsked = false;
  /** @type {import("../shared/api.js").EventStream | null} */
  #stream = null;
  #flushing = false;
  /** @type {Set<() => void>} ends the pauses that run now */
  #sleepers = new Set();
  #settled = false;
  #renewed = 0;

  /** @param {{server: string, workspace: string, language: Language}} options */
  constructor({ server, workspace, language }) {
    super();
    this.name = workspace;
    this.language = language;
    this.scope = `duomo:${server}:${workspace}`;
    this.kept = new Kept(this.scope);
    this.outbox = new Outbox(this.scope);
    this.api = new Api({
      base: server,
      credentials: "omit",
      headers: () => /** @type {Record<string, string>} */ (this.kept.get("token") ? { Authorization: `Bearer ${this.kept.get("token")}` } : {}),
    });
    addEventListener("online", () => this.#wake());
  }

  get conversation() {
    return this.kept.get("conversation");
  }

  /** Messages in the conversation's order. @returns {Message[]} */
  get messages() {
    return [...this.#messages.values()].sort((a, b) => a.seq - b.seq);
  }

  /** Messages of this conversation that the server has not acknowledged. */
  get unsent() {
    return this.pending.filter(({ conversation }) => conversation === this.conversation);
  }

  get unread() {
    const read = Number(this.kept.get("read") ?? 0);
    return [...this.#messages.values()].filter(({ author, seq }) => author !== "customer" && seq > read).length;
  }

  markRead() {
    const newest = Math.max(0, ...[...this.#messages.values()].map(({ seq }) => seq).filter(Number.isFinite));
    if (newest > Number(this.kept.get("read") ?? 0)) this.kept.set("read", String(newest));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Loads the workspace's words, what waits to be sent, and the conversation of an earlier visit. */
  async begin() {
    for (const message of await this.outbox.all()) {
      if (this.pending.some(({ id }) => id === message.id)) continue;
      this.localFiles.set(message.id, message.files);
      this.pending.push({ ...message, state: "waiting", problem: null });
    }
    if (this.kept.get("created")) this.connect();
    this.#changed();
    this.#flush();
    for (let attempt = 0; !this.workspace; attempt += 1) {
      try {
        this.workspace = await this.api.get(`workspace?name=${encodeURIComponent(this.name)}`);
      } catch (error) {
        if (error instanceof ApiError && !error.temporary) throw error;
        await this.#pause(backoff(attempt));
      }
    }
    this.#changed();
  }

  // ---- the line -------------------------------------------------------------------------------------------------

  connect(after = 0) {
    const conversation = this.conversation;
    if (this.#stream || !conversation) return;
    this.#stream = this.api.events(`conversations/${conversation}/events`, {
      after,
      onEvent: (event) => this.#receive(event),
      onState: (state, error) => {
        if (state === "connected") setTimeout(() => (this.#settled = true), 1500); // what comes first is history
        if (error?.status === 401 || error?.status === 403 || error?.status === 404) return this.#forget();
        this.line = state;
        this.#changed();
      },
    });
  }

  /** While nobody looks: a browser allows one host six lines, and tabs are many. */
  disconnect() {
    const after = this.#stream?.after ?? 0;
    this.#stream?.stop();
    this.#stream = null;
    this.line = "idle";
    return after;
  }

  pause() {
    this.paused = this.disconnect();
  }

  resume() {
    if (this.paused === undefined) return;
    const after = this.paused ?? 0;
    this.paused = undefined;
    if (this.kept.get("created")) this.connect(after);
  }

  /** @type {number | null | undefined} */
  paused = undefined;

  /** Media addresses are valid for one hour: the events carry new ones. At most once a minute. */
  renewMedia() {
    if (Date.now() - this.#renewed < 60_000 || !this.#stream) return;
    this.#renewed = Date.now();
    this.disconnect();
    this.connect(0);
  }

  /** The server no longer knows this visitor or conversation: begin anew, keep what waits to be sent. */
  #forget() {
    this.disconnect();
    this.kept.remove("token");
    const lost = this.conversation;
    this.#startAfresh();
    for (const message of this.pending) {
      if (message.conversation !== lost) continue;
      message.conversation = this.#ensureConversationId();
      const { state: _, problem: __, ...kept } = message;
      this.outbox.put(kept);
    }
  }

  #startAfresh() {
    this.disconnect();
    if (this.paused !== undefined) this.paused = 0;
    this.kept.set("conversation", crypto.randomUUID());
    this.kept.remove("created");
    this.kept.remove("read");
    this.#messages.clear();
    this.streaming.clear();
    this.status = "";
    this.assignee = null;
    this.personAsked = false;
    this.turn = { state: "done", waiting_for: [] };
    this.#settled = false;
    this.#changed();
  }

  /** @param {import("../shared/api.js").ServerEvent} event */
  #receive({ kind, data }) {
    if (kind === "message" || kind === "update") this.#store(data, kind === "message");
    else if (kind === "delta") this.#extend(data);
    else if (kind === "turn") {
      this.turn = { state: data.state, waiting_for: data.waiting_for ?? [] };
      if (data.state === "done") this.streaming.clear(); // an interrupted answer has no final message
    } else if (kind === "status") {
      this.status = data.status;
      this.assignee = data.assignee ?? null;
      if (data.status === "open") this.streaming.clear();
      else this.personAsked = false;
    }
    this.#changed();
  }

  /** @param {{message_id: string, text: string}} delta */
  #extend({ message_id, text }) {
    if (this.#messages.has(message_id)) return;
    this.streaming.set(message_id, (this.streaming.get(message_id) ?? "") + text);
  }

  /** @param {Message} message @param {boolean} arrived not only changed */
  #store(message, arrived) {
    const known = this.#messages.has(message.id);
    this.#messages.set(message.id, message);
    this.streaming.delete(message.id);
    if (message.author === "customer") this.#acknowledged(message.id);
    else if (arrived && !known && this.#settled) this.dispatchEvent(new CustomEvent("arrived", { detail: { message } }));
  }

  /** @param {string} id */
  #acknowledged(id) {
    if (!this.pending.some((one) => one.id === id)) return;
    this.pending = this.pending.filter((one) => one.id !== id);
    this.outbox.remove(id);
  }

  // ---- sending --------------------------------------------------------------------------------------------------

  /** Keeps a message and sends it when its turn comes. @param {{text: string, files?: File[]}} content */
  async send({ text, files = [] }) {
    /** @type {Outgoing} */
    const message = {
      id: crypto.randomUUID(),
      scope: this.scope,
      conversation: this.#ensureConversationId(),
      order: this.outbox.nextOrder(),
      text,
      language: this.language,
      files,
      createdAt: new Date().toISOString(),
    };
    this.localFiles.set(message.id, files);
    this.pending = [...this.pending, { ...message, state: "waiting", problem: null }];
    this.#settled = true;
    this.#changed();
    await this.outbox.put(message);
    if (this.pending.some(({ problem }) => problem?.code === "network")) this.#wake();
    this.#flush();
  }

  #ensureConversationId() {
    if (!this.conversation) this.kept.set("conversation", crypto.randomUUID());
    return /** @type {string} */ (this.conversation);
  }

  /** @param {string} id */
  retry(id) {
    for (const message of this.pending) if (message.id === id) Object.assign(message, { state: "waiting", problem: null });
    this.#changed();
    this.#wake();
    this.#flush();
  }

  /** Gone from what is kept before it is gone from sight: a reload must not bring it back. @param {string} id */
  async discard(id) {
    await this.outbox.remove(id);
    this.#acknowledged(id);
    this.#changed();
  }

  /** One after the other, for ever, until nothing waits: the next is sent when the one before was acknowledged. */
  async #flush() {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      for (let attempt = 0; ; ) {
        const next = this.pending.find(({ state }) => state !== "failed");
        if (!next) return;
        const problem = await this.#exclusively(() => this.#attempt(next));
        if (!problem) attempt = 0;
        else if (problem.temporary) {
          next.state = "waiting";
          next.problem = problem;
          this.#changed();
          await this.#pause(problem.retryAfter ? problem.retryAfter * 1000 : backoff(attempt));
          attempt += 1;
        } else {
          next.state = "failed";
          next.problem = problem;
          this.#changed();
        }
      }
    } finally {
      this.#flushing = false;
    }
  }

  /** Two tabs of one visitor must not overtake each other. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  async #exclusively(work) {
    return navigator.locks ? await navigator.locks.request(`${this.scope}:send`, work) : work();
  }

  /** @param {Pending} message @returns {Promise<ApiError | null>} null when acknowledged */
  async #attempt(message) {
    if (!this.pending.includes(message)) return null; // discarded, or its event was faster
    message.state = "sending";
    this.#changed();
    try {
      await this.#introduce(message.conversation);
      const path = `conversations/${message.conversation}/messages/${message.id}`;
      const stored = await this.api.put(path, bodyOf(message), AbortSignal.timeout(patience(message)));
      if (message.conversation === this.conversation && !this.#messages.has(stored.id)) this.#store(stored, true);
      this.#acknowledged(message.id);
      this.#changed();
      return null;
    } catch (error) {
      const problem = error instanceof ApiError ? error : new ApiError("unknown", String(error), { status: 400 });
      if ([401, 403, 404].includes(problem.status) && !message.problem) {
        this.#forget();
        return new ApiError("network", "the server forgot this visitor", { retryAfter: 0.01 });
      }
      return problem;
    }
  }

  /** A visitor and a conversation exist on the server only when there is something to send. @param {string} conversation */
  async #introduce(conversation) {
    if (!this.kept.get("token")) {
      const visitor = await this.api.post("visitors", { workspace: this.name, language: this.language });
      this.kept.set("token", visitor.token);
      this.workspace = visitor.workspace;
      if (this.kept.get("consent")) await this.#sendConsent();
    }
    if (this.kept.get("created") !== conversation) {
      await this.api.put(`conversations/${conversation}`, { language: this.language });
      if (conversation === this.conversation) this.kept.set("created", conversation);
    }
    if (this.paused === undefined && this.kept.get("created")) this.connect();
  }

  /** Whether this visitor's chats may train the assistant; what the workspace does where nobody was asked. */
  get mayTrain() {
    const said = this.kept.get("consent");
    return said ? said === "yes" : this.workspace?.consent === "all";
  }

  /** Whether the workspace asks and the visitor has not answered. */
  get asksConsent() {
    return this.workspace?.consent === "asked" && !this.kept.get("consent");
  }

  /** @param {boolean} value */
  async setConsent(value) {
    this.kept.set("consent", value ? "yes" : "no");
    this.#changed();
    if (this.kept.get("token")) await this.#sendConsent(); // else with the first message
  }

  #sendConsent() {
    return this.api.put("consent", { may_train: this.kept.get("consent") === "yes" });
  }

  /** @param {number} ms */
  async #pause(ms) {
    await new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve(undefined);
      };
      const timer = setTimeout(wake, ms);
      this.#sleepers.add(wake);
    });
  }

  #wake() {
    for (const wake of this.#sleepers) wake();
  }

  // ---- what else a customer can do --------------------------------------------------------------------------------

  async handoff() {
    this.personAsked = true;
    this.#changed();
    try {
      const conversation = this.#ensureConversationId();
      await this.#introduce(conversation);
      await this.api.post(`conversations/${conversation}/handoff`);
    } catch (error) {
      this.personAsked = false;
      this.#changed();
      throw error;
    }
  }

  /** @param {string} artifact id @param {string} text */
  async correct(artifact, text) {
    this.#store(await this.api.post(`conversations/${this.conversation}/artifacts/${artifact}`, { text }), false);
    this.#changed();
  }

  /** @param {string} message id @param {"up" | "down" | null} value */
  async feedback(message, value) {
    const known = this.#messages.get(message);
    if (!known) return;
    const before = known.feedback;
    this.#messages.set(message, { ...known, feedback: value });
    this.#changed();
    try {
      await this.api.post(`conversations/${this.conversation}/messages/${message}/feedback`, { value });
    } catch (error) {
      this.#messages.set(message, { ...known, feedback: before });
      this.#changed();
      throw error;
    }
  }

  /** @param {number} score 1 to 5 @param {string} comment @param {string} question id of the csat message */
  async rate(score, comment, question) {
    await this.api.post(`conversations/${this.conversation}/csat`, { score, comment });
    this.kept.set("rated", question);
    this.#changed();
  }

  /** @param {string} id @returns {Promise<import("../shared/protocol").Article>} */
  article(id) {
    return this.api.get(`articles/${encodeURIComponent(id)}`);
  }

  /** @param {Language} language */
  async speak(language) {
    this.language = language;
    if (this.kept.get("created")) await this.api.put(`conversations/${this.conversation}`, { language });
  }

  /** Leaves the conversation to the record and opens an empty one; what waits to be sent still goes to the old. */
  startNew() {
    this.#startAfresh();
  }
}

/** Milliseconds an upload may take: half a minute and what its bytes need at 32 KB a second. @param {Outgoing} message */
const patience = ({ files }) => 30_000 + files.reduce((sum, { size }) => sum + size, 0) / 32;

/** @param {Outgoing} message */
function bodyOf({ text, language, files }) {
  if (!files.length) return { text, language };
  const form = new FormData();
  form.set("text", text);
  form.set("language", language);
  for (const file of files) form.append("file", file, file.name);
  return form;
}

/** A few small values in localStorage; in memory where the browser refuses it. */
class Kept {
  /** @type {Map<string, string>} */
  #memory = new Map();

  /** @param {string} scope */
  constructor(scope) {
    this.scope = scope;
  }

  /** @param {string} key @returns {string | null} */
  get(key) {
    try {
      return localStorage.getItem(`${this.scope}:${key}`) ?? this.#memory.get(key) ?? null;
    } catch {
      return this.#memory.get(key) ?? null;
    }
  }

  /** @param {string} key @param {string} value */
  set(key, value) {
    this.#memory.set(key, value);
    try {
      localStorage.setItem(`${this.scope}:${key}`, value);
    } catch {
      // Storage is full or forbidden: the page's memory serves until it is closed.
    }
  }

  /** @param {string} key */
  remove(key) {
    this.#memory.delete(key);
    try {
      localStorage.removeItem(`${this.scope}:${key}`);
    } catch {
      // as above
    }
  }
}
