// @ts-check
/** Calls and events of docs/protocol.md, for the widget (bearer token) and the console (cookie + CSRF header). */

/** A refusal by the server, or `code: "network"` when it could not be reached. */
export class ApiError extends Error {
  /**
   * @param {string} code of the protocol, or "network"
   * @param {string} message
   * @param {{status?: number, retryAfter?: number | null, body?: any}} [more] retryAfter in seconds
   */
  constructor(code, message, { status = 0, retryAfter = null, body = null } = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    /** The whole answer, e.g. for `answered_meanwhile`. */
    this.body = body;
  }

  /** Whether the same request may succeed later without being changed. */
  get temporary() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** @typedef {{id: number | null, kind: string, data: any}} ServerEvent */

export class Api {
  /**
   * @param {object} options
   * @param {string} options.base absolute URL of the server, e.g. location.origin
   * @param {() => Record<string, string>} [options.headers] asked at every call: Authorization, X-CSRF-Token
   * @param {RequestCredentials} [options.credentials] "omit" for the widget, "same-origin" for the console
   */
  constructor({ base, headers = () => ({}), credentials = "same-origin" }) {
    this.base = new URL("/api/v1/", base).href;
    this.origin = new URL(base).origin;
    this.headers = headers;
    this.credentials = credentials;
  }

  /** An address of the protocol, made absolute. @param {string} path without leading slash */
  url(path) {
    return new URL(path, this.base).href;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object | FormData} [body] an object travels as JSON
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>} the JSON answer, null for 204
   */
  async call(method, path, body, signal) {
    const form = body instanceof FormData;
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json", ...this.headers() };
    if (body && !form) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(this.url(path), {
        method,
        headers,
        body: form ? body : body && JSON.stringify(body),
        credentials: this.credentials,
        signal,
      });
    } catch (error) {
      if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw error;
      throw new ApiError("network", `${method} ${path} did not reach the server`);
    }
    if (answer.status === 204) return null;
    const json = await answer.json().catch(() => null);
    if (answer.ok) return json;
    throw refusal(answer, json);
  }

  /** @param {string} path @param {AbortSignal} [signal] */
  get(path, signal) {
    return this.call("GET", path, undefined, signal);
  }

  /** @param {string} path @param {object | FormData} [body] */
  post(path, body = {}) {
    return this.call("POST", path, body);
  }

  /** @param {string} path @param {object | FormData} body @param {AbortSignal} [signal] */
  put(path, body, signal) {
    return this.call("PUT", path, body, signal);
  }

  /** @param {string} path */
  delete(path) {
    return this.call("DELETE", path);
  }

  /**
   * Reads a stream of events for ever: after a cut it asks again from the last id seen, with growing pauses.
   * Events that were seen already are dropped, so nothing is shown twice.
   * @param {string} path e.g. `conversations/${id}/events`
   * @param {object} options
   * @param {number | null} [options.after] sequence number to start behind; null for a stream without numbers
   * @param {(event: ServerEvent) => void} options.onEvent
   * @param {(state: "connected" | "waiting", error: ApiError | null) => void} [options.onState]
   * @param {number} [options.silence] ms without a byte after which the line counts as dead; the server speaks every 15 s
   * @returns {EventStream}
   */
  events(path, { after = 0, onEvent, onState = () => {}, silence = 40_000 }) {
    return new EventStream(this, path, after, onEvent, onState, silence);
  }
}

/** @param {Response} answer @param {any} json @returns {ApiError} */
function refusal(answer, json) {
  const error = json?.error ?? {};
  const header = Number(answer.headers.get("Retry-After"));
  return new ApiError(error.code ?? (answer.status >= 500 ? "unavailable" : "unknown"), error.message ?? answer.statusText, {
    status: answer.status,
    retryAfter: error.retry_after ?? (header || null),
    body: json,
  });
}

