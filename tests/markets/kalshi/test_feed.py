"""The feed on a real socket: dialling, silence, garbage and the way back."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from socket import create_server
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed

from markets.kalshi import feed
from markets.kalshi.errors import RefusedByUs
from markets.kalshi.feed import FeedClient, Timing, dial
from markets.kalshi.signing import Signer
from tests.markets.kalshi.scripted import answer, scripted_exchange
from tests.markets.kalshi.upstream import Told, Upstream, upstream_served
from tests.wire import frames as wire
from tests.wire.frames import BERGEN, OSLO

QUICK = Timing(look_every=0.01, socket=1.0, handshake=2.0, backoff_base=0.02, backoff_most=0.05)
IMPATIENT = Timing(
    probe_after=0.05,
    stalled_after=0.15,
    dropped_after=0.4,
    look_every=0.01,
    socket=1.0,
    handshake=2.0,
    backoff_base=0.02,
    backoff_most=0.05,
)

Start = Callable[..., FeedClient]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with upstream_served() as upstream:
        yield upstream


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def start(upstream: Upstream, told: Told, signer: Signer) -> Iterator[Start]:
    started: list[FeedClient] = []

    def make(*tickers: str, timing: Timing = QUICK, **options: Any) -> FeedClient:
        client = FeedClient(upstream.url, signer=signer, on_event=told, timing=timing, **options)
        client.watch(tickers)
        client.start()
        started.append(client)
        return client

    yield make
    for client in started:
        client.stop()


def test_watched_markets_are_subscribed_and_their_books_told(upstream: Upstream, told: Told, start: Start) -> None:
    start(OSLO)
    socket = upstream.connected()
    assert upstream.next("subscribe")["params"]["use_yes_price"] is True
    socket.send(wire.encoded(wire.snapshot(OSLO, 1, yes=[["0.3100", "2.50"]], no=[["0.3300", "40.00"]])).decode())
    socket.send(wire.encoded(wire.delta(OSLO, 2)).decode())
    socket.send(wire.encoded(wire.trade(OSLO, 1)).decode())

    assert told.wait(feed.Connected) == feed.Connected(1)
    book = told.wait(feed.SnapshotReceived)
    assert (book.message.bids, book.message.asks, book.connection) == (((3100, 250),), ((3300, 4000),), 1)
    told.wait(feed.DeltaReceived)
    told.wait(feed.TradeReceived)
    assert told.kinds()[0] == "Connected"
    assert told.kinds().count("Alive") == 1


def test_markets_come_and_go_while_connected(upstream: Upstream, start: Start) -> None:
    client = start(OSLO, channels=("orderbook_delta",))
    upstream.connected()
    upstream.next("subscribe")
    client.watch([BERGEN])
    assert upstream.next("add_markets")["params"]["market_tickers"] == [BERGEN]
    client.resync([BERGEN, "NOT-WATCHED"])
    assert upstream.next("get_snapshot")["params"]["market_tickers"] == [BERGEN]
    client.unwatch([OSLO])
    assert upstream.next("delete_markets")["params"]["market_tickers"] == [OSLO]


def test_each_dial_is_signed_anew_and_everything_is_subscribed_again(
    upstream: Upstream, told: Told, start: Start, ed25519_key: Ed25519PrivateKey
) -> None:
    clock = iter(range(1_795_356_000_000, 1_795_356_999_999, 1_000))
    start(OSLO, channels=("orderbook_delta",), now_ms=lambda: next(clock))
    first = upstream.connected()
    upstream.next("subscribe")
    first.close(code=1001)
    upstream.connected()
    told.wait(feed.Connected, count=2)

    assert upstream.next("subscribe")["params"]["market_tickers"] == [OSLO]
    gone = told.wait(feed.Disconnected)
    assert (gone.reason, gone.code) == ("the exchange closed the connection", 1001)
    assert told.wait(feed.Connected, count=2) == feed.Connected(2)
    stamps = [handshake["KALSHI-ACCESS-TIMESTAMP"] for handshake in upstream.handshakes]
    assert len(set(stamps)) == 2
    for handshake, stamp in zip(upstream.handshakes, stamps, strict=True):
        signature = base64.b64decode(handshake["KALSHI-ACCESS-SIGNATURE"])
        ed25519_key.public_key().verify(signature, f"{stamp}GET/trade-api/ws/v2".encode())
        assert "Origin" not in handshake


def test_a_message_of_the_new_connection_names_it(upstream: Upstream, told: Told, start: Start) -> None:
    start(OSLO)
    upstream.connected().close()
    second = upstream.connected()
    told.wait(feed.Connected, count=2)
    second.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    assert told.wait(feed.SnapshotReceived).connection == 2


def test_a_refused_handshake_is_told_with_its_status_and_tried_again(
    upstream: Upstream, told: Told, start: Start
) -> None:
    upstream.refusals = [401, 502]
    start(OSLO)
    assert told.wait(feed.Connected) == feed.Connected(1)
    codes = [event.code for event in told.events if isinstance(event, feed.Disconnected)]
    assert codes == [401, 502]
    assert "KALSHI" not in repr(told.events)


def test_a_gap_makes_the_books_stale_and_a_snapshot_is_asked_for(upstream: Upstream, told: Told, start: Start) -> None:
    start(OSLO, BERGEN, channels=("orderbook_delta",))
    socket = upstream.connected()
    upstream.next("subscribe")
    for frame in (wire.snapshot(OSLO, 1), wire.snapshot(BERGEN, 2), wire.delta(OSLO, 9)):
        socket.send(wire.encoded(frame).decode())

    assert set(told.wait(feed.BooksStale).tickers) == {OSLO, BERGEN}
    assert upstream.next("get_snapshot")["params"]["market_tickers"] == [OSLO, BERGEN]
    told.wait(feed.DeltaReceived)
    assert told.kinds().index("BooksStale") < told.kinds().index("DeltaReceived")


# --- silence -------------------------------------------------------------------------------------


def test_a_quiet_market_is_told_from_a_dead_one_by_asking(upstream: Upstream, told: Told, start: Start) -> None:
    start(OSLO, timing=IMPATIENT)
    upstream.connected()
    for _ in range(6):
        upstream.next("list_subscriptions")
    assert "Stalled" not in told.kinds()
    assert "Disconnected" not in told.kinds()


def test_silence_is_told_as_stalled_and_then_dropped(upstream: Upstream, told: Told, start: Start) -> None:
    client = start(OSLO, timing=IMPATIENT)
    upstream.answers = False
    upstream.connected()
    told.wait(feed.Stalled)
    gone = told.wait(feed.Disconnected)
    assert gone.reason == "nothing was heard from the exchange, not even when asked"
    told.wait(feed.Connected, count=2)
    assert client.counts["dropped_for_silence"] >= 1


def test_pings_alone_do_not_prove_that_the_feed_lives(upstream: Upstream, told: Told, start: Start) -> None:
    start(OSLO, timing=IMPATIENT)
    upstream.answers = False
    socket = upstream.connected()
    for _ in range(3):
        assert socket.ping("heartbeat").wait(timeout=5)  # answered by itself
    told.wait(feed.Stalled)
    assert "Alive" not in told.kinds(), "a stalled feed's last word is no younger for them"


def test_a_stalled_feed_that_speaks_again_is_told_as_resumed(upstream: Upstream, told: Told, start: Start) -> None:
    patient = Timing(probe_after=0.05, stalled_after=0.1, dropped_after=30.0, look_every=0.01, socket=1.0)
    start(OSLO, timing=patient)
    upstream.answers = False
    socket = upstream.connected()
    told.wait(feed.Stalled)
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    told.wait(feed.Resumed)
    assert told.kinds().index("Stalled") < told.kinds().index("Resumed") < told.kinds().index("SnapshotReceived")


# --- whatever comes ------------------------------------------------------------------------------


def test_no_frame_ends_the_reader(upstream: Upstream, told: Told, start: Start) -> None:
    client = start(OSLO, channels=("orderbook_delta",))
    socket = upstream.connected()
    upstream.next("subscribe")
    rng = random.Random(5)
    garbage: list[str | bytes] = [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '{"type":"orderbook_delta","sid":1e999}',
        rng.randbytes(500),
        b"\xff\xfe",
        "x" * 10_000_000,
    ]
    for raw in garbage:
        socket.send(raw)
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())

    told.wait(feed.SnapshotReceived)
    malformed = [event for event in told.events if isinstance(event, feed.Malformed)]
    assert [event.ticker for event in malformed] == [None] * len(garbage)
    assert client.counts["malformed"] == len(garbage)
    assert "Disconnected" not in told.kinds()


def test_a_bad_frame_of_one_market_names_it_and_leaves_the_others_alone(
    upstream: Upstream, told: Told, start: Start
) -> None:
    start(OSLO, BERGEN, channels=("orderbook_delta",))
    socket = upstream.connected()
    upstream.next("subscribe")
    frames = [wire.snapshot(OSLO, 1), wire.snapshot(BERGEN, 2), wire.delta(OSLO, 3, price="x"), wire.delta(BERGEN, 4)]
    for frame in frames:
        socket.send(wire.encoded(frame).decode())
    told.wait(feed.DeltaReceived)
    assert told.wait(feed.Malformed).ticker == OSLO
    assert "BooksStale" not in told.kinds()


def test_a_bad_change_of_a_market_that_nobody_asked_for_was_of_another(
    upstream: Upstream, told: Told, start: Start
) -> None:
    start(OSLO, BERGEN, channels=("orderbook_delta",))
    socket = upstream.connected()
    upstream.next("subscribe")
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    socket.send(wire.encoded(wire.delta("KXBROKEN", 2, price="x")).decode())
    assert told.wait(feed.Malformed).ticker is None


def test_a_bad_quote_casts_no_doubt_on_a_book(upstream: Upstream, told: Told, start: Start) -> None:
    client = start(OSLO, channels=("orderbook_delta", "ticker"))
    socket = upstream.connected()
    upstream.next("subscribe")
    socket.send(json.dumps({"type": "ticker", "sid": 2, "msg": {"market_ticker": OSLO, "price_dollars": "x"}}))
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    told.wait(feed.SnapshotReceived)
    assert "Malformed" not in told.kinds()
    assert client.counts["malformed"] == 1


@pytest.mark.parametrize(("channel", "sid"), [("trade", 2), ("market_lifecycle_v2", 3)])
def test_a_bad_frame_that_is_no_books_names_its_channel(
    upstream: Upstream, told: Told, start: Start, channel: str, sid: int
) -> None:
    start(OSLO, channels=("orderbook_delta", "trade", "market_lifecycle_v2"))
    socket = upstream.connected()
    for _ in range(3):
        upstream.next("subscribe")
    told.wait(feed.LifecycleMissed)  # the last of the three has its sid
    socket.send(json.dumps({"type": channel, "sid": sid, "seq": 1, "msg": {"market_ticker": OSLO}}))
    bad = told.wait(feed.Malformed)
    assert (bad.ticker, bad.channel) == (OSLO, channel)


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "trade", "sid": 1, "seq": 2},
        {"type": "trade", "seq": 2},
        {"type": "trade", "sid": 9, "seq": 1},
        {"type": "ticker", "sid": 1, "seq": 2, "msg": 5},
        {"type": "orderbook_delta", "sid": 2, "seq": 1},
    ],
    ids=["the books' sid", "no sid", "nobody's sid", "a quote with a number", "a change among trades"],
)
def test_a_bad_frame_whose_kind_may_be_wrong_is_of_any_book(
    upstream: Upstream, told: Told, start: Start, broken: dict[str, Any]
) -> None:
    start(OSLO, channels=("orderbook_delta", "trade", "market_lifecycle_v2"))
    socket = upstream.connected()
    told.wait(feed.LifecycleMissed)
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    socket.send(json.dumps(broken))
    bad = told.wait(feed.Malformed)
    assert (bad.ticker, bad.channel) == (None, None)


def test_quotes_are_asked_for_without_naming_a_market(upstream: Upstream, start: Start) -> None:
    start(channels=("ticker",))
    upstream.connected()
    assert upstream.next("subscribe")["params"] == {"channels": ["ticker"]}


def test_a_kind_the_exchange_has_added_since_spoils_nothing(upstream: Upstream, told: Told, start: Start) -> None:
    client = start(OSLO, channels=("orderbook_delta",))
    socket = upstream.connected()
    upstream.next("subscribe")
    socket.send('{"type":"weather_report","msg":{"text":"fine"}}')
    socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
    told.wait(feed.SnapshotReceived)
    assert "Malformed" not in told.kinds()
    assert client.counts["unknown_kinds"] == 1


@pytest.mark.parametrize("is_in_pieces", [False, True])
def test_a_message_without_end_ends_the_connection_not_the_memory(
    is_in_pieces: bool, upstream: Upstream, told: Told, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "MESSAGE_MOST_BYTES", 10_000)
    upstream.answers = False  # an answer between the pieces of a message would be an error of this server's own
    start(OSLO)
    socket = upstream.connected()
    with suppress(ConnectionClosed):  # it may hang up before the last piece
        socket.send(["x" * 4_000] * 5 if is_in_pieces else "x" * 20_000)
    assert told.wait(feed.Disconnected).reason == "the connection broke (TooLong)"
    told.wait(feed.Connected, count=2)


def test_whoever_cannot_take_an_event_does_not_end_the_feed(upstream: Upstream, signer: Signer) -> None:
    told = Told()

    def clumsy(event: Any) -> None:
        told(event)
        raise RuntimeError("not now")

    client = FeedClient(upstream.url, signer=signer, on_event=clumsy, timing=QUICK)
    client.watch([OSLO])
    client.start()
    try:
        socket = upstream.connected()
        socket.send(wire.encoded(wire.snapshot(OSLO, 1)).decode())
        socket.send(wire.encoded(wire.delta(OSLO, 2)).decode())
        told.wait(feed.DeltaReceived)
    finally:
        client.stop()


def test_own_channels_are_told_without_markets(upstream: Upstream, told: Told, start: Start) -> None:
    start(channels=("user_orders", "fill"))
    socket = upstream.connected()
    assert upstream.next("subscribe")["params"] == {"channels": ["user_orders"]}
    socket.send(wire.encoded(wire.USER_ORDER).decode())
    socket.send(wire.encoded(wire.FILL).decode())
    assert told.wait(feed.UserOrderReceived).message.order_id == "o-1"
    assert told.wait(feed.FillReceived).message.trade_id == "t-9"


# --- where it dials ------------------------------------------------------------------------------


def test_it_dials_no_other_host_and_never_in_the_clear(signer: Signer, told: Told) -> None:
    for url in ("ws://external-api-ws.kalshi.com/trade-api/ws/v2", "wss://evil.example/trade-api/ws/v2"):
        with pytest.raises(RefusedByUs):
            FeedClient(url, signer=signer, on_event=told, hosts={"external-api-ws.kalshi.com"})


class Waits(random.Random):
    """Dice that note the bounds they were thrown within, and always fall low."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        self.bounds.append(high)
        return low


