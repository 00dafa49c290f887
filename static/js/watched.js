// What a page holds of one market it watches: the book, its trades, and who listens. No page, no network.

import { Book } from "./book.js";

const ASK_AGAIN_MS = 500;
const REMIND_AFTER_BEATS = 3;
const TRADES_KEPT = 200;

export class Watched {
  constructor(env, ticker) {
    this.book = new Book(env, ticker);
    this.listeners = new Set();
    this.trades = []; // newest last
    this.heardAt = null; // when the book last told of itself, by the page's clock
    this.isSlow = false; // the server has left something out for us
    this.error = null; // why there is no such book: until one comes
  }

  #tradesEpoch = null;
  #tradeNumber = 0;
  #bookAskedAt = -Infinity;
  #tradesAskedAt = -Infinity;
  #doubtedBeats = 0;

  // Takes one frame; returns what to ask the server for: {op: "snapshot"} or {op: "trades", after} or null.
  take(frame, nowMs) {
    if (frame.t === "trade") return this.#trade(frame, nowMs);
    const result = this.book.apply(frame);
    if (result === "hole") return this.#askBook(nowMs);
    if (result !== "applied") return null;
    this.#note(frame, nowMs);
    this.#tell(frame);
    return frame.t === "book" ? this.#checkTrades(frame, nowMs) : null;
  }

  // A connection is gone: whatever is missed meanwhile, only a whole book brings back.
  lose() {
    this.book.isWhole = false;
    this.isSlow = false;
    this.#bookAskedAt = this.#tradesAskedAt = -Infinity;
    this.#doubtedBeats = 0;
  }

  // The server knows no such market now: it may know it later, and then the book comes.
  refuse(why) {
    this.lose();
    this.error = why;
  }

  // Called at each beat. Normally the server knows that we wait; what it has not brought for some beats is asked for.
  remind(nowMs) {
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

  #trade(frame, nowMs) {
    if (frame.e !== this.#tradesEpoch) this.#beginTrades(frame.e);
    if (frame.k <= this.#tradeNumber) return null;
    // A hole is asked for once; what the relay no longer has is left out.
    if (frame.k > this.#tradeNumber + 1 && Math.abs(nowMs - this.#tradesAskedAt) >= ASK_AGAIN_MS) return this.#askTrades(nowMs);
    this.#tradeNumber = frame.k;
    this.trades.push(frame);
    if (this.trades.length > TRADES_KEPT) this.trades.shift();
    this.#tell(frame);
    return null;
  }

  #checkTrades(frame, nowMs) {
    // Fewer trades than we have had: they are counted anew.
    if (frame.e !== this.#tradesEpoch || frame.k < this.#tradeNumber) this.#beginTrades(frame.e);
    return frame.k > this.#tradeNumber ? this.#askTrades(nowMs) : null;
  }

  #askTrades(nowMs) {
    this.#tradesAskedAt = nowMs;
    return { op: "trades", after: this.#tradeNumber };
  }

  #beginTrades(epoch) {
    this.#tradesEpoch = epoch;
    this.#tradeNumber = 0;
    this.trades = [];
  }

  #tell(frame) {
    for (const listener of this.listeners) listener(this.book, frame);
  }
}
