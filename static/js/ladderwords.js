// What a ladder says in words: its rows to a screen reader, its hint line to everybody.

import { age, contracts, plainCents, PRICE_UNITS, side as sideWord } from "./format.js";

// "YES 57 cents, bid 1,200, you 100 resting, P&L +7.20": what a row shows, in the view of one outcome.
export function rowWords({ price, bid, ask, ours, gain, side }) {
  const [own, bids, asks] = side === "yes" ? [price, bid, ask] : [PRICE_UNITS - price, ask, bid];
  const parts = [`${sideWord(side)} ${plainCents(own)} cents`];
  if (bids !== null) parts.push(`bid ${contracts(bids)}`);
  if (asks !== null) parts.push(`ask ${contracts(asks)}`);
  if (bids === null && asks === null) parts.push("empty");
  for (const order of [...ours.bid, ...ours.ask]) {
    parts.push(`${order.isMine ? "you" : order.who} ${contracts(order.remaining)} ${order.words}`);
  }
  if (gain) parts.push(`P&L ${gain}`);
  return parts.join(", ");
}

const NOTES = {
  STALE: "prices may have moved", RESYNC: "waiting for a fresh snapshot", DOWN: "no feed",
  PAUSED: "trading is paused", CLOSED: "trading has ended",
};

// What lies over a ladder whose book cannot be traded on; "" where it can.
export function noteWords({ state, why, ageMs }) {
  if (!(state in NOTES)) return "";
  const words = why || NOTES[state];
  if (state === "DOWN") return `${words}; cancel still works`;
  return state === "STALE" && ageMs !== null ? `${age(ageMs)} old: ${words}` : words;
}

// "1¢", or "0.1¢ to 1¢" where the steps differ: [[start, end, step], …] in words.
export function tickWords(ranges) {
  const steps = ranges.map(([, , step]) => step);
  const [least, most] = [Math.min(...steps), Math.max(...steps)].map((step) => `${plainCents(step)}¢`);
  return least === most ? least : `${least} to ${most}`;
}

// What a click at this place would put into the ticket.
export function clickWords(price, column, { count, side }) {
  if (column === "bid") return `buy ${count} YES at ${plainCents(price)}¢`;
  if (column === "ask") return `buy ${count} NO at ${plainCents(PRICE_UNITS - price)}¢`;
  return `the price, ${plainCents(side === "yes" ? price : PRICE_UNITS - price)}¢ of ${sideWord(side)}`;
}
