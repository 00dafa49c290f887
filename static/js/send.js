// From the ticket to the exchange and back: review, confirm, send once, and after a lost answer ask, never send again.

import { write } from "./dom.js";
import { outcomeWords } from "./orderwords.js";

const ANSWER_MS = 15_000;
const ASK_AGAIN_MS = 1_500;
const ASK_TIMES = 20;

export class Sending {
  #form;
  #ticket;
  #isBlocked = () => null;
  #onOrder;
  #isSending = false;
  #asked = null; // the body whose review has been asked for; another one, or none, once the ticket has changed
  #reviewed = null; // the body whose sums are shown: this is what a confirmation sends, and nothing else
  #why = null; // nothing may be sent now
  #shown = null; // id of the order whose outcome stands in the ticket

  // isBlocked(): a sentence while nothing may be sent (a stale book), else null; onOrder(frame) takes an answer and
  // returns the newest that is known of the order.
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
    ticket.onChange(() => this.#changed());
    this.judge();
  }

  // Called as the book's state changes: what may not be sent cannot be pressed. The buttons stay enabled for the
  // browser, which would take the keyboard away from a disabled one.
  judge() {
    const why = this.#isBlocked();
    write(this.#part("[data-checks]"), why ?? "");
    mark(this.#part("[data-send]"), why !== null || this.#asked !== null);
    mark(this.#part("[data-confirm]"), why !== null || this.#isSending);
    if (why === this.#why) return;
    this.#why = why;
    if (this.#reviewed && !this.#isSending) this.#complain(why === null ? null : [null, why]);
  }

  // The market's grid has changed: a price that is no longer on it is no longer under review, and said to be wrong.
  recheck() {
    const fault = this.#ticket.gridFault;
    if (fault === null || this.#isSending) return;
    this.#complain(fault);
    this.#reopen();
  }

  // What was reviewed is not what stands in the ticket now. What is on its way stays as it is.
  #changed() {
    if (this.#isSending) return;
    this.#complain(null);
    this.#forget();
    if (this.#asked || this.#reviewed) this.#reopen();
  }

  // News of an order: the outcome in the ticket goes on being true.
  told(order) {
    if (order.id === this.#shown) this.#outcome(outcomeWords(order), order.state);
  }

  // The server's own sums, of exactly what will be sent.
  async #review() {
    if (this.#asked || this.#isSending) return;
    const fault = this.#ticket.fault ?? (this.#isBlocked() ? [null, this.#isBlocked()] : null);
    if (fault) return this.#complain(fault);
    this.#complain(null);
    this.#forget();
    const body = (this.#asked = new URLSearchParams(new FormData(this.#form)));
    this.judge();
    const said = await this.#ask(this.#form.dataset.review, body).catch(() => null);
    if (this.#asked !== body) return; // these are the sums of another ticket
    this.#asked = null;
    if (said === null) this.#complain([null, "The desk did not answer; nothing was sent. Try again."]);
    else if (said.fault) this.#complain([said.fault.field, said.fault.text]);
    else this.#confirm(said, body);
    this.judge();
  }

  #confirm(said, body) {
    const isHere = this.#form.contains(document.activeElement) || document.activeElement === document.body;
    this.#reviewed = body;
    this.#ticket.isUnderReview = true;
    for (const [name, text] of Object.entries(said.sums)) write(this.#part(`[data-sum="${name}"]`), text);
    write(this.#part("[data-confirm-note]"), said.words);
    write(this.#part("[data-confirm]"), said.send);
    this.#part("[data-ticket-fields]").inert = true;
    this.#part("[data-ticket-foot]").hidden = true;
    this.#part("[data-confirm-foot]").hidden = false;
    if (isHere) this.#part("[data-confirm]").focus();
  }

  // Back to the fields; the keyboard goes on where the ticket does.
  #reopen() {
    const hasKeyboard = this.#part("[data-confirm-foot]").contains(document.activeElement);
    this.#asked = this.#reviewed = null;
    this.#ticket.isUnderReview = false;
    this.#part("[data-ticket-fields]").inert = false;
    this.#part("[data-ticket-foot]").hidden = false;
    this.#part("[data-confirm-foot]").hidden = true;
    this.#ticket.draw();
    this.judge();
    if (hasKeyboard) (this.#part('[aria-invalid="true"]') ?? this.#part("[data-send]")).focus();
  }

  async #send() {
    if (this.#isSending || this.#reviewed === null || this.#isBlocked() !== null) return;
    this.#isSending = true;
    this.judge();
    this.#part("[data-back]").hidden = true;
    this.#outcome("→ sending");
    try {
      this.#answered(await this.#ask(this.#form.action, this.#reviewed));
    } catch {
      await this.#lost();
    } finally {
      this.#isSending = false;
      this.#part("[data-back]").hidden = false;
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
    this.told(this.#onOrder(order));
  }

  async #ask(url, body) {
    const answer = await fetch(url, {
      method: "POST",
      body,
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

function mark(button, isDead) {
  button.setAttribute("aria-disabled", String(isDead));
}
