// The market's trades, newest first: side by word, sign and colour.

import { node, write } from "./dom.js";
import { cents, clock, contracts, side } from "./format.js";

const ROWS = 60;

export class TradesList {
  #body;
  #empty;
  #count;
  #newest = 0; // number of the newest trade drawn
  #epoch = null;

  constructor(root) {
    this.#body = root.querySelector("[data-trades]");
    this.#empty = root.querySelector("[data-trades-empty]");
    this.#count = root.querySelector("[data-trades-count]");
  }

  // Draws what is new of `trades`, oldest first as the feed keeps them.
  draw(trades) {
    const last = trades.at(-1);
    if (!last || last.e !== this.#epoch || last.k < this.#newest) this.#begin(last?.e ?? null); // counted anew
    for (const [index, trade] of trades.entries()) {
      if (trade.k > this.#newest) this.#body.prepend(row(trade, trades[index - 1]));
    }
    if (last) this.#newest = last.k;
    while (this.#body.children.length > ROWS) this.#body.lastElementChild.remove();
    this.#empty.hidden = trades.length > 0;
    write(this.#count, trades.length ? `last ${Math.min(ROWS, trades.length)}` : "");
  }

  #begin(epoch) {
    this.#epoch = epoch;
    this.#newest = 0;
    this.#body.replaceChildren();
  }
}

// Where the price of a trade stands against the one before.
export function direction(trade, before) {
  if (!before || before.p === trade.p) return "";
  return trade.p > before.p ? "▲" : "▼";
}

function row(trade, before) {
  const made = node("tr");
  const taker = node("td");
  taker.append(node("span", trade.side, `buys ${side(trade.side)}`));
  const price = node("td", "n");
  price.append(node("span", "quiet", direction(trade, before)), " ", node("b", trade.side, cents(trade.p)));
  made.append(node("td", "quiet", trade.ts === null ? "–" : clock(trade.ts)), taker, price, node("td", "n", contracts(trade.c)));
  return made;
}
