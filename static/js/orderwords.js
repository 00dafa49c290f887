// What is said of one order in a row: who, the side both ways, which glyph its state has, and whether it can be cancelled.

import { write } from "./dom.js";
import { cents, contracts, dollars, PRICE_UNITS } from "./format.js";

const body = document.body.dataset;

// The name of the glyph: the state, and what is derived from its numbers.
export function stateKind(order) {
  if (order.state === "resting" && order.cancel_at !== null) return "cancel_sent";
  if (order.state === "resting" && order.filled > 0) return "partly";
  if (order.state === "draft" || order.state === "queued") return "sending";
  return order.state;
}

// Whether I placed it. By the person's id: initials are for reading, and two people may share them.
export function isMine(order) {
  return order.by !== null && String(order.by) === body.myId;
}

export function canCancel(order) {
  if (!order.cancelable) return false;
  return body.mayCancel === "any" || (body.mayCancel === "own" && isMine(order));
}

// "sell NO 43¢": the same order in the other side's words.
export function sameWords(order) {
  const action = order.action === "buy" ? "sell" : "buy";
  return `${action} ${order.side === "yes" ? "NO" : "YES"} ${cents(PRICE_UNITS - order.price)}`;
}

// "partly filled: 15 of 40 at 55.02¢", "denied by the desk: …".
export function outcomeWords(order) {
  if (order.reason) return `${order.words}: ${order.reason}`;
  if (!order.filled) return `${order.words}: ${contracts(order.remaining)} at ${cents(order.price)}`;
  return `${order.words}: ${contracts(order.filled)} of ${contracts(order.count)} at ${cents(order.avg)}, fees ${dollars(order.fees)}`;
}

export const drawCell = {
  who(element, order) {
    write(element, order.who);
    element.classList.toggle("who-me", isMine(order));
  },
  market(element, order, name) {
    if (!element) return;
    write(element, name);
    if (!element.getAttribute("href")) element.href = `/x/${order.env}/markets/${encodeURIComponent(order.m)}/`;
  },
  words(element, order, side) {
    const [main, same] = element.children;
    main.className = order.side;
    write(main, `${order.action} ${side(order.side)}`);
    write(same, `= ${sameWords(order)}`);
  },
};
