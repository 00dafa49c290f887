// How far this page has fallen behind its server, by the times that the server's beats carry. No page, no network.
//
// Against a clock of ours that nobody sets. The smallest difference between the two clocks stands for no lag at all.

const BEHIND_MS = 2_500;
const PATIENCE_MS = 10_000; // twice as much at most: a step of the server's clock hits every page at once
const DRIFT = 0.000_2; // two clocks drift apart by less than this

export class Lag {
  #quickest = Infinity;
  #notedAt = 0;
  #ms = 0;
  #since = null; // when it became too much
  #patienceMs = (1 + Math.random()) * PATIENCE_MS;

  // `sentAt` by the server's clock, `nowMs` by one of ours.
  note(sentAt, nowMs) {
    const difference = nowMs - sentAt;
    this.#quickest = Math.min(this.#quickest + DRIFT * (nowMs - this.#notedAt), difference);
    this.#notedAt = nowMs;
    this.#ms = difference - this.#quickest;
    if (this.#ms <= BEHIND_MS) this.#since = null;
    else this.#since ??= nowMs;
  }

  // How late the last beat was.
  get ms() {
    return this.#ms;
  }

  get isBehind() {
    return this.#since !== null;
  }

  // A lag that stays is a queue somewhere, or the server's clock was set back. A new connection has no queue, and
  // measures anew: on the old one nobody could tell the two apart.
  get isLasting() {
    return this.#since !== null && this.#notedAt - this.#since > this.#patienceMs;
  }
}
