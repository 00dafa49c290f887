// Live best prices in lists: each row with data-top follows its market; a price nobody vouches for is hidden.

import { flash, write } from "./dom.js";
import { age, cents, PRICE_UNITS } from "./format.js";
import { everyTick, feed, feedLabel } from "./page.js";

const TRUSTED = new Set(["LIVE", "POLLED", "PAUSED", "CLOSED"]);
const WELL = new Set(["LIVE", "POLLED", "RESYNC"]); // the way to the exchange: a row's own state holds
const WATCHED_MOST = 150; // a page may watch 200 markets

// Follows every [data-top] below `root`; listener(ticker, frame) after each top. Returns a function that stops.
export function followTops(root, listener = () => {}) {
  const rows = [...root.querySelectorAll("[data-top]")].slice(0, WATCHED_MOST).map((element) => new TopRow(element, listener));
  const timer = everyTick((nowMs) => {
    const whole = feedLabel(nowMs);
    for (const row of rows) row.judge(whole, nowMs);
  });
  return () => {
    clearInterval(timer);
    for (const row of rows) row.stop();
  };
}

class TopRow {
  #element;
  #frame = null;
  #rightAt = null; // until when its prices were known to be right

  constructor(element, listener) {
    this.#element = element;
    this.stop = feed.watchTop(element.dataset.top, (frame) => {
      this.#take(frame);
      listener(element.dataset.top, frame);
    });
    range(element.querySelector("[data-top-range]"));
  }

  #take(frame) {
    const before = this.#frame;
    this.#frame = frame;
    if (before === null && TRUSTED.has(this.#state())) this.#element.dataset.topState = frame.state;
    this.#price("bid", frame.bid, before);
    this.#price("ask", frame.ask, before);
    const spread = frame.bid === null || frame.ask === null ? null : frame.ask - frame.bid;
    write(this.#element.querySelector("[data-top-spread]"), cents(spread));
    if (frame.last !== null) write(this.#element.querySelector("[data-top-last]"), cents(frame.last));
    const picture = this.#element.querySelector("[data-top-range]");
    if (!picture) return;
    picture.dataset.bid = frame.bid ?? "";
    picture.dataset.ask = frame.ask ?? "";
    range(picture);
  }

  #price(name, price, before) {
    const cell = this.#element.querySelector(`[data-top-${name}]`);
    if (!cell) return;
    write(cell, cents(price));
    if (!before || before[name] === price) return;
    flash(cell, name === "bid" ? "yes" : "no");
  }

  // A top of another relay's time than the present one's tells nothing of now, as with books.
  #state() {
    if (this.#frame === null) return null;
    const isOfNow = this.#frame.e === feed.epoch && !feed.isTopLate(this.#element.dataset.top);
    return isOfNow ? this.#frame.state : "RESYNC";
  }

  // Before the first top the row shows what the catalogue knew, in grey; a stale one shows its state and no prices.
  judge(whole, nowMs) {
    const own = this.#state();
    const state = own === null ? "WAITING" : WELL.has(whole.state) ? own : whole.state;
    const isTrusted = state === "WAITING" || TRUSTED.has(state);
    this.#element.dataset.topState = isTrusted ? state : "UNTRUSTED";
    write(this.#element.querySelector("[data-top-why]"), isTrusted ? "" : state);
    const ageMs = own === null ? null : this.#ageMs(isTrusted, whole, nowMs);
    write(this.#element.querySelector("[data-top-age]"), ageMs === null ? "–" : age(ageMs));
  }

  // A stream tells every change: its prices are as young as its last sign of life. What is read again and again is as
  // old as the reading, and what nobody vouches for any more has been ageing ever since.
  #ageMs(isTrusted, whole, nowMs) {
    if (isTrusted) {
      const ageMs = this.#frame.at == null ? whole.ageMs : feed.ageOf(this.#frame.at, nowMs);
      this.#rightAt = ageMs === null ? null : nowMs - ageMs;
    }
    return this.#rightAt === null ? null : Math.max(0, nowMs - this.#rightAt);
  }
}

// A mark from bid to ask on a line from 0 to 100¢.
function range(picture) {
  if (!picture) return;
  const bid = picture.dataset.bid === "" ? null : Number(picture.dataset.bid);
  const ask = picture.dataset.ask === "" ? null : Number(picture.dataset.ask);
  const mark = picture.firstElementChild;
  mark.hidden = bid === null && ask === null;
  const from = bid ?? 0;
  const to = ask ?? PRICE_UNITS;
  mark.style.left = `${(100 * from) / PRICE_UNITS}%`;
  mark.style.width = `max(3px, ${(100 * (to - from)) / PRICE_UNITS}%)`;
}
