// A picture of the book: contracts to be had down to each price, bids left and asks right, as two stepped areas.

import { cents, contracts } from "./format.js";
import { write } from "./dom.js";

const WIDTH = 500;
const HEIGHT = 132;
const TOP = 18; // room for the labels
const NS = "http://www.w3.org/2000/svg";

export class DepthPicture {
  #svg;
  #sum;
  #parts;

  constructor(root) {
    this.#svg = root.querySelector("[data-depth]");
    this.#sum = root.querySelector("[data-depth-sum]");
    this.#parts = Object.fromEntries(["bids", "asks"].map((name) => [name, this.#path(`depth-${name}`)]));
  }

  draw(book) {
    const bids = summed(book.levels("bids"));
    const asks = summed(book.levels("asks"));
    const reach = reachOf(book.best(), bids, asks);
    const most = Math.max(1, ...[bids, asks].map((side) => sizeWithin(side, reach)));
    this.#parts.bids.setAttribute("d", steps(bids, reach, most, reach.low));
    this.#parts.asks.setAttribute("d", steps(asks, reach, most, reach.high));
    if (!bids.length && !asks.length) return write(this.#sum, "nothing stands in the book");
    return write(this.#sum, `${contracts(sizeWithin(bids, reach))} bid, ${contracts(sizeWithin(asks, reach))} asked, ${cents(reach.low)} to ${cents(reach.high)}`);
  }

  #path(name) {
    const made = document.createElementNS(NS, "path");
    made.setAttribute("class", name);
    made.setAttribute("vector-effect", "non-scaling-stroke");
    this.#svg.append(made);
    return made;
  }
}

// [[price, size], …] best first → the same with all sizes before it added.
function summed(levels) {
  let total = 0;
  return levels.map(([price, size]) => [price, (total += size)]);
}

// The prices that are drawn: as far from the middle on both sides as ten levels of the deeper side need.
function reachOf({ bid, ask }, bids, asks) {
  const middle = bid !== null && ask !== null ? Math.round((bid + ask) / 2) : (bid ?? ask ?? 5_000);
  const far = [bids[Math.min(11, bids.length - 1)], asks[Math.min(11, asks.length - 1)]]
    .filter(Boolean)
    .map(([price]) => Math.abs(price - middle));
  const half = Math.max(100, ...far);
  return { low: Math.max(0, middle - half), high: Math.min(10_000, middle + half) };
}

function sizeWithin(side, { low, high }) {
  return side.filter(([price]) => price >= low && price <= high).at(-1)?.[1] ?? 0;
}

function steps(side, { low, high }, most, end) {
  const x = (price) => (((price - low) / (high - low)) * WIDTH).toFixed(1);
  const y = (size) => (HEIGHT - (size / most) * (HEIGHT - TOP)).toFixed(1);
  const within = side.filter(([price]) => price >= low && price <= high);
  if (!within.length) return "";
  let path = `M${x(within[0][0])} ${HEIGHT}`;
  for (const [price, size] of within) path += `H${x(price)}V${y(size)}`;
  return `${path}H${x(end)}V${HEIGHT}Z`;
}
