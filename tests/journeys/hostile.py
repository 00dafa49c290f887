"""Text that an exchange might send to harm whoever shows it, an exchange that lists it, and the judge of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Page

from markets.sandbox.catalogue import Market
from markets.sandbox.keeping import Keeper
from markets.sandbox.listing import Listing
from markets.sandbox.venue import Venue

# Each tries another way from text to program or to markup; `data-pwned` marks every element one of them would make.
CORPUS = (
    "<script data-pwned>window.pwned=1;alert(1)</script>",
    "<img data-pwned src=x onerror=window.pwned=1>",
    "<svg data-pwned onload=window.pwned=1>",
    "javascript:window.pwned=1//",
    '"><b data-pwned onmouseover="window.pwned=1">',
    "' data-pwned autofocus onfocus='window.pwned=1",
    "{{ 7|add:35 }}{% load static %}${6*7}",
    '"]}</script><script data-pwned>window.pwned=1</script>',
    "<!-- <style data-pwned>*{display:none}</style>",
    "&lt;b data-pwned&gt;&#60;b&#62;",
    "\u202e0.01$ rof YES yuB",
    "nothing\0here",
    "W" * 400,
)
LISTED = tuple(text.replace("\0", "") for text in CORPUS)  # as the desk keeps them

# What a browser says of an answer that was meant to be an error, and of a page without an icon.
EXPECTED_NOISE = re.compile(r"Failed to load resource: .* (409|422|502) |/favicon\.ico$")

# Runs in every frame before anything of the page: notes what must never be.
WATCH = """() => {
  const judge = (globalThis.hostileJudge = {violations: [], injected: []});
  document.addEventListener("securitypolicyviolation", (event) => {
    judge.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
  });
  const look = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    for (const one of [node, ...node.querySelectorAll("*")]) {
      if (one.hasAttribute("data-pwned")) judge.injected.push(one.outerHTML.slice(0, 90));
    }
  };
  new MutationObserver((changes) => {
    for (const change of changes) {
      change.addedNodes.forEach(look);
      if (change.type === "attributes") look(change.target);
    }
  }).observe(document, {childList: true, subtree: true, attributes: true, attributeFilter: ["data-pwned"]});
}"""

# What is there at the moment: elements, links and handlers that only a text can have made, and mirrored neighbours.
LOOK = """() => {
  const own = [...document.querySelectorAll("*")];
  const address = (one) => one.getAttribute("href") ?? one.getAttribute("action") ?? one.getAttribute("src") ?? "";
  const harm = own.filter((one) => one.hasAttribute("data-pwned")
    || [...one.attributes].some(({name}) => /^on/i.test(name))
    || /^\\s*javascript:/i.test(address(one)));
  const first = (node, from, to) => {
    const range = document.createRange();
    range.setStart(node, from);
    range.setEnd(node, to);
    return range.getClientRects()[0];
  };
  const mirrored = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const text = node.data;
    const from = text.search(/[A-Za-z0-9]{4}/);
    if (from < 0 || /[\\u202a-\\u202e\\u2066-\\u2069]/.test(text) || !node.parentElement.checkVisibility()) continue;
    const [one, four] = [first(node, from, from + 1), first(node, from + 3, from + 4)];
    if (one && four && one.top === four.top && four.left < one.left) mirrored.push(text.slice(0, 60));
  }
  return {
    pwned: globalThis.pwned ?? null,
    harm: harm.map((one) => one.outerHTML.slice(0, 90)),
    mirrored,
    wider: document.scrollingElement.scrollWidth - innerWidth > 0,
    ...globalThis.hostileJudge,
  };
}"""

# The text of the page without what programs read.
TEXT = """() => {
  const copy = document.body.cloneNode(true);
  for (const hidden of copy.querySelectorAll("script, template, style")) hidden.remove();
  return copy.textContent;
}"""
CLEAN: dict[str, Any] = {"pwned": None, "harm": [], "mirrored": [], "wider": False, "violations": [], "injected": []}


@dataclass(frozen=True)
class Verdict:
    """What was found on a page: harm done, and texts that are not shown letter by letter."""

    harm: dict[str, Any]
    missing: list[str]


class Judge:
    """Watches one tab; what it wrote into the console and every dialog count."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.noise: list[str] = []
        page.add_init_script(f"({WATCH})()")
        page.on("dialog", self._on_dialog)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.noise.append(str(error)))

    def _on_console(self, said: ConsoleMessage) -> None:
        text = f"{said.text} {said.location.get('url', '')}"
        if said.type in {"error", "warning"} and not EXPECTED_NOISE.search(text):
            self.noise.append(text)

    def _on_dialog(self, dialog: Any) -> None:
        self.noise.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def look(self, *shown: str) -> Verdict:
        """Look at the page as it is; `shown` are the texts that must stand on it."""
        found = self.page.evaluate(LOOK)
        harm = {name: value for name, value in found.items() if value != CLEAN[name]}
        if self.noise:
            harm["noise"] = self.noise[:]
        there = self.page.evaluate(TEXT)
        return Verdict(harm, [text for text in shown if text not in there])


def list_hostile_markets(state: Path) -> None:
    """Write the state of a local exchange whose every market, event and series is described by hostile texts."""
    venue = Venue(seed=0)
    venue.exchange.tick()
    Listing(venue).fill()
    describe(list(venue.exchange.markets.values()))
    for event, title, sub_title in zip(venue.exchange.events.values(), _from(3), _from(0), strict=False):
        event.title, event.sub_title = title, sub_title
    for series, title, category in zip(venue.exchange.series.values(), _from(4), _from(0), strict=False):
        series.title, series.category, series.tags = title, category[:60], (title,)
    state.parent.mkdir(parents=True)
    Keeper(venue, state).save()


def describe(markets: list[Market]) -> None:
    """Give each market a text of its own for its answer, another for its question, and all of them for its rules."""
    for number, market in enumerate(markets):
        texts = list(islice(_from(number), len(CORPUS)))
        market.yes_sub_title, market.no_sub_title, market.title = texts[0], texts[1], texts[5]
        market.details |= {"rules_primary": " ".join(texts), "rules_secondary": " ".join(reversed(texts))}


def _from(number: int) -> Iterator[str]:
    """Return the corpus for ever, beginning at one of its texts."""
    return islice(cycle(CORPUS), number % len(CORPUS), None)
