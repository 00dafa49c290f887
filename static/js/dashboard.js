// The dashboard: live best prices, the team's working orders, what needs a person.

import { isWorking } from "./chips.js";
import { readJson, write } from "./dom.js";
import { age } from "./format.js";
import { KnownOrders } from "./knownorders.js";
import { OrdersTable } from "./orders.js";
import { refetchOrders } from "./ordersfetch.js";
import { desk, everyTick, feedLabel } from "./page.js";
import { Attention } from "./attention.js";
import { followTops } from "./tops.js";

const MONEY_MS = 500;
const WORDS = {
  LIVE: "every change arrives by the stream", STALE: "nothing is heard from the exchange", DOWN: "no connection",
  RESYNC: "connecting", POLLED: "asked for every second",
};

const { orders, names } = readJson("orders-data");
const counts = document.querySelectorAll("[data-orders-count]");
const known = new KnownOrders();
const working = new Set();
const attention = new Attention(document.querySelector("[data-attention]"), names);

followTops(document.querySelector("[data-watch]"));

const table = new OrdersTable(document.querySelector("[data-orders]"), {
  keep: isWorking,
  isWorking,
  names,
  onAnswer: take,
  onChange(order) {
    if (isWorking(order)) working.add(order.id);
    else working.delete(order.id);
    for (const count of counts) write(count, String(working.size));
  },
});

function take(order) {
  if (!known.take(order)) return;
  table.take(order);
  attention.take(order);
}

for (const order of [...orders].reverse()) take(order);
desk.listen((frame) => {
  if (frame.t === "order") take(frame);
  askMoney();
});
desk.onLost(({ isAnew }) => {
  const openIds = known.open();
  if (isAnew) known.forget();
  askMoney();
  return refetchOrders("?state=working", { openIds, take });
});

// Positions and exposure: the server adds them up, once for what comes together.
let moneyTimer = null;

function askMoney() {
  moneyTimer ??= setTimeout(async () => {
    moneyTimer = null;
    const answer = await fetch("?part=money", { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    // Our own server's fragment, escaped there; parsed apart, so that nothing in it can run.
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    document.querySelector("[data-money]").replaceChildren(...found.childNodes);
  }, MONEY_MS);
}

const state = document.querySelector("[data-feed-state]");
everyTick((nowMs) => {
  const label = feedLabel(nowMs);
  state.dataset.state = label.state;
  write(state.querySelector("[data-state-word]"), label.state);
  write(state.querySelector("[data-state-age]"), age(label.ageMs));
  write(document.querySelector("[data-feed-why]"), label.why || WORDS[label.state]);
});

// What closes soon is counted down to the second.
everyTick((nowMs) => {
  for (const element of document.querySelectorAll("[data-closes]")) {
    const left = Math.max(0, Number(element.dataset.closes) - nowMs);
    write(element, left === 0 ? "closed" : countdown(Math.floor(left / 1000)));
  }
});

function countdown(seconds) {
  if (seconds >= 86_400) return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
  const two = (number) => String(number).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor((seconds % 3600) / 60))}:${two(seconds % 60)}`;
}
