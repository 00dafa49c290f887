"""The stream: handshake, commands and their errors, books by snapshot and delta, numbers that leave no hole."""

from __future__ import annotations

import json
from typing import Any

import pytest
import websocket

from markets.sandbox.catalogue import FeeType
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import Peer, Socket


@pytest.fixture
def socket(desk: Peer) -> Any:
    opened = desk.connect()
    yield opened
    opened.close()


def levels(side: list[list[str]] | None) -> dict[str, str]:
    return {level[0]: level[1] for level in side or []}


# --- handshake ----------------------------------------------------------------------------------------


def test_a_handshake_without_a_signature_is_refused_before_the_upgrade(desk: Peer) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        desk.connect(headers={})

    assert refused.value.status_code == 401
    assert json.loads(refused.value.resp_body or b"") == {
        "error": {"code": "signature_is_missing_from_headers", "message": "signature is missing from headers"}
    }


def test_a_handshake_signed_for_another_path_is_refused(desk: Peer) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        desk.connect(headers=desk.headers("GET", "/trade-api/v2/exchange/status"))

    assert refused.value.status_code == 401


def test_a_read_key_may_listen(house: House, desk: Peer) -> None:
    reader = house.key_of(desk.member_id, scopes=("read",))  # type: ignore[attr-defined]
    opened = reader.connect()

    opened.send("list_subscriptions")

    assert opened.next()["msg"] == []
    opened.close()


def test_pings_come_with_their_payload_and_silence_after_them_ends_the_connection(
    house: House, desk: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("markets.sandbox.stream.PING_SECONDS", 0.05)
    monkeypatch.setattr("markets.sandbox.stream.PONG_SECONDS", 0.2)
    patient, rude = desk.connect(), desk.connect()

    for _ in range(10):
        opcode, payload = patient.raw.recv_data(control_frame=True)
        assert (opcode, payload) == (websocket.ABNF.OPCODE_PING, b"heartbeat")

    # Ten pings later the one who answered is still there, the one who never read is gone.
    assert len([session for session in house.venue.audience.sessions if session.member == desk.member_id]) == 1  # type: ignore[attr-defined]
    with pytest.raises((websocket.WebSocketException, OSError)):
        while rude.raw.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PING:
            pass


# --- subscribing --------------------------------------------------------------------------------------


def test_a_subscription_is_acknowledged_and_begins_with_the_book(socket: Socket, desk: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4800", "10.00")
    desk.create(ticker, "bid", "0.4500", "60.00")
    desk.create(ticker, "ask", "0.5400", "40.00")

    command = socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])

    subscribed, snapshot = socket.read(2)
    assert (subscribed["type"], subscribed["id"]) == ("subscribed", command)
    assert subscribed["msg"] == {"channel": "orderbook_delta", "sid": 1}
    assert "seq" not in subscribed
    assert (snapshot["type"], snapshot["sid"], snapshot["seq"]) == ("orderbook_snapshot", 1, 1)
    assert snapshot["msg"]["yes_dollars_fp"] == [["0.4500", "60.00"], ["0.4800", "10.00"]]
    assert snapshot["msg"]["no_dollars_fp"] == [["0.4600", "40.00"]]


def test_an_empty_side_is_left_out(socket: Socket, desk: Peer, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    _, snapshot = socket.read(2)

    assert not {"yes_dollars_fp", "no_dollars_fp"} & set(snapshot["msg"])


def test_with_use_yes_price_the_no_side_comes_in_yes_prices(socket: Socket, desk: Peer, ticker: str) -> None:
    desk.create(ticker, "ask", "0.5400", "40.00")

    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker], use_yes_price=True)
    _, snapshot = socket.read(2)
    desk.create(ticker, "ask", "0.5500", "2.00")
    delta = socket.next()

    assert snapshot["msg"]["no_dollars_fp"] == [["0.5400", "40.00"]]
    assert (delta["msg"]["side"], delta["msg"]["price_dollars"]) == ("no", "0.5500")


