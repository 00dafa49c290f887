// The team's orders: what matches the filters of the address stays, and what is new appears on top.

import { isWorking } from "./chips.js";
import { readJson, write } from "./dom.js";
import { ENDED, KnownOrders } from "./knownorders.js";
import { OrdersTable } from "./orders.js";
import { refetchOrders } from "./ordersfetch.js";
import { desk } from "./page.js";

const { orders, names, filters } = readJson("orders-data");
const known = new KnownOrders();

// The same questions as the server's filters, for orders that come while the page is open.
function matches(order) {
  if (filters.page > 1) return false; // new orders belong on the first page
  if (filters.market && order.m !== filters.market) return false;
  if (filters.who && order.by !== filters.by) return false;
  if (filters.state === "working") return isWorking(order);
  if (filters.state === "attention") return order.state === "unknown" || order.state === "needs_human";
  if (filters.state === "ended") return ENDED.has(order.state);
  return true;
}

const table = new OrdersTable(document.querySelector("[data-orders]"), {
  keep: matches,
  names,
  onAnswer: take,
  onChange: () => write(document.querySelector("[data-orders-shown]"), String(table.size)),
});

function take(order) {
  if (known.take(order)) table.take(order);
}

for (const order of [...orders].reverse()) take(order);
desk.listen((frame) => frame.t === "order" && take(frame));
desk.onLost(({ isAnew }) => {
  const openIds = known.open();
  if (isAnew) known.forget();
  return refetchOrders(location.search, { openIds, take });
});
