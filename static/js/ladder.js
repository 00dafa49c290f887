// Draws one market's book into its ladder, at most once a frame of the screen, touching only what changed and is seen.

import { placeOf } from "./ladderrows.js";
import { LadderStack } from "./ladderstack.js";

const MARGIN_ROWS = 3;

export class Ladder {
  #root;
  #scroll;
  #stack;
  #best = { bid: null, ask: null };
  #book = null; // to draw with the next frame
  #isCentred = false;
  #lastMark = null;
  #cursor = null; // the row that Tab reaches: where the market is, until the arrows move it
  #view = [0, 0]; // places of the first row in view and of the one behind the last
  #frame = 0; // asked of the screen, 0 when none is
  #isGridNew = false; // its rows come with the next frame
  #onRows;

  // `prices` = the market's grid, of YES as all prices here; onPick(price, column) for a click or Enter on a row;
  // onRows() whenever there are other rows than before.
  constructor(root, prices, { onPick, onPoint, onRows = () => {} }) {
    this.#root = root;
    this.#scroll = root.querySelector("[data-ladder-scroll]");
    this.#stack = new LadderStack(this.#scroll, prices);
    this.#onRows = onRows;
    this.#scroll.addEventListener("scroll", () => this.#looked(), { passive: true });
    this.#scroll.addEventListener("click", ({ target }) => {
      const found = placeOf(target);
      if (found) onPick(found.price, found.column);
    });
    this.#scroll.addEventListener("pointermove", ({ target }) => {
      const found = placeOf(target);
      onPoint(found?.price ?? null, found?.column ?? null);
    });
    this.#scroll.addEventListener("pointerleave", () => onPoint(null, null));
    this.#scroll.addEventListener("focusin", ({ target }) => {
      const found = placeOf(target);
      if (found) this.#setCursor(this.#stack.row(found.price));
    });
    this.#scroll.addEventListener("keydown", (event) => this.#key(event, onPick));
    this.show(root.dataset.side === "no" ? "no" : "yes");
    new ResizeObserver(() => this.#looked()).observe(this.#scroll);
  }

  // The row of a price at which something stands, whether or not the grid has it.
  rowFor(price) {
    if (this.#stack.row(price) === null) this.#make([price]);
    return this.#stack.row(price);
  }

  get side() {
    return this.#stack.side;
  }

  // One book, seen from YES or from NO: rows the other way round, bids left of their own price. Whoever has the
  // keyboard on a row keeps it, where it stands.
  show(side) {
    const focused = this.#focused();
    this.#stack.side = this.#root.dataset.side = side;
    this.#stack.fill();
    if (focused) this.#putBack(focused);
    else this.centre();
  }

  // The exchange may change a market's grid while it is open. What stands off the new one keeps its row.
  follow(prices) {
    this.#stack.setGrid(prices);
    this.#isGridNew = true;
    this.#ask();
  }

  draw(book) {
    this.#book = book;
    this.#ask();
  }

  // wordsOf(price) → what closing there would bring; isGood(price) whether that is no loss. Null: nothing is held.
  hold(wordsOf, isGood) {
    this.#stack.hold(wordsOf, isGood);
    this.#ask();
  }

  // The best prices in the middle; the page does so by itself only once.
  centre() {
    const { bid, ask } = this.#best;
    const middle = bid !== null && ask !== null ? (bid + ask) / 2 : (bid ?? ask ?? 5_000);
    const above = Math.floor(this.#scroll.clientHeight / this.#stack.rowPx / 2); // whole rows: none is cut at the top
    this.#stack.scrollTo(this.#stack.nearest(middle), above * this.#stack.rowPx);
    this.#isCentred = bid !== null || ask !== null;
    if (!this.#scroll.contains(document.activeElement)) this.#setCursor(this.#stack.nearest(middle));
    this.#looked();
  }

  // Marked at its price by a triangle until the next one.
  markTrade(price, isRise) {
    this.#lastMark?.mark.removeAttribute("data-trade");
    this.#lastMark = this.#stack.row(price);
    this.#lastMark?.mark.setAttribute("data-trade", isRise ? "up" : "down");
  }

  // Other rows, with what the person looks at where it was.
  #make(more = []) {
    const middle = this.#stack.middle();
    const held = this.#focused() ?? { row: middle, px: this.#stack.pxOf(middle), hasKeyboard: false };
    this.#stack.make(more);
    this.#stack.fill();
    this.#stack.markBest(this.#best);
    if (this.#isCentred || held.hasKeyboard) this.#putBack(held);
    else this.centre();
    this.#onRows();
  }

  // The row that has the keyboard and where it stands, or null.
  #focused() {
    const row = this.#cursor;
    if (!row?.element.contains(document.activeElement)) return null;
    return { row, px: this.#stack.pxOf(row), hasKeyboard: true };
  }

  // A row, or the one nearest to its price if it is gone, where it stood before.
  #putBack({ row, px, hasKeyboard }) {
    const found = this.#stack.nearest(row.price);
    this.#stack.scrollTo(found, px);
    this.#setCursor(hasKeyboard ? found : this.#stack.nearest(this.#cursor?.price ?? row.price));
    if (hasKeyboard) found.element.focus();
    this.#looked();
  }

  // Where the person looks, read when it changes: reading it while drawing would force a layout in every frame.
  #looked() {
    const { rowPx } = this.#stack;
    const first = Math.floor(this.#scroll.scrollTop / rowPx) - MARGIN_ROWS;
    const rows = Math.ceil(this.#scroll.clientHeight / rowPx) + 2 * MARGIN_ROWS;
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
    const seen = this.#stack.inOrder().slice(...this.#view);
    const most = Math.max(1, ...seen.map((row) => row.size));
    for (const row of seen) row.draw(most);
    if (isFirst) return;
    const inView = new Set(seen);
    for (const [row, names] of changed) if (inView.has(row)) names.forEach((name) => row.flash(name));
  }

  // Every row takes its sizes, and every size has its row; returns [row, sides] of those that changed.
  #apply(book) {
    const changed = this.#stack.setSizes(book);
    const missing = [...book.bids.keys(), ...book.asks.keys()].filter((price) => this.#stack.row(price) === null);
    if (missing.length || this.#isGridNew) {
      this.#isGridNew = false;
      this.#make(missing);
      changed.push(...this.#stack.setSizes(book));
    }
    const { bid, ask } = book.best();
    if (bid !== this.#best.bid || ask !== this.#best.ask) this.#stack.markBest((this.#best = { bid, ask }));
    return changed;
  }

  #key(event, onPick) {
    const at = this.#stack.place(this.#cursor);
    const last = this.#stack.rows.length - 1;
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -at, End: last - at };
    if (event.key in steps) {
      event.preventDefault();
      this.#setCursor(this.#stack.inOrder()[Math.min(last, Math.max(0, at + steps[event.key]))]);
      this.#cursor.element.focus();
    } else if (event.key === "Enter" && placeOf(event.target)) {
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
