// A page's live markets over one socket: who listens to what, and how far each book may be believed right now.
//
// Labels come from the page's own clock as well: no beat from the server for 2.5 s is DOWN, whatever was said before.

import { LiveSocket } from "./socket.js";
import { Watched } from "./watched.js";

const BEAT_LOST_MS = 2_500; // the server beats once a second
const BEHIND_MS = 2_500;
const SIGNED_OUT = 4401;
const NEVER_HEARD = -1; // the server has nothing of the feed on its present way to it: frames may be lost for good

export class MarketFeed {
  #env;
  #socket;
  #books = new Map(); // ticker → Watched
  #tops = new Map(); // ticker → {listeners, frame}
  #beatListeners = new Set();
  #beat = null;
  #beatAt = -Infinity;
  #quickest = Infinity; // smallest difference between the server's clock and ours, on this connection
  #behindMs = 0;
  #isOpen = false;
  #isSignedOut = false;
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
    if (isNew) this.#tops.set(ticker, { listeners: new Set(), frame: null });
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

  // How far a market's book may be believed: {state, ageMs, why}; `ageMs` since it was last heard of, null if never.
  label(ticker, nowMs) {
    const watched = this.#books.get(ticker);
    const ageMs = watched?.heardAt == null ? null : Math.max(0, nowMs - watched.heardAt);
    return { ...this.#judge(watched, nowMs), ageMs };
  }

  // The same for the way to the exchange as a whole; `ageMs` is how old its last sign of life is.
  feedLabel(nowMs) {
    const ageMs = this.#beat?.age == null ? null : this.#beat.age + Math.max(0, nowMs - this.#beatAt);
    return { ...(this.#lost(nowMs) ?? this.#upstream() ?? this.#well()), ageMs };
  }

  stop() {
    this.#socket.stop();
  }

  #judge(watched, nowMs) {
    const lost = this.#lost(nowMs);
    if (lost) return lost;
    if (!watched) return { state: "DOWN", why: "not watched" };
    if (watched.error) return { state: "DOWN", why: watched.error };
    const { book } = watched;
    const isWhole = book.isWhole && book.epoch === this.#beat.e;
    if (isWhole && book.state === "CLOSED") return { state: "CLOSED", why: book.why };
    const upstream = this.#upstream();
    if (upstream?.state === "DOWN") return upstream;
    if (!isWhole) return { state: "RESYNC", why: book.epoch === null ? book.why : "asking for the whole book" };
    if (watched.isSlow) return { state: "STALE", why: "this browser has fallen behind" };
    return upstream ?? { state: book.state, why: book.why };
  }

  #lost(nowMs) {
    if (this.#isSignedOut) return { state: "DOWN", why: "signed out" };
    if (!this.#isOpen || Math.abs(nowMs - this.#beatAt) > BEAT_LOST_MS) return { state: "DOWN", why: "server lost" };
    if (this.#behindMs > BEHIND_MS) return { state: "STALE", why: "this browser has fallen behind" };
    return null;
  }

  #upstream() {
    if (this.#beat.feed === "down") return { state: "DOWN", why: this.#beat.why };
    if (this.#beat.feed === "stale") return { state: "STALE", why: this.#beat.why };
    return null;
  }

  // Without a stream nothing is wrong, and nothing is live: each market's own label says as much.
  #well() {
    return this.#beat.feed === "polled" ? { state: "POLLED", why: this.#beat.why } : { state: "LIVE", why: "" };
  }

  #opened() {
    this.#isOpen = true;
    this.#quickest = Infinity;
    this.#behindMs = 0;
    this.#said = null;
    this.#send({ op: "watch", books: [...this.#books.keys()], tops: [...this.#tops.keys()] });
  }

  #down(code) {
    this.#isOpen = false;
    this.#isSignedOut = code === SIGNED_OUT;
    for (const watched of this.#books.values()) watched.lose();
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
    const difference = nowMs - beat.at;
    this.#quickest = Math.min(this.#quickest, difference);
    this.#behindMs = difference - this.#quickest;
    this.#beat = beat;
    this.#beatAt = nowMs;
    if (beat.hub_ms === NEVER_HEARD) for (const watched of this.#books.values()) watched.lose();
    for (const listener of this.#beatListeners) listener(beat);
  }

  #topped(frame) {
    const held = this.#tops.get(frame.m);
    if (!held) return;
    held.frame = frame;
    for (const listener of held.listeners) listener(frame);
  }

  #refused(frame) {
    if (frame.code === "SLOW") for (const watched of this.#books.values()) watched.isSlow = true;
    const watched = this.#books.get(frame.m);
    if (watched && frame.code === "UNKNOWN_MARKET") watched.error = frame.text;
  }
}
