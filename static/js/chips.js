// The team's orders in the ladder: mine solid, a teammate's outlined with initials, what is not sure hatched or dashed.

import { node } from "./dom.js";
import { contracts } from "./format.js";
import { isMine } from "./orderwords.js";

const SHOWN = new Set(["queued", "sending", "resting", "unknown", "needs_human"]);

export function isWorking(order) {
  return SHOWN.has(order.state);
}

export class Chips {
  #ladder;
  #places = new Map(); // "bid 5700" → Map(id → order)
  #placeOf = new Map(); // id → "bid 5700"

  constructor(ladder) {
    this.#ladder = ladder;
  }

  take(order) {
    const before = this.#placeOf.get(order.id);
    const after = isWorking(order) ? `${order.wire_side} ${order.wire_price}` : null;
    if (before && before !== after) {
      this.#places.get(before).delete(order.id);
      this.#placeOf.delete(order.id);
      this.#draw(before);
    }
    if (after === null) return;
    if (!this.#places.has(after)) this.#places.set(after, new Map());
    this.#places.get(after).set(order.id, order);
    this.#placeOf.set(order.id, after);
    this.#draw(after);
  }

  #draw(at) {
    const [name, price] = at.split(" ");
    const row = this.#ladder.rowFor(Number(price)); // an order may rest where the grid of today has no price
    const orders = [...this.#places.get(at).values()].map((order) => ({ ...order, isMine: isMine(order) }));
    row.setOurs(name, orders, grouped(orders).map((group) => chip(group)));
  }
}

// One chip per person and kind at a price: two orders of mine are one number.
function grouped(orders) {
  const groups = new Map();
  for (const order of orders) {
    const kind = kindOf(order);
    const key = `${order.by} ${kind}`;
    const group = groups.get(key) ?? { who: order.who, isMine: order.isMine, kind, side: order.wire_side, left: 0, count: 0, filled: 0, words: [] };
    group.left += order.remaining;
    group.count += order.count;
    group.filled += order.filled;
    group.words.push(`${order.who} ${contracts(order.remaining)} of ${contracts(order.count)}, ${order.words}`);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function kindOf(order) {
  if (order.state === "unknown") return "unknown";
  if (order.state === "needs_human") return "human";
  if (order.cancel_at !== null && order.cancel_at !== undefined) return "cancel";
  return order.state === "resting" ? "resting" : "sending";
}

function chip(group) {
  const made = node("span", `chip chip-${group.side === "bid" ? "yes" : "no"} chip-${group.kind}`);
  if (group.isMine) made.classList.add("chip-me");
  const sign = { unknown: "? ", human: "! " }[group.kind] ?? "";
  const amount = group.filled ? `${contracts(group.filled)}/${contracts(group.count)}` : contracts(group.left);
  made.textContent = `${sign}${group.who} ${amount}`;
  made.title = group.words.join("\n");
  return made;
}
