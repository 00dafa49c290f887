// The market page: one book, its ladder, the ticket beside it, the team's orders in it.

import { bookLabel, drawBookState } from "./bookstate.js";
import { Chips } from "./chips.js";
import { DepthPicture } from "./depth.js";
import { readJson, write } from "./dom.js";
import { cents, contracts, dayClock } from "./format.js";
import { Holding } from "./holding.js";
import { Ladder } from "./ladder.js";
import { LadderHead } from "./ladderhead.js";
import { KnownOrders } from "./knownorders.js";
import { gridPrices } from "./ladderrows.js";
import { clickWords, noteWords, tickWords } from "./ladderwords.js";
import { OrdersTable } from "./orders.js";
import { refetchOrders } from "./ordersfetch.js";
import { canTrade, desk, env, everyTick, feed } from "./page.js";
import { Sending } from "./send.js";
import { listenToKeys } from "./shortcuts.js";
import { Ticket } from "./ticket.js";
import { followTops } from "./tops.js";
import { direction, TradesList } from "./trades.js";

const SENDABLE = new Set(["LIVE", "POLLED"]);

const root = document.querySelector("[data-market]");
const ticker = root.dataset.ticker;
const part = (selector) => root.querySelector(selector);
const ladderRoot = part("[data-ladder]");
const firstGrid = JSON.parse(ladderRoot.dataset.ranges);
const prices = gridPrices(firstGrid);
let grid = JSON.stringify(firstGrid);
const stateParts = {
  element: part("[data-book-state]"),
  whyElement: part("[data-state-why]"),
  saidElement: part("[data-state-said]"),
};
let label = { state: "RESYNC", why: "", ageMs: null };
let isReplay = root.dataset.replay === "yes";
let recordedMs = null; // of a replay: when what it shows was so

// --- the ticket ---

const form = part("[data-ticket]");
const ticket = form && new Ticket(form, {
  prices,
  fees: {
    type: form.dataset.feeType,
    multiplierMicros: Number(form.dataset.feeMultiplierMicros),
    isWaived: form.dataset.feeWaived === "yes",
  },
});
const sending = form && new Sending(form, ticket, {
  isBlocked: () => (SENDABLE.has(label.state) ? null : `The book is ${label.state}: nothing can be sent now.`),
  onOrder(order) {
    takeOrder(order);
    return known.get(order.id) ?? order;
  },
});

// --- the ladder ---

const ladder = new Ladder(ladderRoot, prices, {
  onPick(price, column) {
    if (!ticket || !canTrade || !SENDABLE.has(label.state)) return;
    ticket.pick(price, column);
  },
  onRows: () => holding.fillLadder(),
  onPoint(price, column) {
    if (!ticket || !canTrade) return;
    const hint = part("[data-ladder-hint-text]");
    if (price === null) return write(hint, "A click on a price fills the ticket. It does not send.");
    if (!SENDABLE.has(label.state)) return write(hint, `The book is ${label.state}: a click does nothing.`);
    const said = clickWords(price, column, { count: ticket.countWords || "…", side: ladder.side });
    return write(hint, `A click here fills the ticket: ${said}`);
  },
});
part("[data-centre]").addEventListener("click", () => ladder.centre());
const holding = new Holding(root, ladder);
const head = new LadderHead(ladderRoot, ladder, { onTurn: () => holding.fillLadder() });
const presets = [...root.querySelectorAll("[data-preset]")];
listenToKeys({
  " ": () => ladder.centre(),
  v: () => head.turn(),
  ...Object.fromEntries(presets.map((button, index) => [String(index + 1), () => button.click()])),
});

// --- the book ---

const trades = new TradesList(root);
const depth = new DepthPicture(root);
let depthTimer = null;

feed.watchBook(ticker, (book, frame) => {
  if (frame.t === "trade") return drawTrades();
  if (frame.t === "book" && book.grid?.length) followGrid(book.grid);
  ladder.draw(book);
  drawBest(book.best());
  isReplay = book.replay;
  recordedMs = book.ts ?? recordedMs;
  depthTimer ??= setTimeout(() => {
    depthTimer = null;
    depth.draw(book);
  }, 200);
  if (frame.t === "book") drawTrades(book);
  return drawState();
});

// The exchange may change a market's grid while it is open: the frames have the one of now.
function followGrid(ranges) {
  if (JSON.stringify(ranges) === grid) return;
  grid = JSON.stringify(ranges);
  const now = gridPrices(ranges);
  ladder.follow(now);
  ticket?.setPrices(now);
  sending?.recheck();
  write(part("[data-tick]"), tickWords(ranges));
}

function drawBest(best) {
  const { bid, ask, bidSize, askSize } = best;
  const spread = bid === null || ask === null ? "–" : cents(ask - bid);
  write(part("[data-best-bid]"), bid === null ? "–" : `${cents(bid)} × ${contracts(bidSize)}`);
  write(part("[data-best-ask]"), ask === null ? "–" : `${cents(ask)} × ${contracts(askSize)}`);
  write(part("[data-spread]"), spread);
  head.setBest(best);
  ticket?.setBest(best);
  holding.setBest(best);
}

function drawTrades(book = feed.book(ticker)) {
  const all = feed.trades(ticker);
  trades.draw(all);
  const last = all.at(-1);
  const [price, count] = last ? [last.p, last.c] : (book?.last ?? [null, null]);
  if (price === null) return;
  const sign = last ? direction(last, all.at(-2)) : "";
  write(part("[data-last]"), cents(price));
  write(part("[data-last-trade]"), `${sign ? `${sign} ` : ""}last ${contracts(count)} at ${cents(price)}`);
  ladder.markTrade(price, sign !== "▼");
}

function drawState(nowMs = Date.now()) {
  label = bookLabel(ticker, nowMs);
  drawBookState(stateParts, label, { isReplay, recordedMs });
  const word = isReplay && label.state === "LIVE" ? "REPLAY" : label.state;
  ladderRoot.dataset.state = root.dataset.book = word;
  const note = part("[data-ladder-note]");
  write(note, noteWords(label));
  note.hidden = note.textContent === "";
  sending?.judge();
  if (form) part("[data-ticket-over]").hidden = !(form.hidden = label.state === "CLOSED");
  if (word === "REPLAY" && recordedMs !== null) write(part("[data-ladder-hint-text]"), `Recorded ${dayClock(recordedMs)} ET. Not the present: it can be watched, not traded.`);
}

everyTick(drawState);
followTops(root.querySelector(".strikes"));

// --- the team's orders ---

const known = new KnownOrders();
const chips = new Chips(ladder);
const table = new OrdersTable(part("[data-orders]"), {
  keep: (order) => order.m === ticker,
  onAnswer: takeOrder,
  onChange: () => write(part("[data-orders-count]"), String(table.size)),
});

function takeOrder(order) {
  if (order.m !== ticker || order.env !== env || !known.take(order)) return;
  table.take(order);
  chips.take(order);
  sending?.told(order);
}

for (const order of readJson("orders-data").reverse()) takeOrder(order);
desk.listen((frame) => {
  if (frame.t === "order") takeOrder(frame);
  else if (frame.m === ticker) holding.ask();
});
desk.onLost(({ isAnew }) => {
  const openIds = known.open();
  if (isAnew) known.forget();
  holding.ask();
  return refetchOrders(`?market=${encodeURIComponent(ticker)}`, { openIds, take: takeOrder });
});

// --- the parts, on a phone one at a time ---

for (const button of root.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    root.dataset.view = button.dataset.show;
    for (const other of root.querySelectorAll("[data-show]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
  });
}
