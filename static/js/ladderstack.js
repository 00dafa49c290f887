// The rows of a ladder one above the other: which there are, in which order, and what stands where in the window.

import { node } from "./dom.js";
import { LadderRow } from "./ladderrows.js";

const CHUNK_ROWS = 25; // left out of layout together while none of them is near the view

export class LadderStack {
  rows = []; // LadderRow, highest YES price first, whatever the view
  side = "yes"; // whose prices are large; of NO the rows go the other way round
  #scroll;
  #grid; // every price that an order may have now
  #byPrice = new Map();
  #best = []; // [row, class] of the best prices

  constructor(scroll, prices) {
    this.#scroll = scroll;
    this.setGrid(prices);
    this.make();
  }

  row(price) {
    return this.#byPrice.get(price) ?? null;
  }

  setGrid(prices) {
    this.#grid = new Set(prices);
  }

  // Rows for the grid, for what stands elsewhere, and for `more` prices; a row that was there stays the same one.
  make(more = []) {
    const standing = this.rows.filter((row) => row.isInUse).map((row) => row.price);
    const prices = [...new Set([...this.#grid, ...standing, ...more])].sort((one, other) => other - one);
    this.rows = prices.map((price) => this.row(price) ?? new LadderRow(price));
    this.#byPrice = new Map(this.rows.map((row) => [row.price, row]));
    for (const row of this.rows) row.setOnGrid(this.#grid.has(row.price));
  }

  // Returns [row, sides] of the rows whose sizes changed.
  setSizes({ bids, asks }) {
    const changed = [];
    for (const row of this.rows) {
      const names = row.set(bids.get(row.price) ?? null, asks.get(row.price) ?? null);
      if (names.length) changed.push([row, names]);
    }
    return changed;
  }

  // The best prices, and from them outwards the colour of their side.
  markBest({ bid, ask }) {
    for (const [row, name] of this.#best) row?.element.classList.remove(name);
    this.#best = [[this.row(bid), "best-bid"], [this.row(ask), "best-ask"]];
    for (const [row, name] of this.#best) row?.element.classList.add(name);
    for (const row of this.rows) {
      row.setTone(bid !== null && row.price <= bid ? "yes" : ask !== null && row.price >= ask ? "no" : "");
    }
  }

  // What closing the position would bring at each price; see `Ladder.hold`.
  hold(wordsOf, isGood) {
    const rows = this.inOrder();
    rows.forEach((row, place) => {
      const isLast = wordsOf !== null && place + 1 < rows.length && isGood(row.price) !== isGood(rows[place + 1].price);
      row.setGain(wordsOf === null ? "" : wordsOf(row.price), isLast);
    });
  }

  // Puts all rows into the page anew, in the order of the side in view.
  fill() {
    const chunks = [];
    this.inOrder().forEach((row, place) => {
      row.turn(this.side, place);
      row.isStale = true;
      if (place % CHUNK_ROWS === 0) chunks.push(chunk());
      chunks.at(-1).append(row.element);
    });
    for (const one of chunks) one.style.setProperty("--rows", String(one.children.length));
    this.#scroll.setAttribute("aria-rowcount", String(this.rows.length));
    this.#scroll.replaceChildren(...chunks);
  }

  inOrder() {
    return this.side === "yes" ? this.rows : this.rows.toReversed();
  }

  place(row) {
    const found = this.rows.indexOf(row);
    return this.side === "yes" ? found : this.rows.length - 1 - found;
  }

  nearest(price) {
    return this.rows.reduce((best, one) => (Math.abs(one.price - price) < Math.abs(best.price - price) ? one : best));
  }

  get rowPx() {
    const first = this.#scroll.firstElementChild; // few rows may leave room below them
    return (first && first.clientHeight / first.children.length) || 1;
  }

  // How far a row stands below the window's upper edge.
  pxOf(row) {
    return this.place(row) * this.rowPx - this.#scroll.scrollTop;
  }

  // Scrolls until it stands there.
  scrollTo(row, px) {
    this.#scroll.scrollTop = this.place(row) * this.rowPx - px;
  }

  // The row in the middle of the window.
  middle() {
    const place = Math.floor((this.#scroll.scrollTop + this.#scroll.clientHeight / 2) / this.rowPx);
    return this.inOrder()[Math.min(place, this.rows.length - 1)];
  }
}

function chunk() {
  const made = node("div", "ladder-chunk");
  made.setAttribute("role", "rowgroup");
  return made;
}
