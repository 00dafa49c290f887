// The team's orders in a table: drawn by the server once, from then on by the frames of the desk socket.

import { write } from "./dom.js";
import { cents, clock, contracts, dollars, NONE, side } from "./format.js";
import { canCancel, drawCell, stateKind } from "./orderwords.js";

const NO_ORDER = "00000000-0000-0000-0000-000000000000"; // stands in the template's addresses
const UNTIL = { good_till_canceled: "GTC", immediate_or_cancel: "IOC", fill_or_kill: "FOK" };
const GREY_MS = 30_000; // how long an order that has ended stays in a list of working ones

export class OrdersTable {
  #body;
  #template;
  #empty;
  #rows = new Map(); // id → {element, order}
  #keep;
  #names;
  #onChange;
  #onAnswer;

  // keep(order): whether a new order belongs into this table; `isWorking(order)`: whether it stays once it has changed;
  // onAnswer(order): a cancel's answer, which may be older than what is shown (see knownorders.js).
  constructor(root, { keep, onAnswer, names = {}, isWorking = null, onChange = () => {} }) {
    this.#body = root.querySelector("[data-order-rows]");
    this.#template = root.parentElement.parentElement.querySelector("[data-order-template]");
    this.#empty = root.parentElement.querySelector("[data-orders-empty]");
    this.#keep = keep;
    this.#names = names;
    this.#onChange = onChange;
    this.#onAnswer = onAnswer;
    this.isWorking = isWorking;
    for (const element of this.#body.children) this.#rows.set(element.dataset.order, { element, order: null });
    this.#body.addEventListener("submit", (event) => this.#cancel(event));
  }

  get size() {
    return this.#rows.size;
  }

  // Draws one frame.
  take(order) {
    const held = this.#rows.get(order.id);
    if (!held && !this.#keep(order)) return;
    const element = held?.element ?? this.#add(order);
    this.#rows.set(order.id, { element, order });
    const button = element.querySelector("[data-cancel] button");
    const hasKeyboard = button === document.activeElement;
    this.#draw(element, order);
    if (hasKeyboard && button.parentElement.hidden) this.#passKeyboard(button);
    if (this.isWorking && !this.isWorking(order)) setTimeout(() => this.#remove(order.id), GREY_MS);
    if (this.#empty) this.#empty.hidden = this.#rows.size > 0;
    this.#onChange(order);
  }

  #add(order) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    element.dataset.order = order.id;
    const form = element.querySelector("[data-cancel]");
    form.setAttribute("action", form.getAttribute("action").replace(NO_ORDER, order.id)); // a template has no base URL
    this.#body.prepend(element);
    return element;
  }

  #remove(id) {
    const held = this.#rows.get(id);
    if (!held || this.isWorking(held.order)) return;
    if (held.element.contains(document.activeElement)) this.#passKeyboard(document.activeElement);
    held.element.remove();
    this.#rows.delete(id);
    if (this.#empty) this.#empty.hidden = this.#rows.size > 0;
    this.#onChange(held.order);
  }

  // From a button that goes to the next one below that can be pressed, else the one above, else to the whole list.
  #passKeyboard(from) {
    const others = [...this.#body.querySelectorAll("[data-cancel]:not([hidden]) button")].filter((one) => one !== from);
    const isBelow = (one) => from.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING;
    const next = others.find(isBelow) ?? others.at(-1) ?? this.#body.closest("[tabindex]");
    next.focus();
  }

  #draw(element, order) {
    element.dataset.orderState = order.state;
    const put = (name, text) => write(element.querySelector(`[data-cell="${name}"]`), text);
    drawCell.who(element.querySelector('[data-cell="who"]'), order);
    put("time", clock(order.at));
    drawCell.market(element.querySelector('[data-cell="market"]'), order, this.#names[order.m] ?? order.m);
    drawCell.words(element.querySelector('[data-cell="words"]'), order, side);
    put("price", cents(order.price));
    put("filled", order.state === "unknown" ? "?" : contracts(order.filled));
    put("count", contracts(order.count));
    put("average", order.avg === null ? NONE : cents(order.avg));
    put("until", UNTIL[order.tif] ?? order.tif);
    put("fees", order.fees ? dollars(order.fees) : NONE);
    const state = element.querySelector('[data-cell="state"]');
    state.dataset.state = stateKind(order);
    write(state.lastElementChild, order.words);
    put("last", order.reason);
    element.querySelector('[data-cell="last"]').title = order.reason;
    element.querySelector("[data-cancel]").hidden = !canCancel(order);
  }

  // Sends the cancel without leaving the page; what the server refuses stays in the row.
  async #cancel(event) {
    const form = event.target.closest("[data-cancel]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.ariaDisabled === "true") return; // a disabled one would lose the keyboard
    button.ariaDisabled = "true";
    const row = form.closest("[data-order]");
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" },
      });
      const said = await answer.json();
      if (said.order) this.#onAnswer(said.order);
      if (said.fault) this.#complain(row, said.fault.text);
    } catch {
      this.#complain(row, "No answer: the cancel may have arrived. The state here will tell.");
    } finally {
      button.ariaDisabled = null;
    }
  }

  #complain(row, text) {
    const where = row.querySelector('[data-cell="last"]');
    write(where, text);
    where.classList.add("danger");
    where.classList.remove("opt");
  }
}
