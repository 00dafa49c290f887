// The team's own news over one socket: frames numbered without holes, asked for again whenever one is missing.

import { LiveSocket } from "./socket.js";

const ASK_AGAIN_MS = 500;
const BEAT_LOST_MS = 2_500; // the server beats once a second

export class DeskClient {
  #socket;
  #env;
  #number; // of the newest frame taken; the page's own rows were drawn at the first
  #listeners = new Set();
  #lostListeners = new Set();
  #askedAt = -Infinity;
  #beatAt = -Infinity;

  constructor({ url, env, number }) {
    this.#env = env;
    this.#number = number;
    this.#socket = new LiveSocket(url, {
      onOpen: () => this.#opened(),
      onFrames: (frames) => frames.forEach((frame) => this.#take(frame)),
      onDown: () => (this.#beatAt = -Infinity),
    });
  }

  // Whether what is shown of the team's orders is as the desk knows it, by the page's own clock.
  isCurrent(nowMs) {
    return Math.abs(nowMs - this.#beatAt) <= BEAT_LOST_MS;
  }

  // listener(frame) for each order or fill of this environment, in the order of their numbers. Returns a stopper.
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // listener() when too much has happened to be told: rows have to be fetched anew.
  onLost(listener) {
    this.#lostListeners.add(listener);
    return () => this.#lostListeners.delete(listener);
  }

  stop() {
    this.#socket.stop();
  }

  #opened() {
    this.#askedAt = -Infinity;
    this.#ask();
  }

  #ask() {
    const nowMs = Date.now();
    if (nowMs - this.#askedAt < ASK_AGAIN_MS) return; // the next beat shows the hole again
    this.#askedAt = nowMs;
    this.#socket.send({ op: "after", n: this.#number });
  }

  #take(frame) {
    if (frame.t === "beat") this.#beaten(frame);
    else if (frame.t === "lost") this.#lost(frame);
    else if (frame.t === "order" || frame.t === "fill") this.#told(frame);
  }

  #beaten(beat) {
    this.#beatAt = Date.now();
    if (beat.n !== this.#number) this.#ask();
  }

  #lost(frame) {
    this.#number = frame.n;
    for (const listener of this.#lostListeners) listener();
  }

  #told(frame) {
    if (frame.n <= this.#number) return;
    if (frame.n > this.#number + 1) {
      this.#ask();
      return;
    }
    this.#number = frame.n;
    if (frame.env !== this.#env) return;
    for (const listener of this.#listeners) listener(frame);
  }
}