/** Milliseconds before try `attempt` (from 0): 0.5 s doubling to 30 s, with jitter so that clients spread. @param {number} attempt */
export function backoff(attempt) {
  return Math.min(30_000, 500 * 2 ** attempt) * (0.75 + Math.random() / 2);
}

export class EventStream {
  #stopped = new AbortController();
  #wake = () => {};

  /**
   * @param {Api} api
   * @param {string} path
   * @param {number | null} after
   * @param {(event: ServerEvent) => void} onEvent
   * @param {(state: "connected" | "waiting", error: ApiError | null) => void} onState
   * @param {number} silence
   */
  constructor(api, path, after, onEvent, onState, silence) {
    this.api = api;
    this.path = path;
    /** The last sequence number seen. */
    this.after = after;
    this.onEvent = onEvent;
    this.onState = onState;
    this.silence = silence;
    addEventListener("online", this.retryNow, { signal: this.#stopped.signal });
    this.#run();
  }

  stop() {
    this.#stopped.abort();
    this.#wake();
  }

  /** Ends the current pause, e.g. when the browser is online again. */
  retryNow = () => this.#wake();

  async #run() {
    for (let attempt = 0; !this.#stopped.signal.aborted; attempt += 1) {
      /** @type {ApiError | null} */
      let failure = null;
      try {
        await this.#read(() => {
          attempt = 0;
        });
      } catch (error) {
        failure = error instanceof ApiError ? error : new ApiError("network", String(error));
      }
      if (this.#stopped.signal.aborted) return;
      this.onState("waiting", failure);
      if (failure && failure.status >= 400 && !failure.temporary) return;
      await this.#pause(failure?.retryAfter ? failure.retryAfter * 1000 : backoff(attempt));
    }
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  /** One connection, until it ends or falls silent. @param {() => void} onAlive */
  async #read(onAlive) {
    const cut = new AbortController();
    const stop = () => cut.abort();
    this.#stopped.signal.addEventListener("abort", stop, { once: true });
    let timer = setTimeout(stop, this.silence);
    try {
      const separator = this.path.includes("?") ? "&" : "?";
      const path = this.after === null ? this.path : `${this.path}${separator}after=${this.after}`;
      const answer = await fetch(this.api.url(path), {
        headers: { Accept: "text/event-stream", ...this.api.headers() },
        credentials: this.api.credentials,
        cache: "no-store",
        signal: cut.signal,
      });
      if (!answer.ok || !answer.body) throw refusal(answer, await answer.json().catch(() => null));
      this.onState("connected", null);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const parse = frameParser((event) => this.#receive(event));
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        onAlive();
        clearTimeout(timer);
        timer = setTimeout(stop, this.silence);
        parse(value);
      }
    } finally {
      clearTimeout(timer);
      cut.abort();
      this.#stopped.signal.removeEventListener("abort", stop);
    }
  }

  /** @param {ServerEvent} event */
  #receive(event) {
    if (event.id !== null && this.after !== null) {
      if (event.id <= this.after) return;
      this.after = event.id;
    }
    try {
      this.onEvent(event);
    } catch (error) {
      reportError(error); // a fault of the page must not read as a cut line, or it would reconnect for ever
    }
  }
}

/**
 * Cuts a text/event-stream into events, however its chunks fall.
 * @param {(event: ServerEvent) => void} emit
 * @returns {(chunk: string) => void}
 */
export function frameParser(emit) {
  let rest = "";
  return (chunk) => {
    rest += chunk;
    const frames = rest.replace(/\r\n/g, "\n").split("\n\n");
    rest = frames.pop() ?? "";
    for (const frame of frames) {
      /** @type {ServerEvent} */
      const event = { id: null, kind: "message", data: null };
      /** @type {string[]} */
      const data = [];
      for (const line of frame.split("\n")) {
        const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === "id") event.id = Number(value);
        else if (field === "event") event.kind = value;
        else if (field === "data") data.push(value);
      }
      if (!data.length) continue; // a comment: the line is alive
      event.data = JSON.parse(data.join("\n"));
      emit(event);
    }
  };
}
