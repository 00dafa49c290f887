// One WebSocket that comes back by itself, and tells the server how much of what it sent has arrived.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
const SETTLED_MS = 5_000; // a connection that spoke for this long was a good one
const SILENT_MS = 8_000; // the server beats once a second: one this silent is dead, and may never say so itself
const LOOK_MS = 1_000;
const BROKEN = 1006; // what a browser calls the end of a connection that nobody has closed
const ACK_MS = 1_000;
const ACK_BYTES = 128 * 1024;
const SIGNED_OUT = 4401;
const FINAL = new Set([SIGNED_OUT, 4403]); // 4403: in no team, or not in this page's: trying again changes nothing

export class LiveSocket {
  #url;
  #on;
  #acks;
  #socket = null;
  #timer = null;
  #attempt = 0;
  #openedAt = 0;
  #heardAt = 0; // anything from the other end; before that, when it was dialled
  #looks = 0; // since then
  #received = 0;
  #acked = 0;
  #ackedAt = 0;
  #isStopped = false;
  #looking;

  // onOpen(), onFrames(array), onDown(code): codes 4401 (signed out) and 4403 (not of this page's team) are final.
  // `acks`: whether the server counts what has arrived.
  constructor(url, { onOpen, onFrames, onDown, acks = false }) {
    this.#url = absolute(url);
    this.#on = { onOpen, onFrames, onDown };
    this.#acks = acks;
    document.addEventListener("visibilitychange", () => this.#wake());
    addEventListener("online", () => this.#wake());
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
    this.#connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // Sends one JSON object; false when there is no connection: on the next onOpen everything is said again.
  send(message) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  // Gives the connection up and makes another. Of a dead one the end may take minutes to show: nobody waits for it.
  redial() {
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    socket.close();
    this.#closed(BROKEN);
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#looking);
    this.#socket?.close();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#noteHeard();
    const ifOurs = (take) => (event) => {
      if (socket === this.#socket) take(event);
    };
    socket.onopen = ifOurs(() => this.#opened());
    socket.onmessage = ifOurs(({ data }) => this.#take(data));
    socket.onclose = ifOurs(({ code }) => {
      this.#socket = null;
      this.#closed(code);
    });
  }

  #noteHeard() {
    this.#heardAt = performance.now();
    this.#looks = 0;
  }

  // A laptop slept, or a box on the way forgot us. What came while this page slept is read before it looks twice.
  #look() {
    if (this.#socket === null || this.#isStopped) return;
    this.#looks += 1;
    if (this.#looks > 1 && performance.now() - this.#heardAt > SILENT_MS) this.redial();
  }

  #opened() {
    this.#noteHeard();
    this.#openedAt = this.#heardAt;
    this.#received = this.#acked = 0;
    this.#ackedAt = this.#openedAt;
    this.#on.onOpen?.();
  }

  #take(text) {
    this.#noteHeard();
    this.#received += text.length; // frames are ASCII: characters are bytes
    this.#on.onFrames(JSON.parse(text));
    if (this.#acks) this.#ack();
  }

  // On arrival and not by a timer: a hidden tab's timers run once a minute.
  #ack() {
    const now = performance.now();
    if (now - this.#ackedAt < ACK_MS && this.#received - this.#acked < ACK_BYTES) return;
    if (!this.send({ op: "ack", bytes: this.#received })) return;
    this.#acked = this.#received;
    this.#ackedAt = now;
  }

  #closed(closedWith) {
    // A proof gives the session another key, which ends the connections of the one before. Whoever was let in asks once
    // more, with the new one; somebody who is signed out is told nothing but so.
    const code = closedWith === SIGNED_OUT && this.#received > 0 ? BROKEN : closedWith;
    this.#received = 0;
    this.#on.onDown?.(code);
    if (this.#isStopped || FINAL.has(code)) return;
    const wasGood = this.#openedAt && this.#heardAt - this.#openedAt > SETTLED_MS;
    this.#attempt = wasGood ? 0 : this.#attempt + 1;
    this.#openedAt = 0;
    this.#timer = setTimeout(() => this.#connect(), retryDelay(this.#attempt));
  }

  // Somebody looks at the page again, or the network is back: do not sit out a long pause.
  #wake() {
    if (this.#timer === null || this.#isStopped || document.hidden) return;
    this.#attempt = 0;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * FIRST_RETRY_MS);
  }
}

// Full jitter above half a second, so that a server that comes back is not met by everybody at once.
export function retryDelay(attempt, random = Math.random) {
  const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
  return FIRST_RETRY_MS + random() * (most - FIRST_RETRY_MS);
}

function absolute(url) {
  const found = new URL(url, location.href);
  found.protocol = found.protocol === "https:" || found.protocol === "wss:" ? "wss:" : "ws:";
  return found.href;
}
