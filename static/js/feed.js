// A page's live markets over one socket: who listens to what, and how far each book may be believed right now.

import { Beats } from "./beats.js";
import { LiveSocket } from "./socket.js";
import { Watched } from "./watched.js";

const REMINDERS_A_BEAT = 10; // the server hears twenty messages a second

export class MarketFeed {
  #env;
  #socket;
  #books = new Map(); // ticker → Watched
  #tops = new Map(); // ticker → {listeners, frame, isLate}
  #beatListeners = new Set();
  #beats = new Beats();
  #isOpen = false;
  #said = null;

  constructor({ url, env }) {
    this.#env = env;
    this.#socket = new LiveSocket(url, {
      acks: true,
      onOpen: () => this.#opened(),
      onFrames: (frames) => frames.forEach((frame) => this.#take(frame)),
      onDown: (code) => this.#down(code),
    });
  }

  // listener(book, frame) after each book, delta, state or trade frame of the market. Returns a function that stops.
  watchBook(ticker, listener) {
    const isNew = !this.#books.has(ticker);
    if (isNew) this.#books.set(ticker, new Watched(this.#env, ticker));
    const { book } = this.#books.get(ticker);
    if (book.epoch !== null) queueMicrotask(() => listener(book, { t: "book" }));
    return this.#listen("books", this.#books, ticker, listener, isNew);
  }

  // listener(frame) with the best prices of a market, for lists. Returns a function that stops.
  watchTop(ticker, listener) {
    const isNew = !this.#tops.has(ticker);
    if (isNew) this.#tops.set(ticker, { listeners: new Set(), frame: null, isLate: false });
    const { frame } = this.#tops.get(ticker);
    if (frame) queueMicrotask(() => listener(frame));
    return this.#listen("tops", this.#tops, ticker, listener, isNew);
  }

  // listener(beat) once a second while the server is there. Returns a function that stops.
  onBeat(listener) {
    this.#beatListeners.add(listener);
    return () => this.#beatListeners.delete(listener);
  }

  book(ticker) {
    return this.#books.get(ticker)?.book ?? null;
  }

  // The newest trades of a watched market, newest last.
  trades(ticker) {
    return this.#books.get(ticker)?.trades ?? [];
  }

  // How far a market's book may be believed: {state, ageMs, why}; `ageMs` since it last told of itself, null if never.
  label(ticker, nowMs) {
    const watched = this.#books.get(ticker);
    const ageMs = watched?.heardAt == null ? null : Math.max(0, nowMs - watched.heardAt);
    return { ...this.#judge(watched, nowMs), ageMs };
  }

  // The same for the way to the exchange as a whole.
  feedLabel(nowMs) {
    return this.#beats.label(nowMs);
  }

  // Whose numbers count now; null before the first beat.
  get epoch() {
    return this.#beats.epoch;
  }

  // Whether something may have been left out since a market's best prices were told: they come again by themselves.
  isTopLate(ticker) {
    return this.#tops.get(ticker)?.isLate ?? false;
  }

  // How old something is that the server dates at `atMs`; null before the first beat.
  ageOf(atMs, nowMs) {
    return this.#beats.ageOf(atMs, nowMs);
  }

  stop() {
    this.#socket.stop();
  }

  // Stops for good, and says why.
  end(why) {
    this.stop();
    this.#isOpen = false;
    this.#beats.end(why);
    this.#loseAll();
  }

  #judge(watched, nowMs) {
    const lost = this.#beats.lost(nowMs);
    if (lost) return lost;
    if (!watched) return { state: "DOWN", why: "not watched" };
    if (watched.error) return { state: "DOWN", why: watched.error };
    const { book } = watched;
    const isWhole = book.isWhole && book.epoch === this.#beats.epoch;
    if (isWhole && book.state === "CLOSED") return { state: "CLOSED", why: book.why };
    const upstream = this.#beats.upstream();
    if (upstream?.state === "DOWN") return upstream;
    if (!isWhole) return { state: "RESYNC", why: book.epoch === null ? book.why : "asking for the whole book" };
    if (watched.isSlow) return { state: "STALE", why: "this browser has fallen behind" };
    return upstream ?? { state: book.state, why: book.why };
  }

  #opened() {
    this.#isOpen = true;
    this.#beats.open();
    this.#said = null;
    this.#send({ op: "watch", books: [...this.#books.keys()], tops: [...this.#tops.keys()] });
  }

  #down(code) {
    this.#isOpen = false;
    this.#beats.close(code);
    this.#loseAll();
  }

  #loseAll() {
    for (const watched of this.#books.values()) watched.lose();
    for (const held of this.#tops.values()) held.isLate = true;
  }

  #send(message) {
    this.#socket.send({ ...message, env: this.#env });
  }

  #listen(kind, all, ticker, listener, isNew) {
    const held = all.get(ticker);
    held.listeners.add(listener);
    if (isNew) this.#say(kind, ticker);
    return () => {
      held.listeners.delete(listener);
      if (held.listeners.size || all.get(ticker) !== held) return;
      all.delete(ticker);
      this.#say(kind, ticker);
    };
  }

  // What one turn of the page begins or ends to watch is gathered into one message of each kind.
  #say(kind, ticker) {
    if (this.#said === null) {
      this.#said = { books: new Set(), tops: new Set() };
      queueMicrotask(() => this.#flush());
    }
    this.#said[kind].add(ticker);
  }

  #flush() {
    const said = this.#said;
    this.#said = null;
    if (!said || !this.#isOpen) return; // everything is said when the socket opens
    const pick = (isWatched) => ({
      books: [...said.books].filter((ticker) => this.#books.has(ticker) === isWatched),
      tops: [...said.tops].filter((ticker) => this.#tops.has(ticker) === isWatched),
    });
    for (const [op, picked] of [["unwatch", pick(false)], ["watch", pick(true)]]) {
      if (picked.books.length || picked.tops.length) this.#send({ op, ...picked });
    }
  }

  #take(frame) {
    if (!this.#isOpen) return; // the rest of a message whose connection has just been given up
    const nowMs = Date.now();
    if (frame.t === "error") this.#refused(frame);
    else if (frame.env !== this.#env) return;
    else if (frame.t === "beat") this.#beaten(frame, nowMs);
    else if (frame.t === "top") this.#topped(frame);
    else {
      const question = this.#books.get(frame.m)?.take(frame, nowMs);
      if (question) this.#send({ ...question, m: frame.m });
    }
  }

  #beaten(beat, nowMs) {
    this.#beats.take(beat, nowMs, performance.now());
    if (this.#beats.isFeedLost) this.#loseAll();
    else if (beat.feed !== "down") this.#remind(nowMs);
    for (const listener of this.#beatListeners) listener(beat);
    if (this.#beats.isLagLasting) this.#socket.redial();
  }

  #remind(nowMs) {
    let left = REMINDERS_A_BEAT;
    for (const [ticker, watched] of this.#books) {
      const question = watched.remind(nowMs);
      if (!question) continue;
      this.#send({ ...question, m: ticker });
      if (--left === 0) return;
    }
  }

  #topped(frame) {
    const held = this.#tops.get(frame.m);
    if (!held) return;
    held.frame = frame;
    held.isLate = false;
    for (const listener of held.listeners) listener(frame);
  }

  #refused(frame) {
    if (frame.env !== undefined && frame.env !== this.#env) return;
    if (frame.code === "SLOW") this.#leftOut();
    if (frame.code === "UNKNOWN_MARKET" || frame.code === "BAD_TICKER") this.#books.get(frame.m)?.refuse(frame.text);
    if (frame.code === "NO_TRADES") this.#books.get(frame.m)?.haveNoTrades();
  }

  #leftOut() {
    for (const watched of this.#books.values()) watched.isSlow = true;
    for (const held of this.#tops.values()) held.isLate = true;
  }
}
