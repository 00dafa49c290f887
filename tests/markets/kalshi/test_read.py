"""Reads: what is asked for, what is understood, and which failures are tried again."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from markets.kalshi.errors import BadMessage, RateLimited, RefusedByUs, Rejected, Unavailable
from markets.kalshi.messages import Page
from markets.kalshi.rest import RestClient, transport, walk
from markets.kalshi.signing import Signer
from tests.markets.kalshi.scripted import DROP, HANG, Scripted, Step, answer, scripted_exchange
from tests.wire import rest as wire

NOT_FOUND = wire.refused("not_found")


def no_pause(seconds: float) -> None:
    return


@contextmanager
def client_of(script: Scripted, **options: Any) -> Iterator[RestClient]:
    chosen: dict[str, Any] = {"pause": no_pause, "timeout": (1.0, 1.0)} | options
    with RestClient(script.url, **chosen) as client:
        yield client


def test_a_read_is_signed_over_the_path_that_is_sent(ed25519_key: Ed25519PrivateKey) -> None:
    signer = Signer("key-1", ed25519_key)
    with scripted_exchange(answer(200, {"market": wire.MARKET})) as script:  # noqa: SIM117
        with client_of(script, signer=signer, now_ms=lambda: 1_795_356_000_123) as client:
            client.market("A/B Ü")
    [heard] = script.heard

    assert heard.path == "/trade-api/v2/markets/A%2FB%20%C3%9C"
    assert heard.headers["KALSHI-ACCESS-KEY"] == "key-1"
    assert heard.headers["Accept-Language"] == "en"
    signature = base64.b64decode(heard.headers["KALSHI-ACCESS-SIGNATURE"])
    ed25519_key.public_key().verify(signature, f"1795356000123GET{heard.path}".encode())


def test_without_a_key_nothing_is_signed() -> None:
    with scripted_exchange(answer(200, wire.STATUS)) as script, client_of(script) as client:
        client.exchange_status()
    assert not any(name.startswith("KALSHI") for name in script.heard[0].headers)


READS: list[tuple[str, Callable[[RestClient], Any], dict[str, Any], str, list[tuple[str, str]]]] = [
    ("series", lambda c: c.series(min_updated_ts=7), {"series": []}, "/series", [("min_updated_ts", "7")]),
    (
        "events",
        lambda c: c.events("abc", status="open"),
        {"events": [], "cursor": ""},
        "/events",
        [("cursor", "abc"), ("limit", "200"), ("status", "open")],
    ),
    (
        "markets",
        lambda c: c.markets(tickers=("A", "B"), mve_filter="exclude"),
        {"markets": [], "cursor": ""},
        "/markets",
        [("limit", "1000"), ("tickers", "A,B"), ("mve_filter", "exclude")],
    ),
    (
        "books",
        lambda c: c.orderbooks(["A", "B"]),
        {"orderbooks": []},
        "/markets/orderbooks",
        [("tickers", "A"), ("tickers", "B")],
    ),
    (
        "trades",
        lambda c: c.trades("A", limit=5),
        {"trades": [], "cursor": ""},
        "/markets/trades",
        [("ticker", "A"), ("limit", "5")],
    ),
    (
        "orders",
        lambda c: c.orders(ticker="A", status="resting", min_ts=9),
        {"orders": [], "cursor": ""},
        "/portfolio/orders",
        [("ticker", "A"), ("status", "resting"), ("min_ts", "9"), ("limit", "1000")],
    ),
    (
        "fills",
        lambda c: c.fills(order_id="o-1"),
        {"fills": [], "cursor": ""},
        "/portfolio/fills",
        [("order_id", "o-1"), ("limit", "1000")],
    ),
    (
        "positions",
        lambda c: c.positions(),
        {"market_positions": [], "event_positions": []},
        "/portfolio/positions",
        [("limit", "1000"), ("count_filter", "position")],
    ),
    ("api keys", lambda c: c.api_keys(), {"api_keys": []}, "/api_keys", []),
]


@pytest.mark.parametrize(("name", "ask", "body", "path", "query"), READS, ids=[row[0] for row in READS])
def test_a_read_asks_the_path_and_leaves_out_what_was_not_asked(
    name: str, ask: Callable[[RestClient], Any], body: Any, path: str, query: list[tuple[str, str]]
) -> None:
    with scripted_exchange(answer(200, body)) as script, client_of(script) as client:
        ask(client)
    [heard] = script.heard
    assert (heard.method, heard.path) == ("GET", f"/trade-api/v2{path}")
    assert parse_qsl(heard.query) == query


def test_a_market_is_read_in_dollars_contracts_and_times() -> None:
    with scripted_exchange(answer(200, {"market": wire.MARKET})) as script, client_of(script) as client:
        market = client.market(wire.TICKER)

    assert (market.ticker, market.status, market.yes_bid, market.yes_bid_size) == (
        wire.TICKER,
        "active",
        D("0.31"),
        D("12.5"),
    )
    assert market.close_at == datetime(2026, 12, 1, 22, 59, 0, 100_000, tzinfo=UTC)
    assert market.bands == ((0, 1000, 10), (1000, 9000, 100), (9000, 10_000, 10))
    assert (market.settlement_value, market.title, market.floor_strike) == (None, "", D(5))


def test_null_empty_and_zero_times_are_no_times() -> None:
    odd = wire.MARKET | {"open_time": None, "settlement_ts": "", "close_time": "0001-01-01T00:00:00Z", "title": None}
    with scripted_exchange(answer(200, {"market": odd})) as script, client_of(script) as client:
        market = client.market(wire.TICKER)
    assert (market.open_at, market.settled_at, market.close_at, market.title) == (None, None, None, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"market":null}',
        b'{"market":{"ticker":5}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_an_answer_of_unknown_shape_raises_and_is_not_asked_for_again(body: bytes) -> None:
    with scripted_exchange(answer(200, body)) as script, client_of(script) as client, pytest.raises(BadMessage):
        client.market(wire.TICKER)
    assert len(script.heard) == 1


@pytest.mark.parametrize("price", ["NaN", "Infinity", "x", ""])
def test_a_number_that_is_none_raises(price: str) -> None:
    body = {"order": wire.ORDER | {"yes_price_dollars": price}}
    with scripted_exchange(answer(200, body)) as script, client_of(script) as client, pytest.raises(BadMessage):
        client.order(wire.ORDER_ID)


def test_a_book_stands_on_the_yes_scale() -> None:
    sides = {"yes_dollars": [["0.3000", "10.00"], ["0.3100", "2.50"]], "no_dollars": [["0.6700", "40.00"]]}
    with scripted_exchange(answer(200, {"orderbook_fp": sides})) as script, client_of(script) as client:
        book = client.orderbook(wire.TICKER, depth=5)
    assert (book.bids, book.asks) == (((3000, 1000), (3100, 250)), ((3300, 4000),))
    assert script.heard[0].query == "depth=5"


@pytest.mark.parametrize(
    "sides", [{}, {"yes_dollars_fp": [], "no_dollars_fp": []}, {"yes_dollars": [["2.0", "1.00"]], "no_dollars": []}]
)
def test_a_book_of_another_shape_never_becomes_an_empty_one(sides: dict[str, Any]) -> None:
    with scripted_exchange(answer(200, {"orderbook_fp": sides})) as script, client_of(script) as client:  # noqa: SIM117
        with pytest.raises(BadMessage):
            client.orderbook(wire.TICKER)


def test_an_orders_direction_comes_from_its_book_side() -> None:
    with scripted_exchange(answer(200, {"order": wire.ORDER})) as script, client_of(script) as client:
        order = client.order(wire.ORDER_ID, ticker=wire.TICKER)

    assert (order.book_side, order.outcome_side, order.yes_price) == ("bid", "yes", D("0.31"))
    assert (order.initial, order.filled, order.remaining) == (D(10), D(4), D(6))
    assert (order.fees, order.average_cost) == (D("0.0125"), D("0.31"))
    assert (order.expires_at, order.subaccount) == (None, 0)
    assert script.heard[0].query == f"market_ticker={wire.TICKER}"


def test_fills_positions_balance_and_limits_are_read() -> None:
    steps = [
        answer(200, {"fills": [wire.FILL], "cursor": "next"}),
        answer(200, {"market_positions": [wire.POSITION], "event_positions": [], "cursor": ""}),
        answer(200, wire.BALANCE),
        answer(200, wire.LIMITS),
        answer(200, wire.STATUS),
    ]
    with scripted_exchange(*steps) as script, client_of(script) as client:
        page, positions, balance = client.fills(), client.positions(), client.balance()
        limits, status = client.account_limits(), client.exchange_status()

    assert (page.cursor, page.items[0].count, page.items[0].fee) == ("next", D("2.5"), D("0.0387"))
    assert page.items[0].outcome_side == "no"
    assert positions.items[0].position == D(-6)
    assert (balance.dollars, balance.portfolio_dollars) == (D("123.4567"), D(5))
    assert (limits.write.refill_rate, limits.read.bucket_capacity) == (100, 600)
    assert (status.trading_active, status.shards[1].trading_active) == (False, True)


def test_the_balance_is_asked_for_once_a_second() -> None:
    with scripted_exchange(answer(200, wire.BALANCE)) as script, client_of(script) as client:
        client.balance()
        with pytest.raises(RateLimited):
            client.balance()
    assert len(script.heard) == 1


# --- failures ------------------------------------------------------------------------------------

OK = answer(200, wire.STATUS)


@pytest.mark.parametrize(
    "failure", [DROP, answer(500), answer(502, b"<html>"), answer(503), answer(504), answer(408), answer(429)]
)
def test_a_read_is_tried_again_where_another_try_may_help(failure: Step) -> None:
    with scripted_exchange(failure, failure, OK) as script, client_of(script) as client:
        assert client.exchange_status().exchange_active
    assert len(script.heard) == 3


@pytest.mark.parametrize(
    ("failure", "error"), [(DROP, Unavailable), (answer(503), Unavailable), (answer(429), RateLimited)]
)
def test_the_tries_are_bounded(failure: Step, error: type[Exception]) -> None:
    with scripted_exchange(*[failure] * 9) as script, client_of(script) as client, pytest.raises(error):
        client.exchange_status()
    assert len(script.heard) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_a_refusal_is_final(status: int) -> None:
    with scripted_exchange(answer(status, NOT_FOUND)) as script, client_of(script) as client:  # noqa: SIM117
        with pytest.raises(Rejected) as refused:
            client.market("X")
    assert (refused.value.status, refused.value.code, len(script.heard)) == (status, "not_found", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_hears_nothing(status: int, signer: Signer) -> None:
    with scripted_exchange() as elsewhere:  # noqa: SIM117
        with scripted_exchange(answer(status, Location=elsewhere.url + "/exchange/status")) as script:
            with client_of(script, signer=signer) as client, pytest.raises(RefusedByUs):
                client.exchange_status()
    assert elsewhere.connections == 0


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_exchange() as proxy, scripted_exchange(OK) as script:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with client_of(script) as client:
            client.exchange_status()
    assert (proxy.connections, script.connections) == (0, 1)


def test_silence_is_unavailable() -> None:
    with scripted_exchange(HANG) as script, client_of(script, timeout=(1.0, 0.05), read_attempts=1) as client:  # noqa: SIM117
        with pytest.raises(Unavailable):
            client.exchange_status()


def test_nobody_listening_is_unavailable() -> None:
    with scripted_exchange() as script:
        url = script.url
    with RestClient(url, pause=no_pause, timeout=(0.5, 0.5)) as client, pytest.raises(Unavailable):
        client.exchange_status()


def test_a_truncated_answer_is_none() -> None:
    cut = Step(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"exchange_active":true', then="close")
    with scripted_exchange(cut, OK) as script, client_of(script) as client:
        assert client.exchange_status().exchange_active
    assert len(script.heard) == 2


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_answer_without_end_is_not_read_to_its_end(is_packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_MOST_BYTES", 100_000)
    body = b" " * 1_000_000
    step = answer(200, gzip.compress(body), Content_Encoding="gzip") if is_packed else answer(200, body)
    with scripted_exchange(step) as script, client_of(script, read_attempts=1) as client, pytest.raises(Unavailable):
        client.exchange_status()


def test_what_the_exchange_asks_to_wait_is_waited_but_not_for_ever() -> None:
    waits: list[float] = []
    steps = [answer(429, Retry_After="2"), answer(429, Retry_After="86400"), OK]
    with scripted_exchange(*steps) as script, client_of(script, pause=waits.append) as client:
        client.exchange_status()
    assert 2.0 <= waits[0] < 3.0
    assert 60.0 <= waits[1] < 65.0


@pytest.mark.parametrize("odd", ["soon", "-5", "nan", "1e999", "Wed, 99 Foo"])
def test_nonsense_about_waiting_is_passed_over(odd: str) -> None:
    waits: list[float] = []
    with scripted_exchange(answer(429, Retry_After=odd), OK) as script:  # noqa: SIM117
        with client_of(script, pause=waits.append) as client:
            client.exchange_status()
    assert waits[0] < 5.0


def test_an_address_that_is_not_the_exchanges_is_refused_before_anything_is_sent(signer: Signer) -> None:
    for url in ("http://external-api.kalshi.com/trade-api/v2", "https://evil.example/trade-api/v2"):
        with pytest.raises(RefusedByUs):
            RestClient(url, signer=signer, hosts={"external-api.kalshi.com"})


def test_a_clock_that_differs_is_noticed_and_signed_with_the_exchanges_time(signer: Signer) -> None:
    dated = {"Date": "Wed, 25 Nov 2026 12:00:00 GMT"}
    exchange_ms = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)
    steps = [answer(200, wire.STATUS, **dated), answer(200, wire.STATUS, **dated)]
    with scripted_exchange(*steps) as script:  # noqa: SIM117
        with client_of(script, signer=signer, now_ms=lambda: exchange_ms - 40_000) as client:
            client.exchange_status()
            client.exchange_status()
            assert client.skew_ms == 40_500
    first, second = (int(heard.headers["KALSHI-ACCESS-TIMESTAMP"]) for heard in script.heard)
    assert (first, second) == (exchange_ms - 40_000, exchange_ms + 500)


def test_no_error_holds_a_request_or_a_signature(signer: Signer) -> None:
    with scripted_exchange(DROP) as script, client_of(script, signer=signer, read_attempts=1) as client:  # noqa: SIM117
        with pytest.raises(Unavailable) as failed:
            client.exchange_status()
    assert failed.value.__context__ is None
    assert "KALSHI" not in repr(failed.value)


# --- pages ---------------------------------------------------------------------------------------


def pages(*given: tuple[list[int], str]) -> Callable[[str], Page[int]]:
    found = iter(given)

    def read(cursor: str) -> Page[int]:
        items, following = next(found)
        return Page(tuple(items), following)

    return read


def test_all_pages_are_walked_in_order() -> None:
    assert list(walk(pages(([1, 2], "a"), ([], "b"), ([3], "")))) == [1, 2, 3]


@pytest.mark.parametrize(
    "given", [[([1], "a"), ([2], "a")], [([1, 2], "a"), ([1, 2], "b")], [([n], str(n)) for n in range(1, 9)]]
)
def test_a_list_that_runs_in_circles_or_on_for_ever_is_no_list(given: list[tuple[list[int], str]]) -> None:
    with pytest.raises(BadMessage):
        list(walk(pages(*given), most_pages=5))
