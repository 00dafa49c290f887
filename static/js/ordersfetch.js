// The rows of a list of orders, anew: when too much has happened to be told one by one.

import { env } from "./page.js";

// Calls take(order) for each order of the list with this query, oldest first.
export async function refetchOrders(query, take) {
  const answer = await fetch(`/x/${env}/orders.json${query}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { orders } = await answer.json();
  for (const order of orders.reverse()) take(order);
}
