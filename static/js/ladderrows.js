// The rows of a ladder, one for every price an order may have. A row knows its numbers at once and draws them when seen.

import { flash, node, write } from "./dom.js";
import { contracts, plainCents, PRICE_UNITS } from "./format.js";
import { rowWords } from "./ladderwords.js";

const LEAST_BAR = 0.03; // of the lane: something must be seen of the smallest size

const OFF_GRID = "no longer on this market's grid";

// [[start, end, step], …] in $0.0001 → every price, lowest first; nought and one dollar are no order's price.
export function gridPrices(ranges) {
  const found = new Set();
  for (const [start, end, step] of ranges) for (let price = start; price <= end; price += step) found.add(price);
  found.delete(0);
  found.delete(PRICE_UNITS);
  return [...found].sort((one, other) => one - other);
}

export class LadderRow {
  bid = null; // 0.01 contract, null for none
  ask = null;
  isStale = true; // what is drawn is older than what is known
  #gain = "";
  #side = "yes";
  #ours = { bid: [], ask: [] };
  #drawnMost = 0;
  #isOnGrid = true;
  #said = "";

  constructor(price) {
    this.price = price;
    this.element = node("div", "ladder-row");
    this.element.setAttribute("role", "row");
    this.element.dataset.testid = "ladder-row";
    this.element.dataset.price = String(price);
    this.element.dataset.bid = this.element.dataset.ask = "";
    this.element.tabIndex = -1;
    this.gain = cell("gain");
    this.prices = cell("prices");
    this.mark = node("span", "mark");
    this.large = node("b");
    this.small = node("span");
    this.prices.append(this.mark, this.large, this.small);
    this.sides = { bid: sizes("bid"), ask: sizes("ask") };
    this.ours = { bid: cell("ours ours-bid"), ask: cell("ours ours-ask") };
  }

  // Puts the row at its place in the view of an outcome: its bids left, its own price large.
  turn(side, index) {
    this.#side = side;
    const [left, right] = side === "yes" ? ["bid", "ask"] : ["ask", "bid"];
    for (const [name, where, other] of [[left, "left", "right"], [right, "right", "left"]]) {
      for (const one of [this.sides[name].cell, this.ours[name]]) {
        one.classList.add(where);
        one.classList.remove(other);
      }
    }
    const own = side === "yes" ? this.price : PRICE_UNITS - this.price;
    write(this.large, plainCents(own));
    write(this.small, plainCents(PRICE_UNITS - own));
    this.element.setAttribute("aria-rowindex", String(index + 1));
    this.element.replaceChildren(
      this.gain, this.ours[left], this.sides[left].cell, this.prices, this.sides[right].cell, this.ours[right],
    );
    this.#say();
  }

  // Whether something stands here, in the book or of ours.
  get isInUse() {
    return this.bid !== null || this.ask !== null || this.#ours.bid.length > 0 || this.#ours.ask.length > 0;
  }

  // Whether an order may be placed here now: when a grid changes, what rested stays.
  setOnGrid(isOnGrid) {
    if (isOnGrid === this.#isOnGrid) return;
    this.#isOnGrid = isOnGrid;
    this.element.classList.toggle("off-grid", !isOnGrid);
    this.element.title = isOnGrid ? "" : OFF_GRID;
    this.#say();
  }

  get size() {
    return Math.max(this.bid ?? 0, this.ask ?? 0);
  }

  // Takes sizes; returns which sides changed.
  set(bid, ask) {
    const changed = [];
    if (bid !== this.bid) changed.push("bid");
    if (ask !== this.ask) changed.push("ask");
    if (!changed.length) return changed;
    this.bid = bid;
    this.ask = ask;
    for (const name of changed) this.element.dataset[name] = this[name] === null ? "" : String(this[name]);
    this.isStale = true;
    this.#say();
    return changed;
  }

  setOurs(name, orders, chips) {
    this.#ours[name] = orders;
    this.ours[name].replaceChildren(...chips);
    this.#say();
  }

  // What closing the position at this price would bring, in words; "" while nothing is held.
  setGain(words, isLastGood) {
    this.#gain = words;
    this.element.classList.toggle("break-even", isLastGood);
    this.isStale = true;
    this.#say();
  }

  setTone(tone) {
    if (this.element.dataset.tone !== tone) this.element.dataset.tone = tone;
  }

  flash(name) {
    if (this[name] !== null) flash(this.sides[name].cell, name === "bid" ? "yes" : "no");
  }

  // `most` is the size whose bar fills its lane.
  draw(most) {
    if (!this.isStale && most === this.#drawnMost) return;
    this.isStale = false;
    this.#drawnMost = most;
    write(this.gain, this.#gain);
    for (const name of ["bid", "ask"]) this.#drawSide(name, this.sides[name], most);
  }

  #drawSide(name, parts, most) {
    const size = this[name];
    const [whole, rest] = size === null ? ["", ""] : contracts(size).split(".");
    write(parts.whole, whole);
    write(parts.rest, rest ? `.${rest}` : "");
    const hidden = size === null ? 1.1 : 1 - Math.max(LEAST_BAR, Math.min(1, size / most));
    const sign = parts.cell.classList.contains("left") ? "" : "-";
    const moved = `translateX(${sign}${(hidden * 100).toFixed(1)}%)`;
    if (parts.moved !== moved) parts.bar.style.transform = parts.moved = moved;
  }

  #say() {
    const shown = { price: this.price, bid: this.bid, ask: this.ask, ours: this.#ours, gain: this.#gain, side: this.#side };
    const words = rowWords(shown) + (this.#isOnGrid ? "" : `, ${OFF_GRID}`);
    if (words !== this.#said) this.element.setAttribute("aria-label", (this.#said = words));
  }
}

// A lane that cuts off what its bar is moved out: a moved bar costs no layout, a bar of another width does.
function sizes(name) {
  const where = cell(name);
  const lane = node("span", "lane");
  const bar = node("span", "bar");
  const size = node("span", "size");
  const [whole, rest] = [node("span"), node("small")];
  lane.append(bar);
  size.append(whole, rest);
  where.append(lane, size);
  return { cell: where, bar, whole, rest, moved: "" };
}

function cell(name) {
  const made = node("div", name);
  made.setAttribute("role", "gridcell");
  return made;
}

// Which price and which column an element of a row belongs to; null outside of rows.
export function placeOf(target) {
  const row = target.closest(".ladder-row");
  if (!row) return null;
  const found = target.closest('[role="gridcell"]');
  const column = found?.matches(".bid, .ours-bid") ? "bid" : found?.matches(".ask, .ours-ask") ? "ask" : "price";
  return { price: Number(row.dataset.price), column };
}
