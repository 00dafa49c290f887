// One market's trades in the order of their numbers, each once. Pure: no page, no clock, no network.
//
// Behind a hole trades wait until the server has been asked for what is missing and has answered, or has not. An answer
// is trades like all others: all that the server remembers, in order. Those that happen are newer than any heard of
// before, so one that is not can only be of an answer, and what would be before the answer's first nobody remembers.

const ASK_AGAIN_MS = 500;
const KEPT = 200; // as many as the server remembers

export class NumberedTrades {
  #tell;
  #epoch = null;
  #number = 0; // of the newest that was handed on
  #known = 0; // the highest heard of
  #waiting = new Map(); // number → trade, ascending
  #askedAt = -Infinity;
  #isAsked = false; // for the hole that there is

  // tell(trade) for each that is handed on.
  constructor(tell) {
    this.#tell = tell;
    this.kept = []; // newest last
  }

  // Takes one trade; returns what to ask the server for: {op: "trades", after} or null.
  take(trade, nowMs) {
    if (trade.e !== this.#epoch) this.#begin(trade.e);
    if (trade.k <= this.#number) return null;
    if (trade.k <= this.#known) this.#passOver(trade.k - 1);
    this.#known = Math.max(this.#known, trade.k);
    this.#waiting.set(trade.k, trade);
    while (this.#waiting.has(this.#number + 1)) this.#handOn(this.#number + 1);
    return this.seek(nowMs);
  }

  // The server tells how many trades there were; returns a question like `take`.
  expect(epoch, number, nowMs) {
    if (epoch !== this.#epoch || number < this.#known) this.#begin(epoch); // fewer than we know of: counted anew
    const question = this.seek(nowMs); // an earlier hole has had its time: what the book tells of is asked for anew
    this.#known = number;
    return question ?? this.seek(nowMs);
  }

  // Looks at the hole, if there is one: asks for it once, and goes on without it where no answer comes in time.
  seek(nowMs) {
    if (this.#number === this.#known) return this.#goOn();
    if (this.#waiting.size > KEPT) return this.#goOn(); // what is missing would no longer be kept
    if (Math.abs(nowMs - this.#askedAt) < ASK_AGAIN_MS) return null;
    if (this.#isAsked) return this.#goOn();
    this.#isAsked = true;
    this.#askedAt = nowMs;
    return { op: "trades", after: this.#number };
  }

  // The server remembers none of those that are missing.
  fillNone() {
    this.#passOver(this.#known);
    this.#isAsked = false;
  }

  // A connection is gone, and with it the answer.
  lose() {
    this.#isAsked = false;
    this.#askedAt = -Infinity;
  }

  #begin(epoch) {
    this.#epoch = epoch;
    this.#number = this.#known = 0;
    this.#waiting.clear();
    this.kept = [];
    this.lose();
  }

  // Looks for nothing more, and hands on all that waits.
  #goOn() {
    for (const number of this.#waiting.keys()) this.#handOn(number);
    this.#known = this.#number; // where nothing waited, a late answer is still good
    this.#isAsked = false;
    return null;
  }

  // Goes on behind this number, with what waits up to it.
  #passOver(last) {
    for (const number of this.#waiting.keys()) if (number <= last) this.#handOn(number);
    this.#number = last;
  }

  #handOn(number) {
    const trade = this.#waiting.get(number);
    this.#waiting.delete(number);
    this.#number = number;
    this.kept.push(trade);
    if (this.kept.length > KEPT) this.kept.shift();
    this.#tell(trade);
  }
}
