"""From the ticket to the exchange, to a fill, to the end: the desk against the local exchange, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from channels.db import database_sync_to_async as in_thread
from django.contrib.auth.models import User
from django.utils import timezone

from kalshiweb.exchanges import Exchange
from markets.kalshi.rest import RestClient
from markets.models import Market
from tests.trading.conftest import CENTS, ENV, a_ticket
from tests.trading.venue import Venue
from trading import clients, orders, positions, reconcile, stream
from trading.models import Account, ApiKey, AuditEntry, Order, RiskLimit, Team
from trading.stream import PrivateStreams

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def venue() -> Iterator[Venue]:
    """Run one exchange for the file."""
    running = Venue()
    yield running
    running.stop()


@pytest.fixture
def ticker(venue: Venue, settings: Any, limits: RiskLimit) -> Iterator[str]:
    """Return an open market with an empty book; the desk is pointed at its exchange."""
    settings.EXCHANGES = {ENV: Exchange(ENV, venue.running.rest_url, venue.running.ws_url)}
    listed = venue.market()
    Market.objects.create(
        environment=ENV,
        ticker=listed,
        event_ticker=listed[:-2],
        status=Market.Status.ACTIVE,
        price_ranges=CENTS,
        synced_at=timezone.now(),
    )
    yield listed
    venue.no_faults()


@pytest.fixture
def key(venue: Venue, ticker: str, store_key: Callable[..., ApiKey], account: Account, alice: User) -> ApiKey:
    """Return the desk's key, of a member with $10,000."""
    key_id, pem = venue.member()
    return store_key(account, alice, key_id=key_id, pem=pem)


@pytest.fixture
def rival(venue: Venue) -> Iterator[RestClient]:
    """Return somebody else at the exchange."""
    with venue.client(venue.member()) as client:
        yield client


@pytest.fixture
def place(key: ApiKey, ticker: str, bob: User, team: Team) -> Callable[..., Order]:
    """Return a function with which bob places an order for 10 YES at 48¢, changed as told."""

    def place(idempotency_key: str = "k1", **changes: Any) -> Order:
        ticket = a_ticket(ticker=ticker, **changes)
        return orders.submit(bob, team=team, environment=ENV, ticket=ticket, idempotency_key=idempotency_key)

    return place


