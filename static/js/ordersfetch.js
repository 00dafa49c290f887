// A page's orders, anew: when too much has happened to be told one by one.

import { retryDelay } from "./socket.js";

const PATIENCE_MS = 10_000;
const IDS_AT_ONCE = 100; // as many as the server answers with
const REFUSED = new Set([401, 403, 404]); // asking again changes nothing

// Calls take(order) for each order of the list with this query, oldest first, and for those that the page shows as
// open (`openIds`) and the list left out: their end must be seen. Resolves when all is known; keeps asking until then.
export async function refetchOrders(query, { openIds, take }) {
  const missing = new Set(openIds);
  for (const order of await ask(query)) {
    missing.delete(order.id);
    take(order);
  }
  const ids = [...missing];
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
    const some = new URLSearchParams(ids.slice(from, from + IDS_AT_ONCE).map((id) => ["id", id]));
    for (const order of await ask(`?${some}`)) take(order);
  }
}

async function ask(query) {
  const url = `/x/${document.body.dataset.environment}/orders.json${query}`;
  for (let attempt = 1; ; attempt += 1) {
    const { status, orders } = await once(url);
    if (orders) return orders.reverse();
    if (REFUSED.has(status)) throw new Error(`the list of orders is refused: ${status}`);
    await new Promise((done) => setTimeout(done, retryDelay(attempt)));
  }
}

// {status, orders}; neither where no answer came, and no orders where it was cut off.
async function once(url) {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(url, { headers: { Accept: "application/json" }, signal });
    return { status: answer.status, orders: answer.ok ? (await answer.json()).orders : null };
  } catch {
    return {};
  }
}
