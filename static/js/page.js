// What lives on every page of the desk: the two sockets, the header's feed label and clock, hints and keys.

import { DeskClient } from "./desk.js";
import { isWorking } from "./chips.js";
import { write } from "./dom.js";
import { MarketFeed } from "./feed.js";
import { age, clock } from "./format.js";
import { KnownOrders } from "./knownorders.js";
import { refetchOrders } from "./ordersfetch.js";
import { listenToKeys, toggleSheet } from "./shortcuts.js";

const LABEL_MS = 250;
const FIRST_WORD_MS = 2_500; // until then a page that has heard nothing is not yet worried
const body = document.body.dataset;
const bornAt = Date.now();

export const env = body.environment;
export const canTrade = body.canTrade === "yes";
export const feed = new MarketFeed({ url: body.marketSocket, env });
export const desk = new DeskClient({
  url: body.deskSocket,
  env,
  number: Number(body.deskNumber),
  onTurnedAway: () => feed.end("this page is of another team or role: load it anew"),
});

globalThis.kalshiweb = { feed, desk };

// The state of the way to the exchange, before the first beat too.
export function feedLabel(nowMs = Date.now()) {
  const label = feed.feedLabel(nowMs);
  const isNew = label.state === "DOWN" && label.ageMs === null && nowMs - bornAt < FIRST_WORD_MS;
  return isNew ? { state: "RESYNC", why: "connecting", ageMs: null } : label;
}

// listener(nowMs) four times a second; for ages and labels.
export function everyTick(listener) {
  const tick = () => listener(Date.now());
  tick();
  return setInterval(tick, LABEL_MS);
}

const WORDS = { LIVE: "live", STALE: "stale", DOWN: "down", RESYNC: "connecting", POLLED: "polled" };

function header() {
  const fact = document.querySelector("[data-feed]");
  const behind = document.querySelector("[data-desk-behind]");
  const time = document.querySelector("[data-clock]");
  if (!fact) return;
  fact.hidden = false;
  everyTick((nowMs) => {
    const label = feedLabel(nowMs);
    fact.dataset.state = label.state;
    behind.hidden = desk.isCurrent(nowMs) || nowMs - bornAt < FIRST_WORD_MS;
    fact.title = label.why;
    write(fact.querySelector("[data-feed-word]"), WORDS[label.state] ?? label.state.toLowerCase());
    write(fact.querySelector("[data-feed-age]"), age(label.ageMs));
    write(time, `${clock(nowMs)} ET`);
  });
}

// How many orders of the team are working: known when the page was made, kept by the frames since.
function workingCount() {
  const inHeader = document.querySelector("[data-working-count]");
  if (!inHeader) return;
  const shown = [inHeader, document.querySelector("[data-working-shown]")];
  const ids = new Set(inHeader.dataset.ids.split(",").filter(Boolean));
  const known = new KnownOrders();
  const take = (order) => {
    if (!known.take(order)) return;
    if (isWorking(order)) ids.add(order.id);
    else ids.delete(order.id);
    for (const count of shown) write(count, String(ids.size));
    if (shown[1]) shown[1].dataset.count = String(ids.size);
  };
  desk.listen((frame) => frame.t === "order" && take(frame));
  desk.onLost(({ isAnew }) => {
    if (isAnew) known.forget();
    return refetchOrders("?state=working", { openIds: ids, take });
  });
}

function hints() {
  for (const hint of document.querySelectorAll("[data-hint]")) {
    const key = `kalshiweb.hint.${hint.dataset.hint}`;
    hint.hidden = localStorage.getItem(key) !== null;
    hint.querySelector("[data-hint-close]").addEventListener("click", () => {
      localStorage.setItem(key, "seen");
      hint.hidden = true;
    });
  }
}

const findMarket = () => document.querySelector('.find input[type="search"]')?.focus();

function menus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
}

header();
workingCount();
hints();
listenToKeys({ "/": findMarket, "?": toggleSheet });
document.addEventListener("click", menus);
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
