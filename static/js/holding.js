// What the team holds of the market on the page: in words, what closing it now would bring, and at every price.
//
// `net` is in 0.01 contract, YES positive; `cost` in $0.000001, which is what a count times a price has. No fees.

import { gain as gainWords, PRICE_UNITS, signedDollars } from "./format.js";
import { write } from "./dom.js";

const AGAIN_MS = 300;

// What closing all of it at a YES price would bring, in $0.000001.
export function gainAt({ net, cost }, price) {
  return Math.abs(net) * (net > 0 ? price : PRICE_UNITS - price) - cost;
}

export class Holding {
  #part;
  #ladder;
  #held;
  #best = { bid: null, ask: null };
  #timer = null;

  constructor(root, ladder) {
    this.#part = (name) => root.querySelector(`[data-held-${name}]`);
    this.#ladder = ladder;
    const { net, cost } = root.querySelector("[data-held]").dataset;
    this.#held = { net: Number(net), cost: Number(cost) };
    this.fillLadder();
  }

  setBest(best) {
    if (best.bid === this.#best.bid && best.ask === this.#best.ask) return;
    this.#best = { bid: best.bid, ask: best.ask };
    this.#drawOpen();
  }

  // After a fill: the server adds the fills up, once for those that come together.
  ask() {
    this.#timer ??= setTimeout(async () => {
      this.#timer = null;
      const answer = await fetch("position.json", { headers: { Accept: "application/json" } }).catch(() => null);
      if (answer?.ok) this.#take(await answer.json());
    }, AGAIN_MS);
  }

  #take(held) {
    this.#held = held;
    const words = this.#part("words");
    words.className = held.side;
    write(words, held.words);
    write(this.#part("at"), held.at);
    this.#drawOpen();
    this.fillLadder();
  }

  // At the price at which somebody would take it now.
  #drawOpen() {
    const { net } = this.#held;
    const price = net > 0 ? this.#best.bid : this.#best.ask;
    this.#part("open").hidden = net === 0;
    write(this.#part("gain"), price === null ? "–" : signedDollars(gainAt(this.#held, price)));
  }

  // At every price of the ladder, again when it has been turned or has other rows.
  fillLadder() {
    const held = this.#held;
    if (held.net === 0) return this.#ladder.hold(null);
    return this.#ladder.hold((price) => gainWords(gainAt(held, price)), (price) => gainAt(held, price) >= 0);
  }
}
