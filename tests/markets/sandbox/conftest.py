"""A local exchange on real sockets for every file of this folder, and a judge that hears all of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from markets.sandbox import auth
from markets.sandbox.catalogue import Event, FeeType, Market, Series
from markets.sandbox.grid import STRUCTURES
from markets.sandbox.numbers import MONEY, SECOND
from markets.sandbox.orders import NewOrder, TimeInForce
from markets.sandbox.running import Options, RunningSandbox
from markets.sandbox.server import Threaded
from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.hearing import EAR
from tests.markets.sandbox.peer import OPENED, Peer

HOUR_US = 3600 * SECOND


@pytest.fixture(scope="session")
def judge(exchange_documents: Path, pytestconfig: pytest.Config) -> Judge:
    """Return the exchange's own documents as a judge of everything that any test hears."""
    return pytestconfig.stash[EAR].judge


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what the test opened."""
    yield
    while OPENED:
        opened = OPENED.pop()
        (opened.close if isinstance(opened, requests.Session) else opened.shutdown)()


class House:
    """One quiet exchange and ways to fill it; the tests of a file share it, each lists markets of its own."""

    def __init__(self, running: RunningSandbox, judge: Judge) -> None:
        self.running = running
        self.venue = running.sandbox.venue
        self.url = running.url
        self.judge = judge
        self._numbers = itertools.count(1)

    def do(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run something in the exchange's own thread."""
        return Threaded.call(lambda: function(*arguments, **named))

    def member(self, *, deposit: int = 10_000, tier: str = "prestige", **key: Any) -> Peer:
        """Open an account with a key of its own; many requests are allowed unless told otherwise."""
        found: Peer = self.do(self._member, deposit, tier, key)
        return found

    def _member(self, deposit: int, tier: str, key: dict[str, Any]) -> Peer:
        from markets.sandbox.limits import TIERS

        member = self.venue.open_account(f"member {next(self._numbers)}", deposit=deposit * MONEY)
        self.venue.allowance(member.member_id).change(TIERS[tier])
        return self.key_of(member.member_id, **key)

    def key_of(self, member_id: str, *, key_type: auth.KeyType = "ed25519", **fields: Any) -> Peer:
        """Give a member one more key."""
        public_key, pem = auth.generate(key_type)
        key = auth.new_key(member_id, "key of a test", public_key=public_key, **fields)
        self.venue.signatures.add(key)
        peer = Peer.from_pem(self.url, key.key_id, pem, heard=self.judge.overhear)
        peer.member_id = member_id  # type: ignore[attr-defined]
        return peer

    def taker(self, member_id: str) -> Callable[..., int]:
        """Return a function that trades at once, for whoever asks the exchange for a counterparty."""

        def take(ticker: str, *, is_bid: bool, price: int, count: int) -> int:
            new = NewOrder(ticker, is_bid, count, price, time_in_force=TimeInForce.IOC)
            return int(self.venue.exchange.create_order(member_id, new).filled)

        return take

    def market(self, **fields: Any) -> str:
        """List an open market and return its ticker."""
        return str(self.do(self._market, fields))

    def _market(self, fields: dict[str, Any]) -> str:
        number = next(self._numbers)
        exchange, now = self.venue.exchange, self.venue.now_us()
        series = fields.pop("series", f"KXTEST{number}")
        if series not in exchange.series:
            fee_type = fields.pop("fee_type", FeeType.QUADRATIC)
            exchange.add_series(Series(series, "A question", fields.pop("category", "Tests"), fee_type=fee_type))
        event = fields.pop("event", f"{series}-E{number}")
        if event not in exchange.events:
            exchange.add_event(Event(event, series, "An occasion", sub_title="Once"))
        structure = fields.pop("structure", "linear_cent")
        listed = {
            "open_us": now - HOUR_US,
            "close_us": now + HOUR_US,
            "price_level_structure": structure,
            "bands": STRUCTURES[structure],
            "title": "Will it?",
            "settlement_timer_us": 60 * SECOND,
            "yes_sub_title": "It will",
            "no_sub_title": "It will",
            "details": {"rules_primary": "If it does.", "rules_secondary": ""},
            **fields,
        }
        return exchange.add_market(Market(f"{event}-M{number}", event, exchange.new_id(), **listed)).ticker


@pytest.fixture(scope="module")
def house(judge: Judge) -> Iterator[House]:
    """Return an exchange without makers and without markets."""
    running = RunningSandbox(Options(markets=0, has_makers=False))
    found = House(running, judge)
    rich = found.do(lambda: found.venue.exchange.add_member("a taker", is_quiet=True))
    found.do(found.venue.exchange.deposit, rich.member_id, 1_000_000 * MONEY)
    found.venue.taker = found.taker(rich.member_id)
    yield found
    running.stop()


@pytest.fixture
def desk(house: House) -> Peer:
    """Return a member with $10,000."""
    return house.member()


@pytest.fixture
def rival(house: House) -> Peer:
    """Return another member with $10,000."""
    return house.member()


@pytest.fixture
def ticker(house: House) -> str:
    """Return an open market on whole cents whose book is empty."""
    return house.market()
