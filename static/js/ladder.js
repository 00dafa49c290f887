// Draws one market's book into its ladder, at most once a frame of the screen, touching only what changed.

import { gridPrices, LadderRow } from "./ladderrows.js";

const ROW_PX = 24;
const MARGIN_ROWS = 2;

export class Ladder {
  #root;
  #scroll;
  #rows = new Map(); // price → LadderRow
  #prices;
  #shown = { bids: new Map(), asks: new Map() };
  #best = { bid: null, ask: null };
  #pending = null; // the book to draw with the next frame
  #isCentred = false;
  #lastMark = null;
  #cursor = null;
  #most = 1;
  #view = [0, 0]; // first and last row in view, a little more
  #frame = 0; // asked of the screen, 0 when none is

  // `ranges` = [[start, end, step], …]; onPick(price, column) for a click or Enter on a row.
  constructor(root, ranges, { onPick, onPoint }) {
    this.#root = root;
    this.#scroll = root.querySelector("[data-ladder-scroll]");
    this.#prices = gridPrices(ranges).reverse();
    const rows = document.createDocumentFragment();
    this.#prices.forEach((price, index) => {
      const row = new LadderRow(price, index);
      this.#rows.set(price, row);
      rows.append(row.element);
    });
    this.#scroll.append(rows);
    this.#scroll.setAttribute("aria-rowcount", String(this.#prices.length));
    this.#scroll.addEventListener("scroll", () => this.#looked(), { passive: true });
    this.#scroll.addEventListener("click", (event) => this.#clicked(event, onPick));
    this.#scroll.addEventListener("pointermove", (event) => this.#pointed(event, onPoint));
    this.#scroll.addEventListener("pointerleave", () => onPoint(null, null));
    this.#scroll.addEventListener("keydown", (event) => this.#key(event, onPick));
    this.#moveCursor(this.#prices[Math.floor(this.#prices.length / 2)], { focus: false });
    new ResizeObserver(() => this.#looked()).observe(this.#scroll);
  }

  row(price) {
    return this.#rows.get(price) ?? null;
  }

  draw(book) {
    this.#pending = book;
    this.#ask();
  }

  // The best prices in the middle; the page does so by itself only once.
  centre() {
    const { bid, ask } = this.#best;
    const middle = bid !== null && ask !== null ? this.#nearest((bid + ask) / 2) : this.#nearest(bid ?? ask ?? 5_000);
    const row = this.#rows.get(middle);
    if (!row) return;
    this.#scroll.scrollTop = row.element.offsetTop - this.#scroll.clientHeight / 2;
    this.#looked();
    this.#isCentred = bid !== null || ask !== null;
  }

  // [price, count, side, …]: marked at its price by a triangle until the next one.
  markTrade(price, isRise) {
    this.#lastMark?.mark.removeAttribute("data-trade");
    this.#lastMark = this.#rows.get(price) ?? null;
    this.#lastMark?.mark.setAttribute("data-trade", isRise ? "up" : "down");
  }

  // Where the person looks, read when it changes: reading it while drawing would force a layout in every frame.
  #looked() {
    const height = this.#scroll.firstElementChild?.offsetHeight || ROW_PX;
    const first = Math.floor(this.#scroll.scrollTop / height) - MARGIN_ROWS;
    this.#view = [Math.max(0, first), first + Math.ceil(this.#scroll.clientHeight / height) + 2 * MARGIN_ROWS];
    this.#ask();
  }

  #ask() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = 0;
    const book = this.#pending;
    this.#pending = null;
    if (book) {
      const isFirst = !this.#isCentred;
      this.#apply(book, { flash: !isFirst });
      if (isFirst) this.centre();
    }
    this.#scaleBars();
  }

  #apply(book, { flash }) {
    const touched = new Set();
    for (const [name, levels] of [["bids", book.bids], ["asks", book.asks]]) {
      const shown = this.#shown[name];
      for (const [price, size] of levels) if (shown.get(price) !== size) touched.add(price);
      for (const price of shown.keys()) if (!levels.has(price)) touched.add(price);
    }
    for (const price of touched) {
      const bid = book.bids.get(price) ?? null;
      const ask = book.asks.get(price) ?? null;
      const row = this.#rows.get(price);
      if (!row) continue; // off the grid: the relay refuses such a book
      const before = [this.#shown.bids.get(price) ?? null, this.#shown.asks.get(price) ?? null];
      row.set(bid, ask);
      if (!flash || !this.#isInView(price)) continue;
      if (bid !== before[0] && bid !== null) row.flash("bid");
      if (ask !== before[1] && ask !== null) row.flash("ask");
    }
    this.#shown = { bids: new Map(book.bids), asks: new Map(book.asks) };
    this.#markBest(book.best());
  }

  #isInView(price) {
    return price <= this.#prices[this.#view[0]] && price >= (this.#prices[this.#view[1]] ?? 0);
  }

  #markBest({ bid, ask }) {
    if (bid === this.#best.bid && ask === this.#best.ask) return;
    this.#rows.get(this.#best.bid)?.element.classList.remove("best-bid");
    this.#rows.get(bid)?.element.classList.add("best-bid");
    this.#best = { bid, ask };
    for (const [price, { element }] of this.#rows) {
      const tone = bid !== null && price <= bid ? "yes" : ask !== null && price >= ask ? "no" : "";
      if (element.dataset.tone !== tone) element.dataset.tone = tone;
    }
  }

  // Bars are scaled to the largest size in view.
  #scaleBars() {
    let most = 1;
    for (const price of this.#prices.slice(...this.#view)) most = Math.max(most, this.#rows.get(price).size);
    if (most === this.#most) return;
    this.#most = most;
    this.#scroll.style.setProperty("--most", String(most));
  }

  #nearest(price) {
    return this.#prices.reduce((best, one) => (Math.abs(one - price) < Math.abs(best - price) ? one : best));
  }

  #clicked(event, onPick) {
    const found = place(event.target);
    if (found) onPick(found.price, found.column);
  }

  #pointed(event, onPoint) {
    const found = place(event.target);
    onPoint(found?.price ?? null, found?.column ?? null);
  }

  #key(event, onPick) {
    const at = this.#prices.indexOf(this.#cursor);
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -at, End: this.#prices.length - 1 - at };
    if (event.key in steps) {
      event.preventDefault();
      const to = Math.min(this.#prices.length - 1, Math.max(0, at + steps[event.key]));
      this.#moveCursor(this.#prices[to], { focus: true });
    } else if (event.key === "Enter" && place(event.target)) {
      event.preventDefault();
      onPick(this.#cursor, this.#shown.asks.has(this.#cursor) ? "ask" : "bid");
    }
  }

  #moveCursor(price, { focus }) {
    const before = this.#rows.get(this.#cursor);
    if (before) before.element.tabIndex = -1;
    this.#cursor = price;
    const row = this.#rows.get(price);
    if (!row) return;
    row.element.tabIndex = 0;
    if (focus) row.element.focus({ preventScroll: false });
  }
}

function place(target) {
  const row = target.closest(".ladder-row");
  if (!row) return null;
  const cell = target.closest('[role="gridcell"]');
  const column = cell?.matches(".bid, .ours-bid") ? "bid" : cell?.matches(".ask, .ours-ask") ? "ask" : "price";
  return { price: Number(row.dataset.price), column };
}