def test_without_it_a_change_of_the_no_side_comes_in_no_prices(socket: Socket, desk: Peer, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))

    desk.create(ticker, "ask", "0.5500", "2.00")

    delta = socket.next()["msg"]
    assert (delta["side"], delta["price_dollars"], delta["delta_fp"]) == ("no", "0.4500", "2.00")


def test_one_command_for_two_channels_gets_two_sids(socket: Socket, ticker: str) -> None:
    command = socket.send("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[ticker])

    frames = list(socket.read(3))

    replies = [frame for frame in frames if frame["type"] == "subscribed"]
    assert [(reply["id"], reply["msg"]) for reply in replies] == [
        (command, {"channel": "orderbook_delta", "sid": 1}),
        (command, {"channel": "trade", "sid": 2}),
    ]


def test_a_second_subscribe_joins_the_first_sid(house: House, socket: Socket) -> None:
    first, second = house.market(), house.market()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[second])
    list(socket.read(2))

    command = socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[first])

    ok, snapshot = socket.read(2)
    assert (ok["type"], ok["id"], ok["sid"], ok["seq"]) == ("ok", command, 1, 2)
    assert ok["msg"]["market_tickers"] == sorted([first, second])
    assert (snapshot["msg"]["market_ticker"], snapshot["seq"]) == (first, 3)


def test_markets_are_added_and_deleted_and_every_reply_takes_a_number(house: House, socket: Socket, desk: Peer) -> None:
    first, second = house.market(), house.market()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[first])
    list(socket.read(2))

    socket.send("update_subscription", sids=[1], action="add_markets", market_tickers=[second])
    added, snapshot = socket.read(2)
    socket.send("update_subscription", sid=1, action="delete_markets", market_tickers=[first])
    deleted = socket.next()
    desk.create(first, "bid", "0.4800", "1.00")
    desk.create(second, "bid", "0.4700", "1.00")
    delta = socket.next()

    assert (added["seq"], snapshot["seq"], deleted["seq"], delta["seq"]) == (2, 3, 4, 5)
    assert deleted["msg"]["market_tickers"] == [second]
    assert delta["msg"]["market_ticker"] == second


def test_a_snapshot_that_was_asked_for_carries_the_commands_id(socket: Socket, desk: Peer, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))
    desk.create(ticker, "bid", "0.4800", "1.00")

    command = socket.send("update_subscription", sid=1, action="get_snapshot", market_tickers=[ticker])

    delta, snapshot = socket.read(2)
    assert (snapshot["type"], snapshot["id"], snapshot["seq"]) == ("orderbook_snapshot", command, 3)
    assert snapshot["msg"]["clock"] == delta["msg"]["clock"]
    assert levels(snapshot["msg"]["yes_dollars_fp"]) == {"0.4800": "1.00"}


def test_unsubscribing_is_acknowledged_per_sid_and_ends_the_messages(socket: Socket, desk: Peer, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[ticker])
    list(socket.read(3))

    command = socket.send("unsubscribe", sids=[1, 2])

    first, second = socket.read(2)
    assert [(frame["type"], frame["id"], frame["sid"], frame["seq"]) for frame in (first, second)] == [
        ("unsubscribed", command, 1, 2),
        ("unsubscribed", command, 2, 1),
    ]
    desk.create(ticker, "bid", "0.4800", "1.00")
    socket.send("list_subscriptions")
    assert socket.next()["msg"] == []


def test_subscriptions_are_listed_by_sid(socket: Socket, ticker: str) -> None:
    socket.send("subscribe", channels=["trade", "fill"], market_tickers=[ticker])
    list(socket.read(2))

    command = socket.send("list_subscriptions")

    listed = socket.next()
    assert (listed["type"], listed["id"]) == ("ok", command)
    assert listed["msg"] == [{"channel": "trade", "sid": 1}, {"channel": "fill", "sid": 2}]


