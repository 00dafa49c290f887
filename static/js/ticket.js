// The ticket: what it holds, and how it is said. What is sent, and what comes back, is in send.js.

import { node, write } from "./dom.js";
import { cents, COMMA, contracts, dollars, parse, plainCents, PRICE_UNITS, side as sideWord } from "./format.js";
import { around, onTheWire, sums } from "./ticketmath.js";

export class Ticket {
  #form;
  #prices; // every price an order may have, of YES, lowest first
  #fees;
  #best = { bid: null, ask: null, bidSize: null, askSize: null };
  #listeners = new Set();
  isUnderReview = false; // the sums shown are then the server's, of what will be sent

  constructor(form, { prices, fees }) {
    this.#form = form;
    this.#prices = prices;
    this.#fees = fees;
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("click", (event) => this.#clicked(event));
    this.draw();
  }

  // listener() after each change by the person.
  onChange(listener) {
    this.#listeners.add(listener);
  }

  get order() {
    const [action, side] = this.#form.elements.direction.value.split("-");
    return {
      action, side,
      price: parse(this.#form.elements.price.value, 2),
      count: parse(this.#form.elements.count.value, 2),
      isPostOnly: this.#form.elements.post_only.checked,
      stays: this.#form.elements.time_in_force.value === "good_till_canceled",
    };
  }

  get countWords() {
    const { count } = this.order;
    return count ? contracts(count) : "";
  }

  // The exchange has changed the market's grid.
  setPrices(prices) {
    this.#prices = prices;
    this.draw();
  }

  // What is wrong with a price that the grid does not have; null for one that it has, and for none.
  get gridFault() {
    const { price, side } = this.order;
    if (price === null || this.#own(side).includes(price)) return null;
    return ["price", `${plainCents(price)}¢ is not on this market's grid: ${this.#nearWords(price, side)}.`];
  }

  // The first thing that keeps it from being reviewed, in one sentence; null when there is none.
  get fault() {
    const { price, count } = this.order;
    const unread = (name, sentence) => [name, this.#form.elements[name].value.includes(",") ? COMMA : sentence];
    if (this.#form.elements.price.value.trim() === "") return ["price", "Choose a price: click the ladder, or type cents."];
    if (price === null) return unread("price", "A price is a number of cents, such as 57 or 57.5.");
    if (this.gridFault) return this.gridFault;
    if (this.#form.elements.count.value.trim() === "") return ["count", "How many contracts?"];
    if (count === null) return unread("count", "A quantity is a number of contracts with at most two decimals.");
    if (count === 0) return ["count", "An order is for at least 0.01 contract."];
    return null;
  }

  fill({ action, side, price, count }) {
    const { elements } = this.#form;
    if (action && side) elements.direction.value = `${action}-${side}`;
    if (price !== undefined) elements.price.value = plainCents(price);
    if (count !== undefined) elements.count.value = contracts(count).replaceAll(",", "");
    this.#changed();
  }

  // From a row of the ladder: bids buy YES there, asks buy NO there, the price column keeps what is chosen.
  pick(yesPrice, column) {
    const now = this.order;
    if (column === "bid") this.fill({ ...keep(now, "bid", "buy", "yes"), price: undefined });
    if (column === "ask") this.fill({ ...keep(now, "ask", "buy", "no"), price: undefined });
    this.fill({ price: this.order.side === "yes" ? yesPrice : PRICE_UNITS - yesPrice });
  }

  setBest(best) {
    const { bid, ask, bidSize, askSize } = this.#best;
    if (bid === best.bid && ask === best.ask && bidSize === best.bidSize && askSize === best.askSize) return;
    const isFirst = this.#best.bid === null && this.#best.ask === null;
    this.#best = best;
    if (isFirst && this.#form.elements.price.value === "") this.#suggest();
    this.draw();
  }

  // An untouched ticket begins at the best price of its side, so that it already says what it would do.
  #suggest() {
    const { action, side } = this.order;
    const price = this.#joinPrice(action, side);
    if (price !== null) this.#form.elements.price.value = plainCents(price);
  }

  draw() {
    const order = this.order;
    const { side } = order;
    write(this.#part("[data-price-side]"), sideWord(side));
    for (const name of ["buy-yes", "buy-no", "sell-yes", "sell-no"]) {
      write(this.#part(`[data-side-price="${name}"]`), cents(this.#takePrice(...name.split("-"))));
    }
    write(this.#part("[data-join] b"), cents(this.#joinPrice(order.action, side)));
    write(this.#part("[data-take] b"), cents(this.#takePrice(order.action, side)));
    for (const button of this.#form.querySelectorAll("[data-preset]")) {
      button.setAttribute("aria-pressed", String(parse(button.dataset.preset, 2) === order.count));
    }
    this.#say(order);
  }

  #say(order) {
    const found = this.fault ? null : sums(order, this.#fees);
    this.#sayOrder(found ? order : null);
    const other = order.side === "yes" ? "no" : "yes";
    const same = `the same as: ${order.action === "buy" ? "sell" : "buy"} ${contracts(order.count)} ${sideWord(other)} at`;
    write(this.#part("[data-words-same]"), found ? `${same} ${cents(PRICE_UNITS - order.price)} or better` : "");
    for (const name of this.isUnderReview ? [] : ["cost", "fee", "loss", "pays"]) {
      const value = found?.[name];
      write(this.#part(`[data-sum="${name}"]`), value === null ? "not known" : value === undefined ? "–" : dollars(value));
    }
    write(this.#part('[data-sum-label="pays"]'), `Paid if ${sideWord(found?.outcome ?? "yes")}`);
    const send = `Review: ${order.action} ${contracts(order.count)} ${sideWord(order.side)} at ${cents(order.price)}`;
    write(this.#part("[data-send]"), found ? send : "Review");
    write(this.#part("[data-queue]"), found ? this.#queueWords(order) : "");
  }

  // Read aloud at each change of the element, so it is left alone while it says the same.
  #sayOrder(order) {
    const words = this.#part("[data-words]");
    const before = order?.action === "sell" ? "Sell " : "Buy ";
    const amount = order ? node("span", order.side, `${contracts(order.count)} ${sideWord(order.side)}`) : null;
    const parts = order ? [before, amount, ` at ${cents(order.price)} or better`] : ["Choose a price and a quantity."];
    const text = parts.map((part) => part.textContent ?? part).join("");
    if (words.textContent !== text) words.replaceChildren(...parts);
  }

  #queueWords(order) {
    const { wireSide, wirePrice } = onTheWire(order);
    const { bid, ask } = this.#best;
    const takes = wireSide === "bid" ? ask !== null && wirePrice >= ask : bid !== null && wirePrice <= bid;
    if (takes && order.isPostOnly) return "It would trade at once, so post only will have it refused.";
    if (takes) return `Trades at once with what stands at ${cents(this.#takePrice(order.action, order.side))} or better.`;
    if (!order.stays) return "Nothing stands at this price or better: it would be cancelled at once.";
    if (wirePrice === (wireSide === "bid" ? bid : ask)) {
      return `Joins behind ${contracts(wireSide === "bid" ? this.#best.bidSize : this.#best.askSize)}.`;
    }
    return "Rests in the book until somebody takes it.";
  }

  // The price of one's own side at which it trades at once, and the one at which it joins the best of its side.
  #takePrice(action, side) {
    const yes = (action === "buy") === (side === "yes") ? this.#best.ask : this.#best.bid;
    return yes === null ? null : side === "yes" ? yes : PRICE_UNITS - yes;
  }

  #joinPrice(action, side) {
    const yes = (action === "buy") === (side === "yes") ? this.#best.bid : this.#best.ask;
    return yes === null ? null : side === "yes" ? yes : PRICE_UNITS - yes;
  }

  // Every price an order of this side may have, lowest first.
  #own(side) {
    return side === "yes" ? this.#prices : this.#prices.map((yes) => PRICE_UNITS - yes).reverse();
  }

  #nearWords(price, side) {
    const near = around(this.#own(side), price).filter((one) => one !== undefined).map((one) => `${plainCents(one)}¢`);
    return near.length ? `the nearest is ${near.join(" or ")}` : "it has no prices";
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const { action, side, price, count } = this.order;
    if (button.dataset.step) this.fill({ price: this.#stepped(price, side, Number(button.dataset.step)) });
    else if (button.dataset.more) this.fill({ count: Math.max(0, (count ?? 0) + 100 * Number(button.dataset.more)) });
    else if (button.dataset.preset) this.fill({ count: parse(button.dataset.preset, 2) });
    else if (button.matches("[data-join]") && this.#joinPrice(action, side) !== null) this.fill({ price: this.#joinPrice(action, side) });
    else if (button.matches("[data-take]") && this.#takePrice(action, side) !== null) this.fill({ price: this.#takePrice(action, side) });
  }

  #stepped(price, side, step) {
    const own = this.#own(side);
    const from = price ?? this.#joinPrice(this.order.action, side) ?? own[Math.floor(own.length / 2)];
    return around(own, from)[step > 0 ? 1 : 0] ?? from;
  }

  #changed() {
    this.draw();
    for (const listener of this.#listeners) listener();
  }

  #part(selector) {
    return this.#form.querySelector(selector);
  }
}

// A click on a side keeps "sell" where that is what stands there already.
function keep(order, wireSide, action, side) {
  if (onTheWire({ ...order, price: order.price ?? 0 }).wireSide === wireSide) return {};
  return { action, side };
}
