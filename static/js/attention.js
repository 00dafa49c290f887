// What needs a person, above everything that only informs: orders of which nobody knows what became of them.

import { node, write } from "./dom.js";
import { cents, contracts, side } from "./format.js";
import { everyTick } from "./page.js";

const NEEDED = new Set(["unknown", "needs_human"]);

export class Attention {
  #root;
  #names;
  #items = new Map(); // order id → {element, order}

  constructor(root, names) {
    this.#root = root;
    this.#names = names;
    everyTick((nowMs) => this.#age(nowMs));
  }

  take(order) {
    const held = this.#items.get(order.id);
    if (!NEEDED.has(order.state)) {
      held?.element.remove();
      this.#items.delete(order.id);
    } else {
      const element = this.#item(order);
      if (held) held.element.replaceWith(element);
      else this.#root.querySelector("[data-attention-items]").prepend(element);
      this.#items.set(order.id, { element, order });
    }
    const count = this.#root.querySelector("[data-attention-count]");
    write(count, String(this.#items.size));
    count.hidden = this.#items.size === 0;
    this.#root.querySelector("[data-attention-empty]").hidden = this.#items.size > 0;
  }

  #item(order) {
    const made = node("article", "attention-item");
    const isHuman = order.state === "needs_human";
    const title = node("h3", "", isHuman ? `A person has to decide about ${order.who}’s order.` : `Is ${order.who}’s order at the exchange? We do not know yet.`);
    const name = `\u2068${this.#names[order.m] ?? order.m}\u2069`; // whatever its direction, the rest keeps its own
    const what = `${order.action === "buy" ? "Buy" : "Sell"} ${contracts(order.count)} ${side(order.side)} at ${cents(order.price)}, ${name}.`;
    const why = isHuman ? "The exchange’s lists do not settle it." : "Its answer was lost; the desk asks by its id. It counts as exposure until it is found.";
    const link = node("a", "button", "Open the market");
    link.href = `/x/${order.env}/markets/${encodeURIComponent(order.m)}/`;
    const glyph = node("span", `i i-big i-${isHuman ? "person-needed" : "unknown"}`);
    glyph.setAttribute("aria-hidden", "true");
    const body = node("div", "grow");
    body.append(title, node("p", "second", `${what} ${order.reason || why}`), link);
    const since = node("span", "second");
    since.dataset.since = String(order.sent_at ?? order.at);
    made.append(glyph, body, since);
    return made;
  }

  #age(nowMs) {
    for (const since of this.#root.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.floor((nowMs - Number(since.dataset.since)) / 1000));
      write(since, `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
    }
  }
}