@pytest.mark.parametrize(
    ("cmd", "params", "code"),
    [
        ("dance", {"a": 1}, 5),
        ("subscribe", {}, 2),
        ("subscribe", {"market_tickers": ["X"]}, 3),
        ("subscribe", {"channels": ["nonsense"]}, 8),
        ("subscribe", {"channels": ["orderbook_delta"]}, 14),
        ("subscribe", {"channels": ["cfbenchmarks_value"]}, 24),
        ("subscribe", {"channels": ["pyth_value"]}, 28),
        ("unsubscribe", {"sids": []}, 4),
        ("unsubscribe", {"sids": [77]}, 7),
        ("update_subscription", {"sids": [1, 2], "action": "add_markets"}, 12),
        ("update_subscription", {"sid": 77, "action": "add_markets"}, 7),
    ],
)
def test_wrong_commands_are_answered_with_their_code(socket: Socket, cmd: str, params: Any, code: int) -> None:
    command = socket.send(cmd, **params)

    refused = socket.next()

    assert (refused["type"], refused["id"], refused["msg"]["code"]) == ("error", command, code)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"market_tickers": ["X"]}, 15),
        ({"action": "shout", "market_tickers": ["X"]}, 13),
        ({"action": "add_markets"}, 14),
    ],
)
def test_wrong_updates_of_a_subscription_name_its_sid(socket: Socket, ticker: str, params: Any, code: int) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))

    socket.send("update_subscription", sid=1, **params)

    refused = socket.next()
    assert (refused["sid"], refused["seq"], refused["msg"]["code"]) == (1, 2, code)


def test_what_is_no_json_cannot_be_processed(socket: Socket) -> None:
    socket.raw.send("not json")

    assert socket.next()["msg"] == {"code": 1, "msg": "Unable to process message"}


def test_a_ticker_nobody_knows_is_named_and_the_others_are_served(socket: Socket, ticker: str) -> None:
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=["KXNOBODY-1", ticker])

    subscribed, snapshot, refused = socket.read(3)

    assert (subscribed["type"], snapshot["msg"]["market_ticker"]) == ("subscribed", ticker)
    assert refused["msg"] == {"code": 11, "msg": "Invalid parameter", "market_tickers": ["KXNOBODY-1"]}


# --- what comes ---------------------------------------------------------------------------------------


def test_numbers_run_over_all_markets_of_a_sid_without_a_hole(house: House, socket: Socket, desk: Peer) -> None:
    first, second = house.market(), house.market()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[first, second])
    list(socket.read(3))

    for ticker in (first, second, second, first):
        desk.create(ticker, "bid", "0.4800", "1.00")

    assert [frame["seq"] for frame in socket.read(4)] == [3, 4, 5, 6]


def test_a_sweep_is_one_delta_and_one_trade_per_maker_at_one_time(
    house: House, socket: Socket, desk: Peer, rival: Peer, ticker: str
) -> None:
    for price, count in (("0.5000", "2.00"), ("0.5000", "3.00"), ("0.5100", "4.00")):
        rival.create(ticker, "ask", price, count)
    socket.send("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[ticker], use_yes_price=True)
    list(socket.read(3))

    desk.create(ticker, "bid", "0.5100", "10.00")

    frames = list(socket.read(7))
    deltas = [frame["msg"] for frame in frames if frame["type"] == "orderbook_delta"]
    trades = [frame["msg"] for frame in frames if frame["type"] == "trade"]
    assert [(delta["side"], delta["price_dollars"], delta["delta_fp"]) for delta in deltas] == [
        ("no", "0.5000", "-2.00"),
        ("no", "0.5000", "-3.00"),
        ("no", "0.5100", "-4.00"),
        ("yes", "0.5100", "1.00"),
    ]
    assert [(trade["yes_price_dollars"], trade["count_fp"]) for trade in trades] == [
        ("0.5000", "2.00"),
        ("0.5000", "3.00"),
        ("0.5100", "4.00"),
    ]
    assert len({message["ts_ms"] for message in (*deltas[:3], *trades)}) == 1
    assert {trade["taker_book_side"] for trade in trades} == {"bid"}


def test_own_orders_are_marked_for_their_member_alone(socket: Socket, desk: Peer, rival: Peer, ticker: str) -> None:
    theirs = rival.connect()
    for listener in (socket, theirs):
        listener.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
        list(listener.read(2))

    desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="mine")

    mine, seen = socket.next()["msg"], theirs.next()["msg"]
    assert (mine["client_order_id"], mine["subaccount"]) == ("mine", 0)
    assert not {"client_order_id", "subaccount"} & set(seen)
    theirs.close()


