"""The local exchange on real sockets, with fresh members and markets for each test."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import requests

from markets.kalshi.limits import LocalBudget
from markets.kalshi.messages import CreateOrder, OrderAck
from markets.kalshi.prices import WireSide
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer, load_private_key
from markets.sandbox import auth
from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.limits import TIERS
from markets.sandbox.numbers import MONEY, SECOND
from markets.sandbox.running import Options, RunningSandbox
from markets.sandbox.server import Threaded

HOUR_US = 3600 * SECOND
FIRST_ID = "KXRAIN"


class Venue:
    """One running exchange; every test asks it for a member and a market of its own."""

    def __init__(self) -> None:
        self.running = RunningSandbox(Options(markets=0, has_makers=False, tier="prestige"))
        self._numbers = itertools.count(1)
        self._since = 0

    def stop(self) -> None:
        """End it."""
        self.running.stop()

    def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run something in the exchange's own thread."""
        return Threaded.call(lambda: function(*arguments))

    def member(self, *, dollars: int = 10_000) -> tuple[str, str]:
        """Open an account with money; return the id and the private half of a key of its own."""
        return self.do(self._member, dollars)  # type: ignore[no-any-return]

    def _member(self, dollars: int) -> tuple[str, str]:
        venue = self.running.sandbox.venue
        member = venue.open_account(f"member {next(self._numbers)}", deposit=dollars * MONEY)
        venue.allowance(member.member_id).change(TIERS["prestige"])
        public_key, pem = auth.generate("ed25519")
        key = auth.new_key(member.member_id, "a key", public_key=public_key)
        venue.signatures.add(key)
        return key.key_id, pem

    def market(self) -> str:
        """List an open market on whole cents with an empty book, and return its ticker."""
        return str(self.do(self._market))

    def _market(self) -> str:
        exchange, number = self.running.sandbox.venue.exchange, next(self._numbers)
        now = self.running.sandbox.venue.now_us()
        series, event = f"{FIRST_ID}{number}", f"{FIRST_ID}{number}-E"
        exchange.add_series(Series(series, "Rain", "Climate", fee_type=FeeType.QUADRATIC))
        exchange.add_event(Event(event, series, "Rain tomorrow", sub_title="Once"))
        listed: dict[str, Any] = {
            "open_us": now - HOUR_US,
            "close_us": now + HOUR_US,
            "price_level_structure": "linear_cent",
            "bands": STRUCTURES["linear_cent"],
            "title": "Will it rain?",
            "yes_sub_title": "Rain",
            "no_sub_title": "No rain",
            "details": {"rules_primary": "If it rains.", "rules_secondary": ""},
        }
        return exchange.add_market(Market(f"{event}-M", event, exchange.new_id(), **listed)).ticker

    def client(self, key: tuple[str, str]) -> RestClient:
        """Return a client of a member who is not the desk."""
        signer = Signer(key[0], load_private_key(key[1]))
        return RestClient(self.running.rest_url, signer=signer, budget=LocalBudget(read_rate=1e6, write_rate=1e6))

    def order(self, client: RestClient, ticker: str, side: WireSide, *, price: str, count: str) -> OrderAck:
        """Place an order of somebody else."""
        return client.create_order(CreateOrder(ticker=ticker, side=side, price=Decimal(price), count=Decimal(count)))

    def fault(self, name: str, *, count: int = 1, **params: Any) -> None:
        """Have the next create requests go wrong."""
        match = {"method": "POST", "path": "*/portfolio/events/orders"}
        body = {"fault": name, "match": match, "params": params, "count": count}
        self._control("POST", "faults", body).raise_for_status()

    def no_faults(self) -> None:
        """Switch all faults off."""
        self._control("DELETE", "faults", None)

    def creates(self, client_order_id: str) -> int:
        """Return how many create requests with our id the exchange's own record holds."""
        lines = self._control("GET", "truth", None).text.splitlines()
        entries = [json.loads(line) for line in lines if client_order_id in line]
        return sum(entry["kind"] == "request" and entry["method"] == "POST" for entry in entries)

    def _control(self, method: str, what: str, body: Any) -> requests.Response:
        return requests.request(method, f"{self.running.url}/__sandbox__/{what}", json=body, timeout=5)
