// What a ladder says in words: its rows to a screen reader, its hint line to everybody.

import { contracts, plainCents, PRICE_UNITS, side as sideWord } from "./format.js";

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

// What a click at this place would put into the ticket.
export function clickWords(price, column, { count, side }) {
  if (column === "bid") return `buy ${count} YES at ${plainCents(price)}¢`;
  if (column === "ask") return `buy ${count} NO at ${plainCents(PRICE_UNITS - price)}¢`;
  return `the price, ${plainCents(side === "yes" ? price : PRICE_UNITS - price)}¢ of ${sideWord(side)}`;
}