def test_fills_orders_and_positions_come_to_their_member(socket: Socket, desk: Peer, rival: Peer, ticker: str) -> None:
    socket.send("subscribe", channels=["fill", "user_orders", "market_positions"])
    list(socket.read(3))

    order = desk.create(ticker, "bid", "0.5000", "10.00", client_order_id="mine").json()["order_id"]
    created = socket.until("user_order")
    rival.create(ticker, "ask", "0.5000", "4.00")
    frames = {frame["type"]: frame for frame in socket.read(3)}
    desk.call("DELETE", f"/portfolio/events/orders/{order}")
    canceled = socket.until("user_order")

    assert (created["msg"]["order_id"], created["msg"]["status"]) == (order, "resting")
    fill, after, position = frames["fill"]["msg"], frames["user_order"]["msg"], frames["market_position"]["msg"]
    assert (fill["order_id"], fill["client_order_id"], fill["count_fp"], fill["is_taker"]) == (
        order,
        "mine",
        "4.00",
        False,
    )
    assert fill["post_position_fp"] == position["position_fp"] == "4.00"
    assert (after["fill_count_fp"], after["remaining_count_fp"], after["last_update_reason"]) == (
        "4.00",
        "6.00",
        "Trade",
    )
    assert canceled["msg"]["status"] == "canceled"
    assert "seq" not in fill


def test_tickers_come_at_once_when_asked_for_and_one_a_second(house: House, socket: Socket, desk: Peer) -> None:
    ticker = house.market()
    desk.create(ticker, "bid", "0.4800", "10.00")

    socket.send("subscribe", channels=["ticker"], market_tickers=[ticker], send_initial_snapshot=True)
    _, first = socket.read(2)

    assert (first["msg"]["yes_bid_dollars"], first["msg"]["yes_ask_dollars"]) == ("0.4800", "1.0000")
    assert first["msg"]["yes_bid_size_fp"] == "10.00"
    assert "seq" not in first


def test_the_ticker_channel_can_be_heard_unfiltered(house: House, socket: Socket, desk: Peer) -> None:
    socket.send("subscribe", channels=["ticker"])
    socket.until("subscribed")
    ticker = house.market()

    desk.create(ticker, "bid", "0.4800", "10.00")

    assert socket.until("ticker", market_ticker=ticker)["msg"]["yes_bid_dollars"] == "0.4800"


def test_the_life_of_a_market_is_told(house: House, socket: Socket) -> None:
    exchange = house.venue.exchange
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("subscribed")

    ticker = house.market(category="Tests")
    created = socket.until("market_lifecycle_v2", market_ticker=ticker, event_type="created")
    house.do(exchange.pause_market, ticker)
    house.do(exchange.resume_market, ticker)
    house.do(exchange.set_grid, ticker, "deci_cent")
    house.do(exchange.determine, ticker, "yes")
    house.do(exchange.settle, ticker)

    told = [socket.until("market_lifecycle_v2", market_ticker=ticker)["msg"] for _ in range(6)]
    assert [message["event_type"] for message in told] == [
        "deactivated",
        "activated",
        "price_level_structure_updated",
        "close_date_updated",
        "determined",
        "settled",
    ]
    assert told[4]["settlement_value"] == "1.0000"
    assert created["msg"]["additional_metadata"]["yes_sub_title"] == "It will"


def test_new_events_and_fee_overrides_are_told(house: House, socket: Socket) -> None:
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("subscribed")

    house.market(series="KXNEWS", event="KXNEWS-1")
    event = socket.until("event_lifecycle", event_ticker="KXNEWS-1")
    house.do(house.venue.exchange.set_event_fee, "KXNEWS-1", FeeType.WITH_MAKER, 5000)
    fee = socket.until("event_fee_update")

    assert event["msg"]["series_ticker"] == "KXNEWS"
    assert fee["msg"] == {
        "event_ticker": "KXNEWS-1",
        "fee_type_override": "quadratic_with_maker_fees",
        "fee_multiplier_override": 0.5,
    }


