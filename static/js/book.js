// One market's book as the frames tell it. Pure: no page, no clock, no network.
//
// Prices are integers of $0.0001 on the YES scale, sizes integers of 0.01 contract. Frames of a market are numbered: a
// book frame replaces everything, a delta (absolute sizes) or state frame must carry the next number of the same epoch.
// Where one is missing, the book is no longer whole and takes nothing but a whole book, whatever its number. A number
// that goes back is either a frame that comes late or a count that has begun anew: nobody can tell, so it is a hole too.

export class Book {
  constructor(env, ticker) {
    this.env = env;
    this.ticker = ticker;
    this.bids = new Map();
    this.asks = new Map();
    this.epoch = null;
    this.number = -1;
    this.up = null; // [connection, sid, seq, clock]: the newest upstream message contained
    this.state = "RESYNC";
    this.why = "waiting for the first book";
    this.grid = null;
    this.status = "";
    this.close = null;
    this.replay = false;
    this.last = null;
    this.ts = null;
    this.at = null;
    this.isWhole = false;
  }

  // Returns "applied", "hole" (ask for a whole book), "old" (came twice) or "ignored" (not for this book).
  apply(frame) {
    if (frame.env !== this.env || frame.m !== this.ticker) return "ignored";
    if (frame.t === "book") return this.#replace(frame);
    if (frame.t !== "delta" && frame.t !== "state") return "ignored";
    const isOurs = this.isWhole && frame.e === this.epoch;
    if (isOurs && frame.n === this.number) return "old";
    if (!isOurs || frame.n !== this.number + 1) return this.#doubt();
    this.number = frame.n;
    this.at = frame.at;
    if (frame.t === "delta") this.#change(frame);
    else this.#label(frame);
    return "applied";
  }

  // Best prices with their sizes; null where nobody bids or asks.
  best() {
    const bid = this.bids.size ? Math.max(...this.bids.keys()) : null;
    const ask = this.asks.size ? Math.min(...this.asks.keys()) : null;
    return { bid, bidSize: this.bids.get(bid) ?? null, ask, askSize: this.asks.get(ask) ?? null };
  }

  // [[price, size], …] of "bids" or "asks", best first.
  levels(side) {
    const sign = side === "bids" ? -1 : 1;
    return [...this[side]].sort((one, other) => sign * (one[0] - other[0]));
  }

  #replace(frame) {
    if (this.isWhole && frame.e === this.epoch && frame.n < this.number) return this.#doubt();
    this.bids = new Map(frame.bids);
    this.asks = new Map(frame.asks);
    this.epoch = frame.e;
    this.number = frame.n;
    this.isWhole = true;
    this.up = frame.up;
    this.ts = frame.ts;
    this.at = frame.at;
    this.grid = frame.grid;
    this.replay = frame.replay;
    this.last = frame.last;
    this.#label(frame);
    return "applied";
  }

  #doubt() {
    this.isWhole = false;
    return "hole";
  }

  #change(frame) {
    for (const [price, size] of frame.b) setLevel(this.bids, price, size);
    for (const [price, size] of frame.a) setLevel(this.asks, price, size);
    this.up = frame.up;
    this.ts = frame.ts;
  }

  #label(frame) {
    this.state = frame.state;
    this.why = frame.why;
    this.status = frame.status;
    this.close = frame.close;
  }
}

function setLevel(side, price, size) {
  if (size === 0) side.delete(price);
  else side.set(price, size);
}
