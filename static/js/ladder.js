// Draws one market's book into its ladder, at most once a frame of the screen, touching only what changed and is seen.

import { node } from "./dom.js";
import { gridPrices, LadderRow } from "./ladderrows.js";

const MARGIN_ROWS = 3;
const CHUNK_ROWS = 25; // left out of layout together while none of them is near the view

export class Ladder {
  #root;
  #scroll;
  #rows; // LadderRow, highest YES price first, whatever the view
  #byPrice;
  #side = "yes"; // whose prices are large and whose bids stand left
  #best = { bid: null, ask: null };
  #book = null; // to draw with the next frame
  #isCentred = false;
  #lastMark = null;
  #cursor = null; // the row that Tab reaches: where the market is, until the arrows move it
  #view = [0, 0]; // places of the first row in view and of the one behind the last
  #frame = 0; // asked of the screen, 0 when none is

  // `ranges` = [[start, end, step], …]; onPick(price, column) for a click or Enter on a row; prices are of YES.
  constructor(root, ranges, { onPick, onPoint }) {
    this.#root = root;
    this.#scroll = root.querySelector("[data-ladder-scroll]");
    this.#rows = gridPrices(ranges).reverse().map((price) => new LadderRow(price));
    this.#byPrice = new Map(this.#rows.map((row) => [row.price, row]));
    this.#scroll.setAttribute("aria-rowcount", String(this.#rows.length));
    this.#scroll.addEventListener("scroll", () => this.#looked(), { passive: true });
    this.#scroll.addEventListener("click", ({ target }) => {
      const found = place(target);
      if (found) onPick(found.price, found.column);
    });
    this.#scroll.addEventListener("pointermove", ({ target }) => {
      const found = place(target);
      onPoint(found?.price ?? null, found?.column ?? null);
    });
    this.#scroll.addEventListener("pointerleave", () => onPoint(null, null));
    this.#scroll.addEventListener("keydown", (event) => this.#key(event, onPick));
    this.show(root.dataset.side === "no" ? "no" : "yes");
    new ResizeObserver(() => this.#looked()).observe(this.#scroll);
  }

  row(price) {
    return this.#byPrice.get(price) ?? null;
  }

  get side() {
    return this.#side;
  }

  // One book, seen from YES or from NO: rows the other way round, bids left of their own price.
  show(side) {
    this.#side = this.#root.dataset.side = side;
    const chunks = [];
    this.#inOrder().forEach((row, place) => {
      row.turn(side, place);
      row.isStale = true;
      if (place % CHUNK_ROWS === 0) chunks.push(chunk());
      chunks.at(-1).append(row.element);
    });
    for (const one of chunks) one.style.setProperty("--rows", String(one.children.length));
    this.#scroll.replaceChildren(...chunks);
    this.centre();
  }

  draw(book) {
    this.#book = book;
    this.#ask();
  }

  // wordsOf(price) → what closing there would bring; isGood(price) whether that is no loss. Null: nothing is held.
  hold(wordsOf, isGood) {
    const rows = this.#inOrder();
    rows.forEach((row, place) => {
      const isLast = wordsOf !== null && place + 1 < rows.length && isGood(row.price) !== isGood(rows[place + 1].price);
      row.setGain(wordsOf === null ? "" : wordsOf(row.price), isLast);
    });
    this.#ask();
  }

  // The best prices in the middle; the page does so by itself only once.
  centre() {
    const { bid, ask } = this.#best;
    const middle = bid !== null && ask !== null ? (bid + ask) / 2 : (bid ?? ask ?? 5_000);
    const above = Math.floor(this.#scroll.clientHeight / this.#rowPx() / 2); // whole rows, so that none is cut at the top
    this.#scroll.scrollTop = (this.#place(this.#nearest(middle)) - above) * this.#rowPx();
    this.#isCentred = bid !== null || ask !== null;
    if (!this.#scroll.contains(document.activeElement)) this.#setCursor(this.#nearest(middle));
    this.#looked();
  }

  // Marked at its price by a triangle until the next one.
  markTrade(price, isRise) {
    this.#lastMark?.mark.removeAttribute("data-trade");
    this.#lastMark = this.row(price);
    this.#lastMark?.mark.setAttribute("data-trade", isRise ? "up" : "down");
  }

  #inOrder() {
    return this.#side === "yes" ? this.#rows : this.#rows.toReversed();
  }

  #rowPx() {
    return this.#scroll.scrollHeight / this.#rows.length || 1;
  }

  #place(row) {
    const found = this.#rows.indexOf(row);
    return this.#side === "yes" ? found : this.#rows.length - 1 - found;
  }

  // Where the person looks, read when it changes: reading it while drawing would force a layout in every frame.
  #looked() {
    const first = Math.floor(this.#scroll.scrollTop / this.#rowPx()) - MARGIN_ROWS;
    const rows = Math.ceil(this.#scroll.clientHeight / this.#rowPx()) + 2 * MARGIN_ROWS;
    this.#view = [Math.max(0, first), Math.max(0, first) + rows];
    this.#ask();
  }

  #ask() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = 0;
    const isFirst = !this.#isCentred;
    const changed = this.#book ? this.#apply(this.#book) : [];
    this.#book = null;
    if (isFirst && changed.length) this.centre();
    const seen = this.#inOrder().slice(...this.#view);
    const most = Math.max(1, ...seen.map((row) => row.size));
    for (const row of seen) row.draw(most);
    if (isFirst) return;
    const inView = new Set(seen);
    for (const [row, names] of changed) if (inView.has(row)) names.forEach((name) => row.flash(name));
  }

  // Every row takes its sizes; returns [row, sides] of those that changed.
  #apply(book) {
    const changed = [];
    for (const row of this.#rows) {
      const names = row.set(book.bids.get(row.price) ?? null, book.asks.get(row.price) ?? null);
      if (names.length) changed.push([row, names]);
    }
    if (changed.length) this.#markBest(book.best());
    return changed;
  }

  #markBest({ bid, ask }) {
    if (bid === this.#best.bid && ask === this.#best.ask) return;
    for (const [name, price] of [["bid", bid], ["ask", ask]]) {
      this.row(this.#best[name])?.element.classList.remove(`best-${name}`);
      this.row(price)?.element.classList.add(`best-${name}`);
    }
    this.#best = { bid, ask };
    for (const row of this.#rows) {
      row.setTone(bid !== null && row.price <= bid ? "yes" : ask !== null && row.price >= ask ? "no" : "");
    }
  }

  #nearest(price) {
    return this.#rows.reduce((best, one) => (Math.abs(one.price - price) < Math.abs(best.price - price) ? one : best));
  }

  #key(event, onPick) {
    const at = this.#place(this.#cursor);
    const last = this.#rows.length - 1;
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -at, End: last - at };
    if (event.key in steps) {
      event.preventDefault();
      this.#setCursor(this.#inOrder()[Math.min(last, Math.max(0, at + steps[event.key]))]);
      this.#cursor.element.focus();
    } else if (event.key === "Enter" && place(event.target)) {
      event.preventDefault();
      onPick(this.#cursor.price, this.#cursor.ask !== null ? "ask" : "bid");
    }
  }

  #setCursor(row) {
    if (this.#cursor) this.#cursor.element.tabIndex = -1;
    this.#cursor = row;
    row.element.tabIndex = 0;
  }
}

function chunk() {
  const made = node("div", "ladder-chunk");
  made.setAttribute("role", "rowgroup");
  return made;
}

function place(target) {
  const row = target.closest(".ladder-row");
  if (!row) return null;
  const cell = target.closest('[role="gridcell"]');
  const column = cell?.matches(".bid, .ours-bid") ? "bid" : cell?.matches(".ask, .ours-ask") ? "ask" : "price";
  return { price: Number(row.dataset.price), column };
}
