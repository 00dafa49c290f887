// The rows of a ladder: one for every price an order may have, built once, highest first. Changes touch single cells.

import { flash, node, write } from "./dom.js";
import { contracts, plainCents, PRICE_UNITS } from "./format.js";
import { rowWords } from "./ladderwords.js";

// [[start, end, step], …] in $0.0001 → every price, lowest first; nought and one dollar are no order's price.
export function gridPrices(ranges) {
  const found = new Set();
  for (const [start, end, step] of ranges) for (let price = start; price <= end; price += step) found.add(price);
  found.delete(0);
  found.delete(PRICE_UNITS);
  return [...found].sort((one, other) => one - other);
}

export class LadderRow {
  #bid = null;
  #ask = null;
  #ours = { bid: [], ask: [] };

  constructor(price, index) {
    this.price = price;
    this.element = node("div", "ladder-row");
    this.element.setAttribute("role", "row");
    this.element.setAttribute("aria-rowindex", String(index + 1));
    this.element.dataset.testid = "ladder-row";
    this.element.dataset.price = String(price);
    this.element.dataset.bid = this.element.dataset.ask = "";
    this.element.tabIndex = -1;
    this.ourBids = cell("ours ours-bid");
    this.bid = side("bid");
    this.prices = cell("prices");
    this.mark = node("span", "mark");
    this.prices.append(this.mark, node("b", "", plainCents(price)), node("span", "", plainCents(PRICE_UNITS - price)));
    this.ask = side("ask");
    this.ourAsks = cell("ours ours-ask");
    this.element.append(this.ourBids, this.bid.cell, this.prices, this.ask.cell, this.ourAsks);
    this.say();
  }

  // Sizes in 0.01 contract, null for none. Returns whether anything changed.
  set(bid, ask) {
    const isNew = bid !== this.#bid || ask !== this.#ask;
    if (bid !== this.#bid) this.#side("bid", this.bid, (this.#bid = bid));
    if (ask !== this.#ask) this.#side("ask", this.ask, (this.#ask = ask));
    if (isNew) this.say();
    return isNew;
  }

  get size() {
    return Math.max(this.#bid ?? 0, this.#ask ?? 0);
  }

  setOurs(name, orders) {
    this.#ours[name] = orders;
    this.say();
  }

  flash(name) {
    flash(this[name].cell, name === "bid" ? "yes" : "no");
  }

  say() {
    this.element.setAttribute("aria-label", rowWords(this.price, this.#bid, this.#ask, this.#ours));
  }

  #side(name, parts, size) {
    this.element.dataset[name] = size === null ? "" : String(size);
    const [whole, rest] = size === null ? [""] : contracts(size).split(".");
    write(parts.whole, whole);
    write(parts.rest, rest ? `.${rest}` : "");
    parts.bar.hidden = size === null;
    if (size !== null) parts.bar.style.setProperty("--size", String(size));
  }
}

function side(name) {
  const where = cell(name);
  const bar = node("span", "bar");
  const size = node("span", "size");
  const [whole, rest] = [node("span"), node("small")];
  size.append(whole, rest);
  bar.hidden = true;
  where.append(bar, size);
  return { cell: where, bar, whole, rest };
}

function cell(name) {
  const made = node("div", name);
  made.setAttribute("role", "gridcell");
  return made;
}
