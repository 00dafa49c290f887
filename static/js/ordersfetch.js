// A page's orders, anew: when too much has happened to be told one by one.

const AGAIN_MS = 1_000;
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
  for (;;) {
    const answer = await fetch(`/x/${document.body.dataset.environment}/orders.json${query}`, {
      headers: { Accept: "application/json" },
    }).catch(() => null);
    if (answer?.ok) return (await answer.json()).orders.reverse();
    if (answer && REFUSED.has(answer.status)) throw new Error(`the list of orders is refused: ${answer.status}`);
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}
