// The keys of a page, and the sheet that lists them. A digit never both types and trades: fields keep their own keys.

import { node } from "./dom.js";

const EVERYWHERE = [["/", "find a market"], ["?", "this sheet"]];
const MARKET = [
  ["Space", "centre the ladder on the best prices"],
  ["v", "YES view or NO view of the same book"],
  ["↑ ↓", "move along the ladder, once it is focused"],
  ["Enter", "on the ladder: fill the ticket with that price"],
  ["1 to 4", "the quantities of the ticket"],
];

let sheet = null;

// actions: key → function. Listens for as long as the page lives.
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isBusy(event)) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function isBusy(event) {
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return true;
  // Space presses what is focused; it belongs to the page only elsewhere.
  return event.key === " " && Boolean(event.target.closest?.("button, a, summary, [role=region]"));
}

export function toggleSheet() {
  sheet ??= makeSheet();
  if (sheet.open) sheet.close();
  else sheet.showModal();
}

function makeSheet() {
  const made = node("dialog", "sheet-keys");
  made.setAttribute("aria-label", "Keys");
  const list = node("dl");
  const keys = document.querySelector("[data-market]") ? [...EVERYWHERE, ...MARKET] : EVERYWHERE;
  for (const [key, words] of keys) {
    const row = node("div");
    const name = node("dt");
    name.append(node("kbd", "", key));
    row.append(name, node("dd", "", words));
    list.append(row);
  }
  const close = node("button", "button", "Close");
  close.type = "button";
  close.addEventListener("click", () => made.close());
  made.append(node("h2", "", "Keys"), list, close);
  document.body.append(made);
  return made;
}
