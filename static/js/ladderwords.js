// What a ladder says in words: its rows to a screen reader, its hint line to everybody.

import { contracts, plainCents, PRICE_UNITS } from "./format.js";

// "57 cents, bid 1,200, you 100, BO 50": what the row of a price shows.
export function rowWords(price, bid, ask, ours) {
  const parts = [`${plainCents(price)} cents`];
  if (bid !== null) parts.push(`bid ${contracts(bid)}`);
  if (ask !== null) parts.push(`ask ${contracts(ask)}`);
  if (bid === null && ask === null) parts.push("empty");
  for (const order of [...ours.bid, ...ours.ask]) {
    parts.push(`${order.isMine ? "you" : order.who} ${contracts(order.remaining)} ${order.words}`);
  }
  return parts.join(", ");
}

// What a click at this place would put into the ticket.
export function clickWords(price, column, count) {
  if (column === "bid") return ["buy", `${count} YES at ${plainCents(price)}¢`, "yes"];
  if (column === "ask") return ["buy", `${count} NO at ${plainCents(PRICE_UNITS - price)}¢`, "no"];
  return ["price", `${plainCents(price)}¢ of YES`, "yes"];
}
