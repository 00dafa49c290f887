"""One line each for somebody who is here for the first time; a click makes it go away in that browser."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """What is said, and the name under which a browser remembers that it was read."""

    name: str
    text: str


DASHBOARD = Hint("dashboard", "These prices are live. Open a market to see its whole book and to place a first order.")
MARKET = Hint("market", "Click a price to fill the ticket, review it, then confirm. Nothing is sent before that.")
ORDERS = Hint("orders", "The filters stand in the address: a copied link shows your team the same rows.")
KEYS = Hint("keys", "A key that may only read can serve the books; a key that may trade is needed for orders.")