@pytest.fixture
async def streams(key: ApiKey, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateStreams]:
    """Run the private streams as the feed process does, looking for other keys ten times a second instead of once."""
    monkeypatch.setattr(stream, "KEYS_SECONDS", 0.1)
    running = PrivateStreams(ENV)
    task = asyncio.create_task(running.run())
    await until(lambda: key.pk in running.streams and running.streams[key.pk].is_connected)
    yield running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(is_so: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not await in_thread(is_so)():
            await asyncio.sleep(0.01)


def has(order: Order, **values: Any) -> Callable[[], bool]:
    """Return the question whether the order's row has these values."""
    return lambda: Order.objects.filter(pk=order.pk, **values).exists()


async def test_an_order_rests_fills_in_part_and_its_rest_is_canceled(
    venue: Venue, streams: PrivateStreams, place: Callable[..., Order], rival: RestClient, ticker: str, bob: User
) -> None:
    order = await in_thread(place)()
    assert (order.state, order.filled) == ("resting", Decimal(0))

    await in_thread(venue.order)(rival, ticker, "ask", price="0.45", count="4.00")

    await until(has(order, state="resting", filled=Decimal(4), remaining=Decimal(6), fills__count=Decimal(4)))
    await until(has(order, fills__wire_price=Decimal("0.48"), fills__is_taker=False))

    order = await in_thread(orders.cancel)(bob, order=order)
    await until(has(order, state="canceled", filled=Decimal(4), remaining=Decimal(0)))
    assert venue.creates(order.client_order_id or "") == 1


async def test_an_order_that_trades_at_once_is_executed_at_the_books_price(
    venue: Venue,
    streams: PrivateStreams,
    place: Callable[..., Order],
    rival: RestClient,
    ticker: str,
    account: Account,
) -> None:
    await in_thread(venue.order)(rival, ticker, "ask", price="0.45", count="10.00")

    order = await in_thread(place)(price=Decimal("0.48"))

    assert (order.state, order.average_price) == ("executed", Decimal("0.45"))
    await until(has(order, fills__count=Decimal(10), fills__is_taker=True))
    position = await in_thread(positions.of_market)(account, ticker)
    assert (position.net, position.cost) == (Decimal(10), Decimal("4.50"))


async def test_an_order_placed_elsewhere_is_seen_at_once(
    venue: Venue, streams: PrivateStreams, key: ApiKey, ticker: str
) -> None:
    def place_elsewhere() -> None:
        with clients.rest_client(key, purpose="trade") as client:
            venue.order(client, ticker, "ask", price="0.60", count="5.00")

    await in_thread(place_elsewhere)()

    await until(lambda: Order.objects.filter(is_external=True, state="resting", side="no", price="0.4000").exists())


# Each accepts the order and then does not say so: drop, reset, 502, 408, a cut body, HTML, an error in a 2xx.
ACCEPTED_IN_SILENCE = [
    ("P3", {}),
    ("P4", {}),
    ("P8", {}),
    ("P9", {"after": True}),
    ("P10", {}),
    ("P11", {"accepts": True}),
    ("P12", {"accepts": True}),
]


@pytest.mark.parametrize(("fault", "params"), ACCEPTED_IN_SILENCE[:2])
async def test_a_lost_answer_is_unknown_and_the_stream_finds_the_order(
    venue: Venue, streams: PrivateStreams, place: Callable[..., Order], fault: str, params: dict[str, Any]
) -> None:
    venue.fault(fault, **params)

    order = await in_thread(place)()

    # The stream may be faster than the answer that never came.
    assert order.state in {"unknown", "resting"}
    await until(has(order, state="resting", reason_text=""))
    assert venue.creates(order.client_order_id or "") == 1


def resolve(account: Account, key: ApiKey) -> None:
    """Look once for the unknown orders of an account."""
    with clients.rest_client(key, purpose="read") as client:
        reconcile.resolve(account, client)


@pytest.mark.parametrize(("fault", "params"), ACCEPTED_IN_SILENCE)
def test_without_any_stream_the_lists_tell_what_became_of_an_unknown_order(
    venue: Venue,
    place: Callable[..., Order],
    account: Account,
    key: ApiKey,
    rival: RestClient,
    ticker: str,
    fault: str,
    params: dict[str, Any],
) -> None:
    venue.order(rival, ticker, "ask", price="0.45", count="4.00")
    venue.fault(fault, **params)

    order = place()
    assert (order.state, order.filled) == ("unknown", Decimal(0))
    resolve(account, key)

    order.refresh_from_db()
    assert (order.state, order.filled, order.fills.count()) == ("resting", Decimal(4), 1)
    assert venue.creates(order.client_order_id or "") == 1


@pytest.mark.parametrize("fault", ["P6", "P7", "P9"])
def test_an_order_that_was_never_accepted_stays_unknown_until_that_is_proved(
    venue: Venue, place: Callable[..., Order], account: Account, key: ApiKey, fault: str
) -> None:
    venue.fault(fault)

    order = place()
    resolve(account, key)

    order.refresh_from_db()
    assert (order.state, order.clean_scans) == ("unknown", 0)


def test_our_own_id_that_is_taken_already_is_our_order(venue: Venue, place: Callable[..., Order]) -> None:
    venue.fault("P13")

    order = place()

    assert (order.state, order.filled, order.remaining) == ("resting", Decimal(0), Decimal(10))
    assert venue.creates(order.client_order_id or "") == 1


def test_what_the_exchange_refuses_is_rejected_in_its_words(
    venue: Venue, place: Callable[..., Order], rival: RestClient, ticker: str
) -> None:
    venue.order(rival, ticker, "ask", price="0.45", count="4.00")

    refused = place("k1", post_only=True)
    taken = place("k2")

    assert (refused.state, refused.reason_code) == ("rejected", "INVALID_ORDER")
    assert taken.state == "resting"


def test_who_has_no_money_is_told_so(
    venue: Venue, ticker: str, store_key: Callable[..., ApiKey], account: Account, alice: User, bob: User, team: Team
) -> None:
    key_id, pem = venue.member(dollars=1)
    store_key(account, alice, key_id=key_id, pem=pem)

    order = orders.submit(bob, team=team, environment=ENV, ticket=a_ticket(ticker=ticker), idempotency_key="k1")

    assert (order.state, order.reason_code) == ("rejected", "INSUFFICIENT_BALANCE")
    assert order.reason_text == "The balance is not enough for this order; reduce it or add money."


def test_a_comparison_finds_all_that_happened_meanwhile(
    venue: Venue, place: Callable[..., Order], account: Account, key: ApiKey, rival: RestClient, ticker: str
) -> None:
    placed = [place(f"k{number}", count=Decimal(number + 1)) for number in range(6)]
    venue.order(rival, ticker, "ask", price="0.48", count="10.00")  # fills 1 + 2 + 3 and 4 of the next

    with clients.rest_client(key, purpose="read") as client:
        reconcile.compare(account, client)
        held = {position.ticker: position.position for position in client.positions().items}

    found = [Order.objects.get(pk=order.pk) for order in placed]
    assert [order.state for order in found] == ["executed"] * 4 + ["resting"] * 2
    assert positions.of_market(account, ticker).net == held[ticker] == Decimal(10)
    assert AuditEntry.objects.filter(action="fill.booked").count() == 4


async def test_a_key_that_is_removed_ends_its_stream_and_a_new_one_begins_one(
    venue: Venue, streams: PrivateStreams, key: ApiKey, account: Account, alice: User, store_key: Callable[..., ApiKey]
) -> None:
    await in_thread(ApiKey.objects.filter(pk=key.pk).update)(state="removed")
    await until(lambda: key.pk not in streams.streams, seconds=3)

    key_id, pem = venue.member()
    new = await in_thread(store_key)(account, alice, key_id=key_id, pem=pem)
    await until(lambda: new.pk in streams.streams, seconds=3)


async def test_an_account_is_compared_as_its_stream_begins(
    venue: Venue, key: ApiKey, account: Account, request: pytest.FixtureRequest
) -> None:
    await in_thread(Account.objects.update)(reconciled_at=None)
    running = PrivateStreams(ENV)
    task = asyncio.create_task(running.run())

    await until(lambda: Account.objects.exclude(reconciled_at=None).exists())

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
