// @ts-check
/** Messages that the server has not acknowledged, with their files, in IndexedDB: they survive a reload. */

/**
 * @typedef {object} Outgoing
 * @property {string} id UUID of the message
 * @property {string} scope server and workspace it belongs to
 * @property {string} conversation UUID
 * @property {number} order messages are sent by this, ascending
 * @property {string} text
 * @property {import("../shared/protocol").Language} language
 * @property {File[]} files
 * @property {string} createdAt ISO 8601
 */

export class Outbox {
  /** @type {Promise<IDBDatabase> | null} */
  #opening = null;
  /** @type {Map<string, Outgoing>} where the browser refuses IndexedDB (some private windows): this page's memory */
  #memory = new Map();
  #last = 0;

  /** @param {string} scope */
  constructor(scope) {
    this.scope = scope;
  }

  /** Larger than any before, also across reloads. */
  nextOrder() {
    this.#last = Math.max(this.#last + 1, Date.now());
    return this.#last;
  }

  /** @param {Outgoing} message */
  async put(message) {
    this.#memory.set(message.id, message);
    await this.#run("readwrite", (store) => store.put(message));
  }

  /** @param {string} id */
  async remove(id) {
    this.#memory.delete(id);
    await this.#run("readwrite", (store) => store.delete(id));
  }

  /** @returns {Promise<Outgoing[]>} by order */
  async all() {
    const stored = /** @type {Outgoing[] | null} */ (await this.#run("readonly", (store) => store.getAll()));
    const messages = (stored ?? [...this.#memory.values()]).filter((message) => message.scope === this.scope);
    return messages.sort((a, b) => a.order - b.order);
  }

  /**
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest} work
   * @returns {Promise<unknown>} the request's result, null when IndexedDB is refused
   */
  async #run(mode, work) {
    try {
      this.#opening ??= openDatabase();
      const database = await this.#opening;
      const transaction = database.transaction("outgoing", mode);
      const request = work(transaction.objectStore("outgoing"));
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      return request.result;
    } catch (error) {
      this.#opening = null;
      console.warn("Duomo: messages cannot be kept across a reload:", error);
      return null;
    }
  }
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("duomo-outbox", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("outgoing", { keyPath: "id" });
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
}
