// What a page holds of one market it watches: the book, its trades, and who listens. No page, no network.

import { Book } from "./book.js";
import { NumberedTrades } from "./numberedtrades.js";

const ASK_AGAIN_MS = 500;
const REMIND_AFTER_BEATS = 3;

export class Watched {
  constructor(env, ticker) {
    this.book = new Book(env, ticker);
    this.listeners = new Set();
    this.heardAt = null; // when the book last told of itself, by the page's clock
    this.isSlow = false; // the server has left something out for us
    this.error = null; // why there is no such book: until one comes
  }

  #trades = new NumberedTrades((trade) => this.#tell(trade));
  #bookAskedAt = -Infinity;
  #doubtedBeats = 0;

  // Newest last.
  get trades() {
    return this.#trades.kept;
  }

  // Takes one frame; returns what to ask the server for: {op: "snapshot"} or {op: "trades", after} or null.
  take(frame, nowMs) {
    if (frame.t === "trade") return this.#trades.take(frame, nowMs);
    const result = this.book.apply(frame);
    if (result === "hole") return this.#askBook(nowMs);
    if (result !== "applied") return null;
    this.#note(frame, nowMs);
    const question = frame.t === "book" ? this.#trades.expect(frame.e, frame.k, nowMs) : null;
    this.#tell(frame);
    return question;
  }

  // A connection is gone: whatever is missed meanwhile, only a whole book brings back.
  lose() {
    this.book.isWhole = false;
    this.isSlow = false;
    this.#bookAskedAt = -Infinity;
    this.#doubtedBeats = 0;
    this.#trades.lose();
  }

  // The server knows no such market now: it may know it later, and then the book comes.
  refuse(why) {
    this.lose();
    this.error = why;
  }

  // The server remembers none of the trades that it was asked for.
  haveNoTrades() {
    this.#trades.fillNone();
  }

  // Called at each beat. Normally the server knows that we wait; what it has not brought for some beats is asked for.
  remind(nowMs) {
    const question = this.#trades.seek(nowMs);
    if (question) return question;
    const isDoubted = !this.book.isWhole || this.isSlow;
    this.#doubtedBeats = isDoubted ? this.#doubtedBeats + 1 : 0;
    if (this.#doubtedBeats <= REMIND_AFTER_BEATS) return null;
    this.#doubtedBeats = 0;
    return this.#askBook(nowMs);
  }

  #note(frame, nowMs) {
    if (frame.t === "delta") this.heardAt = nowMs;
    if (frame.t !== "book") return;
    this.error = null;
    this.isSlow = false;
    if (frame.quiet !== null) this.heardAt = nowMs - frame.quiet;
  }

  #askBook(nowMs) {
    if (Math.abs(nowMs - this.#bookAskedAt) < ASK_AGAIN_MS) return null;
    this.#bookAskedAt = nowMs;
    return { op: "snapshot" };
  }

  #tell(frame) {
    for (const listener of this.listeners) listener(this.book, frame);
  }
}
