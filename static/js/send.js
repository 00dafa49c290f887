// From the ticket to the exchange and back: review, confirm, send once, and after a lost answer ask, never send again.

import { write } from "./dom.js";
import { cents, contracts, dollars } from "./format.js";

const ANSWER_MS = 15_000;
const ASK_AGAIN_MS = 1_500;
const ASK_TIMES = 20;

export class Sending {
  #form;
  #ticket;
  #isBlocked = () => null;
  #onOrder;
  #isSending = false;
  #shown = null; // id of the order whose outcome stands in the ticket

  // isBlocked(): a sentence while nothing may be sent (a stale book), else null; onOrder(frame) when one is known.
  constructor(form, ticket, { isBlocked, onOrder }) {
    this.#form = form;
    this.#ticket = ticket;
    this.#isBlocked = isBlocked;
    this.#onOrder = onOrder;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#review();
    });
    this.#part("[data-confirm]").addEventListener("click", () => this.#send());
    this.#part("[data-back]").addEventListener("click", () => this.#reopen());
    ticket.onChange(() => {
      this.#complain(null);
      this.#forget();
    });
    this.judge();
  }

  // Called as the book's state changes: what may not be sent cannot be pressed.
  judge() {
    const why = this.#isBlocked();
    const isReviewing = !this.#part("[data-confirm-foot]").hidden;
    write(this.#part("[data-checks]"), why ?? "");
    this.#part("[data-send]").toggleAttribute("disabled", why !== null);
    if (!this.#isSending) this.#part("[data-confirm]").toggleAttribute("disabled", why !== null);
    if (isReviewing && !this.#isSending) this.#complain(why === null ? null : [null, why]);
  }

  // News of an order: the outcome in the ticket goes on being true.
  told(order) {
    if (order.id === this.#shown) this.#outcome(outcomeWords(order), order.state);
  }

  // The server's own sums, of exactly what will be sent.
  async #review() {
    const fault = this.#ticket.fault ?? (this.#isBlocked() ? [null, this.#isBlocked()] : null);
    if (fault) return this.#complain(fault);
    this.#complain(null);
    this.#forget();
    const button = this.#part("[data-send]");
    button.disabled = true;
    try {
      const said = await this.#ask(this.#form.dataset.review);
      if (said.fault) this.#complain([said.fault.field, said.fault.text]);
      else this.#confirm(said);
    } catch {
      this.#complain([null, "The desk did not answer; nothing was sent. Try again."]);
    } finally {
      button.disabled = this.#isBlocked() !== null;
    }
  }

  #confirm(said) {
    for (const [name, text] of Object.entries(said.sums)) write(this.#part(`[data-sum="${name}"]`), text);
    write(this.#part("[data-confirm-note]"), said.words);
    write(this.#part("[data-confirm]"), said.send);
    this.#part("[data-ticket-fields]").inert = true;
    this.#part("[data-ticket-foot]").hidden = true;
    this.#part("[data-confirm-foot]").hidden = false;
    this.#part("[data-confirm]").focus();
  }

  #reopen() {
    this.#part("[data-ticket-fields]").inert = false;
    this.#part("[data-ticket-foot]").hidden = false;
    this.#part("[data-confirm-foot]").hidden = true;
    this.#ticket.draw();
    this.judge();
  }

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    const button = this.#part("[data-confirm]");
    button.disabled = true;
    this.#part("[data-back]").hidden = true;
    this.#outcome("→ sending");
    try {
      this.#answered(await this.#ask(this.#form.action));
    } catch {
      await this.#lost();
    } finally {
      this.#isSending = false;
      this.#part("[data-back]").hidden = false;
      button.disabled = false;
      this.#reopen();
    }
  }

  #answered(said) {
    if (said.order) this.#know(said.order);
    if (said.fault) {
      this.#complain([said.fault.field, said.fault.text]);
      this.#outcome("");
    }
    if (said.next_key) this.#form.elements.idempotency_key.value = said.next_key;
  }

  // The answer is lost, the order may not be: its key tells.
  async #lost() {
    const key = this.#form.elements.idempotency_key.value;
    const url = this.#form.dataset.stateUrl.replace("00000000-0000-0000-0000-000000000000", encodeURIComponent(key));
    this.#outcome("? the answer is lost; asking the desk what became of it");
    for (let attempt = 0; attempt < ASK_TIMES; attempt += 1) {
      try {
        const answer = await fetch(url, { headers: { Accept: "application/json" } });
        if (answer.ok) return this.#answered(await answer.json());
        if (answer.status === 404) {
          this.#outcome("");
          return this.#complain([null, "The order did not reach the desk. Nothing was sent; you may send it again."]);
        }
      } catch {
        // the desk is still away: asked again below
      }
      await new Promise((done) => setTimeout(done, ASK_AGAIN_MS));
    }
    this.#complain([null, "The desk does not answer. Look at the orders below before you send anything again."]);
    return this.#outcome("");
  }

  #know(order) {
    this.#shown = order.id;
    this.#outcome(outcomeWords(order), order.state);
    this.#onOrder(order);
  }

  async #ask(url) {
    const answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams(new FormData(this.#form)),
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    return answer.json();
  }

  #complain(fault) {
    const where = this.#part("[data-fault]");
    where.hidden = fault === null;
    if (fault) write(where.lastElementChild, fault[1]);
    for (const name of ["price", "count"]) {
      this.#form.elements[name].setAttribute("aria-invalid", String(fault?.[0] === name));
    }
  }

  #forget() {
    this.#shown = null;
    this.#outcome("");
  }

  #outcome(text, state = "") {
    const where = this.#part("[data-outcome]");
    where.hidden = text === "";
    where.dataset.state = state;
    write(where, text);
  }

  #part(selector) {
    return this.#form.querySelector(selector);
  }
}

// "partly filled: 15 of 40 at 55.02¢", "denied by the desk: …".
function outcomeWords(order) {
  if (order.reason) return `${order.words}: ${order.reason}`;
  if (!order.filled) return `${order.words}: ${contracts(order.remaining)} at ${cents(order.price)}`;
  return `${order.words}: ${contracts(order.filled)} of ${contracts(order.count)} at ${cents(order.avg)}, fees ${dollars(order.fees)}`;
}