def test_dials_that_nobody_answers_in_time_come_at_growing_distances(signer: Signer, told: Told) -> None:
    waits = Waits()
    timing = Timing(handshake=0.03, calm_after=0.01, look_every=0.01, backoff_base=1.0, backoff_most=60.0)
    with create_server(("127.0.0.1", 0)) as deaf:  # takes connections and says nothing
        url = f"ws://127.0.0.1:{deaf.getsockname()[1]}/trade-api/ws/v2"
        client = FeedClient(url, signer=signer, on_event=told, timing=timing, rng=waits)
        client.start()
        gone = told.wait(feed.Disconnected, count=8)
        client.stop()
    assert gone.reason == "no connection to the exchange (WebSocketTimeoutException)"
    assert waits.bounds[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


def test_connections_that_never_speak_come_at_growing_distances_too(
    upstream: Upstream, told: Told, start: Start
) -> None:
    waits = Waits()
    upstream.answers = False
    start(
        timing=Timing(dropped_after=0.05, calm_after=0.02, look_every=0.01, handshake=2.0, backoff_base=1.0), rng=waits
    )
    told.wait(feed.Disconnected, count=4)
    assert waits.bounds[:3] == [1.0, 2.0, 4.0]


def test_a_connection_that_spoke_for_a_while_is_dialled_again_quickly(
    upstream: Upstream, told: Told, start: Start
) -> None:
    waits = Waits()
    upstream.refusals = [502, 502]
    start(OSLO, timing=Timing(probe_after=0.02, calm_after=0.05, look_every=0.01, backoff_base=1.0), rng=waits)
    first = upstream.connected()
    for _ in range(5):
        upstream.next("list_subscriptions")  # and answers
    first.close()
    upstream.connected()
    assert waits.bounds == [1.0, 2.0, 1.0]


def test_a_redirected_handshake_is_not_followed(signer: Signer, told: Told) -> None:
    with scripted_exchange() as elsewhere:
        redirect = answer(302, Location=f"ws://127.0.0.1:{elsewhere.port}/trade-api/ws/v2")
        with scripted_exchange(*[redirect] * 50) as script:
            url = f"ws://127.0.0.1:{script.port}/trade-api/ws/v2"
            client = FeedClient(url, signer=signer, on_event=told, timing=QUICK)
            client.start()
            told.wait(feed.Disconnected)
            client.stop()
    assert elsewhere.connections == 0


def test_a_proxy_of_the_environment_hears_nothing(
    upstream: Upstream, told: Told, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_exchange() as proxy:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        start(OSLO)
        told.wait(feed.Connected)
    assert proxy.connections == 0


def test_stopping_ends_it_for_good_and_may_be_asked_twice(upstream: Upstream, told: Told, start: Start) -> None:
    client = start(OSLO)
    upstream.connected()
    told.wait(feed.Connected)
    client.stop()
    client.stop()
    assert told.events[-1] == feed.Disconnected("stopped", None)
    assert len(upstream.handshakes) == 1
