// What a page holds of one market it watches: the book, its trades, and who listens. No page, no network.

import { Book } from "./book.js";

const ASK_AGAIN_MS = 500;
const TRADES_KEPT = 200;

export class Watched {
  constructor(env, ticker) {
    this.book = new Book(env, ticker);
    this.listeners = new Set();
    this.trades = []; // newest last
    this.heardAt = null; // when the market was last heard of, by the page's clock
    this.isSlow = false; // the server has left something out for us
    this.error = null; // why there is no such book
  }

  #tradesEpoch = null;
  #tradeNumber = 0;
  #bookAskedAt = -Infinity;
  #tradesAskedAt = -Infinity;

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
  }

  #note(frame, nowMs) {
    if (frame.t === "delta") this.heardAt = nowMs;
    if (frame.t !== "book") return;
    this.error = null;
    this.isSlow = false;
    if (frame.quiet !== null) this.heardAt = nowMs - frame.quiet;
  }

  #askBook(nowMs) {
    if (nowMs - this.#bookAskedAt < ASK_AGAIN_MS) return null;
    this.#bookAskedAt = nowMs;
    return { op: "snapshot" };
  }

  #trade(frame, nowMs) {
    if (frame.e !== this.#tradesEpoch) this.#beginTrades(frame.e);
    if (frame.k <= this.#tradeNumber) return null;
    // A hole is asked for once; what the relay no longer has is left out.
    if (frame.k > this.#tradeNumber + 1 && nowMs - this.#tradesAskedAt >= ASK_AGAIN_MS) return this.#askTrades(nowMs);
    this.#tradeNumber = frame.k;
    this.heardAt = nowMs;
    this.trades.push(frame);
    if (this.trades.length > TRADES_KEPT) this.trades.shift();
    this.#tell(frame);
    return null;
  }

  #checkTrades(frame, nowMs) {
    if (frame.e !== this.#tradesEpoch) this.#beginTrades(frame.e);
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
