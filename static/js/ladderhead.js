// The head of the ladder: whose prices it shows, kept by the address, and the best prices of that outcome.

import { write } from "./dom.js";
import { cents, PRICE_UNITS } from "./format.js";

const WORDS = { yes: ["YES", "NO"], no: ["NO", "YES"] };

export class LadderHead {
  #part;
  #buttons;
  #ladder;
  #best = { bid: null, ask: null };
  #onTurn;

  // onTurn() after the ladder shows the other outcome.
  constructor(root, ladder, { onTurn }) {
    this.#part = (selector) => root.querySelector(selector);
    this.#buttons = [...root.querySelectorAll("[data-show-side]")];
    this.#ladder = ladder;
    this.#onTurn = onTurn;
    for (const button of this.#buttons) button.addEventListener("click", () => this.show(button.dataset.showSide));
  }

  turn() {
    this.show(this.#ladder.side === "yes" ? "no" : "yes");
  }

  show(side) {
    if (side === this.#ladder.side) return;
    this.#ladder.show(side);
    for (const button of this.#buttons) button.setAttribute("aria-pressed", String(button.dataset.showSide === side));
    const [own, other] = WORDS[side];
    write(this.#part("[data-own-bids]"), `${own} bids`);
    write(this.#part("[data-own-asks]"), `${own} asks`);
    write(this.#part("[data-own-word]"), own);
    write(this.#part("[data-other-word]"), other);
    this.setBest(this.#best);
    keepInAddress(side);
    this.#onTurn();
  }

  // The best prices of YES, as the book has them; shown of the outcome in view.
  setBest({ bid, ask }) {
    this.#best = { bid, ask };
    const isYes = this.#ladder.side === "yes";
    const [ownBid, ownAsk] = isYes ? [bid, ask] : [mirrored(ask), mirrored(bid)];
    this.#draw("bid", ownBid, isYes ? "yes" : "no");
    this.#draw("ask", ownAsk, isYes ? "no" : "yes");
    write(this.#part("[data-ladder-spread]"), bid === null || ask === null ? "–" : cents(ask - bid));
  }

  #draw(name, price, side) {
    const shown = this.#part(`[data-ladder-${name}]`);
    write(shown, price === null ? `no ${name}` : cents(price));
    shown.className = side;
  }
}

function mirrored(price) {
  return price === null ? null : PRICE_UNITS - price;
}

function keepInAddress(side) {
  const url = new URL(location.href);
  if (side === "no") url.searchParams.set("view", "no");
  else url.searchParams.delete("view");
  history.replaceState(null, "", url);
}
