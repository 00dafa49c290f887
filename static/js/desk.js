// The team's own news over one socket: frames numbered without holes, asked for again, page by page, whenever one is
// missing.

import { LiveSocket } from "./socket.js";

const ASK_AGAIN_MS = 500;
const TURNED_AWAY = 4403;
const BEAT_LOST_MS = 2_500; // the server beats once a second

export class DeskClient {
  #socket;
  #env;
  #number; // of the newest frame taken; the page's own rows were drawn at the first
  #newest = 0; // the highest number heard of on this connection
  #listeners = new Set();
  #lostListeners = new Set();
  #askedAt = -Infinity;
  #askedAfter = null; // the number that was asked after, until its answer has come
  #beatAt = -Infinity;
  #refetches = 0; // of rows, not all of them here yet

  // onTurnedAway(): the page is of a team, or of a role, in which its person no longer is.
  constructor({ url, env, number, onTurnedAway = () => {} }) {
    this.#env = env;
    this.#number = number;
    this.#socket = new LiveSocket(url, {
      onOpen: () => this.#opened(),
      onFrames: (frames) => this.#arrived(frames),
      onDown: (code) => {
        this.#beatAt = -Infinity;
        if (code === TURNED_AWAY) onTurnedAway();
      },
      acks: true,
    });
  }

  // Whether what is shown of the team's orders is as the desk knows it, by the page's own clock.
  isCurrent(nowMs) {
    return this.#refetches === 0 && this.#number >= this.#newest && Math.abs(nowMs - this.#beatAt) <= BEAT_LOST_MS;
  }

  // listener(frame) for each order or fill of this environment, in the order of their numbers. Returns a stopper.
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // listener({isAnew}) when too much has happened to be told: rows have to be fetched, and until the promise that it
  // returns is kept, what is shown is not current. `isAnew`: the numbers have begun again, and older ones mean nothing.
  onLost(listener) {
    this.#lostListeners.add(listener);
    return () => this.#lostListeners.delete(listener);
  }

  stop() {
    this.#socket.stop();
  }

  #opened() {
    this.#askedAt = -Infinity;
    this.#newest = 0;
    this.#ask();
  }

  // One question at a time; the next beat shows a hole again that was not filled.
  #ask() {
    const nowMs = Date.now();
    if (Math.abs(nowMs - this.#askedAt) < ASK_AGAIN_MS) return; // a clock set back must not silence it
    this.#askedAt = nowMs;
    this.#askedAfter = this.#number;
    this.#socket.send({ op: "after", n: this.#number });
  }

  #arrived(frames) {
    for (const frame of frames) this.#take(frame);
    if (this.#askedAfter === null || this.#number <= this.#askedAfter) return;
    this.#askedAfter = null;
    if (this.#number >= this.#newest) return;
    this.#askedAt = -Infinity; // the answer was one page of several
    this.#ask();
  }

  #take(frame) {
    if (frame.t === "beat") this.#beaten(frame);
    else if (frame.t === "lost") this.#lost(frame);
    else if (frame.t === "order" || frame.t === "fill") this.#told(frame);
  }

  #beaten(beat) {
    this.#beatAt = Date.now();
    this.#newest = Math.max(this.#newest, beat.n);
    if (beat.n !== this.#number) this.#ask();
  }

  #lost(frame) {
    const isAnew = frame.n < this.#number;
    this.#number = this.#newest = frame.n;
    this.#refetches += 1;
    const works = [...this.#lostListeners].map((listener) => listener({ isAnew }));
    Promise.all(works).then(() => (this.#refetches -= 1), (fault) => console.error(fault)); // refused: behind for good
  }

  #told(frame) {
    this.#newest = Math.max(this.#newest, frame.n);
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
