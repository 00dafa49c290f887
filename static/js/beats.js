// What the server's beats tell of the way to the exchange, and until when. No page, no network.
//
// Labels come from the page's own clock as well: no beat from the server for 2.5 s is DOWN, whatever was said before.

import { Lag } from "./lag.js";

const BEAT_LOST_MS = 2_500; // the server beats once a second
const SIGNED_OUT = 4401;
const NEVER_HEARD = -1; // the server has nothing of the feed on its present way to it: frames may be lost for good

export class Beats {
  #beat = null;
  #heardAt = -Infinity;
  #lag = new Lag(); // of this connection
  #isOpen = false;
  #ended = null; // why nothing more will come

  open() {
    this.#isOpen = true;
    this.#lag = new Lag();
  }

  close(code) {
    this.#isOpen = false;
    this.#ended ??= code === SIGNED_OUT ? "signed out" : null;
  }

  end(why) {
    this.#isOpen = false;
    this.#ended = why;
  }

  // `tickMs` by a clock that nobody sets.
  take(beat, nowMs, tickMs) {
    this.#beat = beat;
    this.#heardAt = nowMs;
    this.#lag.note(beat.at, tickMs);
  }

  // Whose numbers count now; null before the first beat.
  get epoch() {
    return this.#beat?.e ?? null;
  }

  get isFeedLost() {
    return this.#beat?.hub_ms === NEVER_HEARD;
  }

  get isLagLasting() {
    return this.#lag.isLasting;
  }

  // {state, why, ageMs}; `ageMs` is how old the feed's last sign of life is, and how old its last data where it has
  // stalled: signs of life that bring none vouch for nothing.
  label(nowMs) {
    const beat = this.#beat;
    const toldMs = beat?.feed === "stale" ? (beat.heard ?? beat.age) : beat?.age;
    const ageMs = toldMs == null ? null : toldMs + this.#sinceMs(nowMs);
    return { ...(this.lost(nowMs) ?? this.upstream() ?? this.#well()), ageMs };
  }

  // How old something is that the server dates at `atMs`, by the server's own clock; null before the first beat.
  ageOf(atMs, nowMs) {
    return this.#beat === null ? null : Math.max(0, this.#beat.at - atMs) + this.#sinceMs(nowMs);
  }

  // What is wrong between server and page; null where nothing is.
  lost(nowMs) {
    if (this.#ended !== null) return { state: "DOWN", why: this.#ended };
    if (!this.#isOpen || Math.abs(nowMs - this.#heardAt) > BEAT_LOST_MS) return { state: "DOWN", why: "server lost" };
    if (this.#lag.isBehind) return { state: "STALE", why: "this browser has fallen behind" };
    return null;
  }

  // What is wrong between exchange and server; null where nothing is. Only after the first beat.
  upstream() {
    if (this.#beat.feed === "down") return { state: "DOWN", why: this.#beat.why };
    if (this.#beat.feed === "stale") return { state: "STALE", why: this.#beat.why };
    return null;
  }

  // Without a stream nothing is wrong, and nothing is live: each market's own label says as much.
  #well() {
    return this.#beat.feed === "polled" ? { state: "POLLED", why: this.#beat.why } : { state: "LIVE", why: "" };
  }

  #sinceMs(nowMs) {
    return this.#lag.ms + Math.max(0, nowMs - this.#heardAt);
  }
}