def test_a_close_wipes_the_book_with_an_empty_snapshot_and_cancels_what_rests(
    house: House, socket: Socket, desk: Peer, ticker: str
) -> None:
    socket.send("subscribe", channels=["orderbook_delta", "user_orders"], market_tickers=[ticker])
    list(socket.read(3))
    desk.create(ticker, "bid", "0.4800", "10.00")
    list(socket.read(2))

    house.do(house.venue.exchange.move_close, ticker, house.venue.now_us())

    wiped, canceled = sorted(socket.read(2), key=lambda frame: str(frame["type"]))
    assert wiped["type"] == "orderbook_snapshot"
    assert not {"yes_dollars_fp", "no_dollars_fp"} & set(wiped["msg"])
    assert (canceled["msg"]["status"], canceled["msg"]["last_update_reason"]) == ("canceled", "CloseCancel")


def test_order_groups_are_told_with_numbers(socket: Socket, desk: Peer) -> None:
    socket.send("subscribe", channels=["order_group_updates"])
    socket.until("subscribed")

    group = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 5}).json()["order_group_id"]
    desk.call("PUT", f"/portfolio/order_groups/{group}/limit", body={"contracts_limit": 7})
    desk.call("PUT", f"/portfolio/order_groups/{group}/trigger", body={})
    desk.call("PUT", f"/portfolio/order_groups/{group}/reset", body={})
    desk.call("DELETE", f"/portfolio/order_groups/{group}")

    told = list(socket.read(5))
    assert [frame["msg"]["event_type"] for frame in told] == [
        "created",
        "limit_updated",
        "triggered",
        "reset",
        "deleted",
    ]
    assert [frame["seq"] for frame in told] == [1, 2, 3, 4, 5]


def test_frames_end_with_a_newline_and_say_when_they_were_sent(socket: Socket, house: House) -> None:
    socket.raw.send('{"id":1,"cmd":"list_subscriptions"}')

    text = str(socket.raw.recv())

    assert text.endswith("}\n")
    assert abs(json.loads(text)["sending_ts_ms"] - house.venue.now_ms()) < 5000


def test_a_slow_reader_loses_its_sid_and_keeps_its_connection(house: House, socket: Socket, desk: Peer) -> None:
    ticker = house.market()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    list(socket.read(2))
    (session,) = house.venue.audience.watchers(ticker)

    def stall() -> None:
        session.buffer_frames = 3
        session.hold()

    house.do(stall)
    for _ in range(4):
        desk.create(ticker, "bid", "0.4800", "1.00")
    house.do(session.release)

    overflow = socket.next()
    assert (overflow["type"], overflow["sid"], overflow["msg"]["code"]) == ("error", 1, 25)
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    assert socket.next()["msg"] == {"channel": "orderbook_delta", "sid": 2}


def test_a_connection_whose_key_is_gone_keeps_what_it_has_and_gets_nothing_more(
    house: House, desk: Peer, rival: Peer, ticker: str
) -> None:
    keyless = house.key_of(desk.member_id)  # type: ignore[attr-defined]
    socket = keyless.connect()
    socket.send("subscribe", channels=["trade"], market_tickers=[ticker])
    socket.until("subscribed")
    desk.call("DELETE", f"/api_keys/{keyless.key_id}")
    rival.create(ticker, "ask", "0.5000", "1.00")
    desk.create(ticker, "bid", "0.5000", "1.00")

    assert socket.until("trade")["msg"]["market_ticker"] == ticker
    command = socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    refused = socket.until("error")
    assert (refused["id"], refused["msg"]) == (command, {"code": 9, "msg": "Authentication required"})
    socket.send("list_subscriptions")
    assert [held["channel"] for held in socket.next()["msg"]] == ["trade"]
