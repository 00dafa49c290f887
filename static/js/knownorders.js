// What a page knows of each order of the team. The socket and the answers of calls overtake one another, so each word
// of an order is judged before it is shown.

// States that nothing follows.
export const ENDED = new Set(["executed", "canceled", "denied", "rejected", "lapsed", "not_placed"]);

// Whether `order` says less than `held`, another word of the same order. An end is never taken back. Otherwise the
// team's number decides: a frame holds everything up to its number, and maybe more, which its own time tells.
export function isOlder(order, held) {
  if (ENDED.has(order.state) !== ENDED.has(held.state)) return ENDED.has(held.state);
  return order.n === held.n ? order.updated_at < held.updated_at : order.n < held.n;
}

export class KnownOrders {
  #held = new Map(); // id → the newest frame

  // Takes a word of an order; false when something newer is known already.
  take(order) {
    const held = this.#held.get(order.id);
    if (held && isOlder(order, held)) return false;
    this.#held.set(order.id, order);
    return true;
  }

  get(id) {
    return this.#held.get(id) ?? null;
  }

  // Ids of the orders that have not ended, as far as is known here.
  open() {
    return [...this.#held.values()].filter((order) => !ENDED.has(order.state)).map((order) => order.id);
  }

  // The team's numbers begin anew: nothing that is known can be compared with what comes.
  forget() {
    this.#held.clear();
  }
}
