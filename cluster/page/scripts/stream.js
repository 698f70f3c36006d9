// The stream of windows: resumes by itself, opens anew with patience after an HTTP error, and rests while nobody looks.

const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 15;
const SILENT_S = 30;
const REST_S = 60;
const NOTHING_THERE = 404;
const EVENTS = ["history", "window", "gone"];

/**
 * Opens the stream and keeps it open.
 *
 * hear(event, data)   what the server says
 * become(state, why)  connecting, live, reconnecting, gone, off or paused
 */
export class Stream {
  constructor(url, hear, become) {
    Object.assign(this, {
      url,
      hear,
      become,
      source: null,
      waitS: FIRST_WAIT_S,
      timer: null,
      heardMs: 0,
      probe: null,
      silentS: SILENT_S,
    });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.open()));
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.open());
    setInterval(() => this.watch(), 5000);
  }

  open() {
    this.close();
    if (document.hidden) return this.pause();
    this.source = new EventSource(this.url);
    this.heardMs = Date.now();
    for (const name of EVENTS) this.source.addEventListener(name, (event) => this.heard(name, event));
    this.source.onerror = () => this.failed();
  }

  heard(name, event) {
    this.heardMs = Date.now();
    this.waitS = FIRST_WAIT_S;
    const data = JSON.parse(event.data);
    this.become(name === "gone" ? "gone" : "live", data.detail ?? "");
    this.hear(name, data);
  }

  /** The browser tries again after a lost connection, but never after an HTTP error: that is left to us. */
  failed() {
    this.become("reconnecting", "");
    if (this.source?.readyState === EventSource.CLOSED) this.later();
  }

  async later() {
    this.close();
    const waitS = this.waitS;
    this.waitS = Math.min(LONGEST_WAIT_S, 2 * waitS);
    this.timer = setTimeout(() => this.open(), 1000 * waitS * (0.8 + 0.4 * Math.random()));
    const { status, why } = await this.refusal();
    if (!why || !this.timer) return;
    if (status === NOTHING_THERE) this.rest();
    this.become(status === NOTHING_THERE ? "off" : "reconnecting", why);
  }

  /** What the server says to its refusal, which an EventSource does not tell. */
  async refusal() {
    this.probe = new AbortController();
    try {
      const answer = await fetch(this.url, { signal: this.probe.signal, headers: { Accept: "text/event-stream" } });
      if (!answer.ok) return { status: answer.status, why: (await answer.json()).detail };
      this.probe.abort();
    } catch {
      // It cannot be reached, or says nothing: the state tells so much.
    }
    return {};
  }

  /** Where nothing is counted there is nothing to wait for, until somebody starts the server another way. */
  rest() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), 1000 * REST_S);
  }

  /** A connection may die without a word; the server says something every ten seconds. */
  watch() {
    if (this.source && Date.now() - this.heardMs > 1000 * this.silentS) {
      this.become("reconnecting", "");
      this.open();
    }
  }

  pause() {
    this.close();
    this.become("paused", "");
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
    this.probe?.abort();
    this.source?.close();
    this.source = null;
  }
}
