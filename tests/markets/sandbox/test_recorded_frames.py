"""What the exchange's documents show of its stream, heard here in the same form on a day on which all of it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from markets.sandbox import subscriptions
from markets.sandbox.catalogue import Event, FeeType, Market, Series
from tests.markets.sandbox.conftest import HOUR_US, House
from tests.markets.sandbox.peer import Peer, Socket
from tests.markets.sandbox.shapes import differences

Frames = list[dict[str, Any]]

# What an example tells apart from others of its type.
TELLING = ("event_type", "status", "last_update_reason", "code", "is_taker", "is_deactivated", "channel", "side")
ELSEWHERE = {"ws_error_codes_table": "a table of texts", "ws_session_orderbook": "", "ws_session_sweep": ""}
STRANGE = ("ws_auto_",)  # quotes, requests for quotes and prices of indices: not served


def names(folder: Path) -> list[str]:
    """Return every example of a message that is served."""
    found = sorted(path.stem for path in (folder / "examples").glob("ws_*.json"))
    return [name for name in found if not name.startswith((*STRANGE, "ws_cmd_")) and name not in ELSEWHERE]


class Stage:
    """One market and two members on the air."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.desk, self.rival = house.member(), house.member()
        self.ticker = house.market(series="KXSTAGE", event="KXSTAGE-1")
        self.other = house.market(series="KXSTAGE", event="KXSTAGE-1")
        self.heard: Frames = []

    def open(self, peer: Peer, *channels: str, **params: Any) -> Socket:
        socket = peer.connect()
        socket.send("subscribe", channels=list(channels), **params)
        for _ in channels:
            socket.until("subscribed")
        return socket

    def operate(self, path: str, **body: Any) -> None:
        requests.post(f"{self.house.url}/__sandbox__/{path}", json=body, timeout=5).raise_for_status()

    def keep(self, *sockets: Socket) -> None:
        """Take down everything up to the answer to one more command, and close."""
        for socket in sockets:
            command = socket.send("list_subscriptions")
            while True:
                frame = socket.next()
                if frame.get("id") == command:
                    break
            self.heard += socket.frames
            socket.close()

    # --- acts ------------------------------------------------------------------------------------------

    def books(self) -> None:
        """A book by snapshot and change, in both ways to price it, and every command."""
        self.rival.create(self.ticker, "bid", "0.4000", "9.00")
        self.rival.create(self.ticker, "ask", "0.6000", "9.00")
        self.rival.create(self.other, "bid", "0.4000", "9.00")
        self.rival.create(self.other, "ask", "0.6000", "9.00")
        plain = self.open(self.desk, "orderbook_delta", "trade", market_tickers=[self.ticker])
        plain.send("subscribe", channels=["orderbook_delta"], market_tickers=[self.other])
        plain.until("ok")
        own = self.open(self.desk, "orderbook_delta", market_ticker=self.ticker, use_yes_price=True)
        short = self.open(
            self.desk, "ticker", market_tickers=[self.ticker], send_initial_snapshot=True, skip_ticker_ack=True
        )
        short.send("update_subscription", sid=1, action="add_markets", market_tickers=[self.other])
        short.until("ok")
        self.rival.create(self.ticker, "bid", "0.4100", "1.00")
        self.rival.create(self.ticker, "ask", "0.5900", "1.00")
        self.desk.create(self.ticker, "bid", "0.4200", "1.00", client_order_id="own")
        self.desk.create(self.ticker, "bid", "0.5900", "1.00", time_in_force="immediate_or_cancel")
        plain.send("update_subscription", sids=[1], action="get_snapshot", market_tickers=[self.ticker])
        plain.send("update_subscription", sid=1, action="delete_markets", market_tickers=[self.other])
        plain.until("ok")
        plain.send("unsubscribe", sids=[2])
        plain.until("unsubscribed")
        self.keep(plain, own, short)

    def papers(self) -> None:
        """Orders that rest, trade and go in every way, as their owner is told."""
        desk, rival, ticker = self.desk, self.rival, self.other
        socket = self.open(desk, "user_orders", "fill", "market_positions", "order_group_updates")
        desk.create(ticker, "bid", "0.5000", "5.00", client_order_id="p1")
        rival.create(ticker, "ask", "0.5000", "2.00")
        rival.create(ticker, "ask", "0.5000", "3.00")
        desk.create(ticker, "ask", "0.5500", "2.00", client_order_id="short")
        rival.create(ticker, "bid", "0.5500", "2.00")
        desk.create(ticker, "bid", "0.6000", "1.00", client_order_id="takes")
        moved = desk.create(ticker, "bid", "0.3000", "5.00", client_order_id="p2").json()["order_id"]
        wanted = {"ticker": ticker, "side": "bid", "price": "0.3100", "count": "6.00"}
        desk.call("POST", f"/portfolio/events/orders/{moved}/amend", body=wanted)
        desk.call("DELETE", f"/portfolio/events/orders/{moved}")
        desk.create(self.ticker, "bid", "0.0500", "1.00", client_order_id="p3", expiration_time=int(time.time()) + 2)
        desk.create(ticker, "bid", "0.2900", "1.00", client_order_id="stays")
        desk.create(ticker, "ask", "0.2900", "1.00", client_order_id="p4")
        self._groups()
        desk.create(ticker, "bid", "0.2800", "1.00", client_order_id="p5", cancel_order_on_pause=True)
        self.operate(f"markets/{ticker}/pause")
        self.operate(f"markets/{ticker}/activate")
        desk.create(self.ticker, "bid", "0.2700", "1.00", client_order_id="p6")
        desk.create(self.ticker, "ask", "0.2700", "1.00", client_order_id="p7", self_trade_prevention_type="maker")
        desk.create(ticker, "bid", "0.2600", "1.00", client_order_id="closes")
        watcher = self.open(desk, "orderbook_delta", market_ticker=ticker)
        watcher.until("orderbook_snapshot")
        self.operate("clock", advance_seconds=3)
        socket.until("user_order", client_order_id="p3", status="canceled")
        self.operate(f"markets/{ticker}/close")
        watcher.until("orderbook_snapshot")
        socket.until("user_order", client_order_id="closes", status="canceled")
        self.keep(socket, watcher)

    def _groups(self) -> None:
        desk = self.desk
        group = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 5}).json()
        path = f"/portfolio/order_groups/{group['order_group_id']}"
        desk.call("PUT", f"{path}/limit", body={"contracts_limit": 9})
        desk.call("PUT", f"{path}/trigger", body={})
        desk.call("PUT", f"{path}/reset", body={})
        desk.call("DELETE", path)

    def lives(self) -> None:
        """Markets and events from their listing to their payout."""
        socket = self.open(self.desk, "market_lifecycle_v2", "multivariate_market_lifecycle")
        exchange, now = self.house.venue.exchange, self.house.venue.now_us()
        strikes: dict[str, Any] = {
            "strike_type": "between",
            "floor_strike": 52,
            "cap_strike": 60,
            "rules_primary": "If …",
        }
        strikes |= {"custom_strike": {"a": "b"}, "rules_secondary": ""}

        def add(name: str) -> None:
            exchange.add_series(Series(name, "Lives", "Tests"))
            exchange.add_event(Event(f"{name}-1", name, "Once", sub_title="Then", strike_us=now + HOUR_US))
            market = Market(f"{name}-1-A", f"{name}-1", exchange.new_id(), now - HOUR_US, now + HOUR_US)
            market.details = strikes
            exchange.add_market(market)

        for name in ("KXLIVES", "KXMVELIVES"):
            self.house.do(add, name)
        do, ticker = self.house.do, "KXLIVES-1-A"
        do(exchange.set_event_fee, "KXLIVES-1", FeeType.QUADRATIC, 5000)
        do(exchange.set_event_fee, "KXLIVES-1", None, None)
        for listed in (ticker, "KXMVELIVES-1-A"):
            do(exchange.pause_market, listed)
            do(exchange.resume_market, listed)
            do(exchange.move_close, listed, now + 2 * HOUR_US)
            do(exchange.set_grid, listed, "deci_cent")
            do(exchange.update_details, listed, {"strike_type": "greater", "floor_strike": 53, "yes_sub_title": "More"})
            do(exchange.determine, listed, "yes")
        self.keep(socket)

    def errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every refusal of a command that can be had."""
        socket = self.open(self.desk, "orderbook_delta", market_tickers=[self.ticker])
        socket.send("subscribe")
        socket.send("dance")
        socket.send("unsubscribe", sids=[99])
        socket.send("subscribe", channels=["luck"])
        socket.send("subscribe", channels=["orderbook_delta"])
        socket.send("update_subscription", sid=1, market_tickers=[self.ticker])
        monkeypatch.setattr(subscriptions, "MARKET_LIMIT", 1)
        monkeypatch.setattr(subscriptions, "COMMANDS_A_SECOND", 8)
        socket.send("subscribe", channels=["ticker"], market_tickers=[self.ticker, self.other])
        socket.send("list_subscriptions")
        while len([frame for frame in socket.frames if frame["type"] == "error"]) < 8:
            socket.next()
        monkeypatch.undo()
        self.heard += socket.frames
        socket.close()
        self._without_key_or_answer()
        for code, text in ((10, "Channel error"), (25, "Subscription buffer overflow")):
            self.operate(
                "faults",
                fault="S8",
                match={"type": "orderbook_delta"},
                params={"kind": "error", "code": code, "msg": text},
            )
            doomed = self.open(self.desk, "orderbook_delta", market_tickers=[self.ticker])
            self.rival.create(self.ticker, "bid", "0.1000", "1.00")
            doomed.until("error")
            self.heard += doomed.frames
            doomed.close()
            requests.delete(f"{self.house.url}/__sandbox__/faults", timeout=5)

    def _without_key_or_answer(self) -> None:
        """A connection whose key is gone, and a command whose answer takes too long."""
        once = self.house.key_of(self.desk.member_id)  # type: ignore[attr-defined]
        keyless = once.connect()
        self.desk.call("DELETE", f"/api_keys/{once.key_id}")
        keyless.send("subscribe", channels=["trade"])
        self.operate("faults", fault="S8", match={"type": "ok"}, params={"kind": "refusal"}, count=1)
        late = self.desk.connect()
        late.send("list_subscriptions")
        for socket in (keyless, late):
            socket.until("error")
            self.heard += socket.frames
            socket.close()
        requests.delete(f"{self.house.url}/__sandbox__/faults", timeout=5)


@pytest.fixture(scope="module")
def heard(house: House) -> Iterator[Frames]:
    """Return every frame of the day."""
    stage = Stage(house)
    acts: list[Callable[[], None]] = [stage.books, stage.papers, stage.lives]
    for act in acts:
        act()
    with pytest.MonkeyPatch.context() as patches:
        stage.errors(patches)
    yield stage.heard


def telling(frame: dict[str, Any]) -> dict[str, Any]:
    message = frame.get("msg")
    found = {name: message[name] for name in TELLING if name in message} if isinstance(message, dict) else {}
    return {"type": frame["type"], **found}


def test_every_shown_message_is_heard_in_the_same_form(heard: Frames, exchange_documents: Path) -> None:
    complaints = []
    for name in names(exchange_documents):
        shown = json.loads((exchange_documents / "examples" / f"{name}.json").read_text())
        alike = [frame for frame in heard if telling(frame) == telling(shown)]
        nearest = min((list(differences(shown, frame)) for frame in alike), key=len, default=["it was never heard"])
        complaints += [f"{name}: {sentence}" for sentence in nearest]

    assert complaints == []


def test_error_texts_are_those_of_the_table(exchange_documents: Path) -> None:
    table = json.loads((exchange_documents / "examples" / "ws_error_codes_table.json").read_text())

    assert {code: text for code, text in table.items() if int(code) in subscriptions.ERRORS} == {
        str(code): text for code, text in subscriptions.ERRORS.items()
    }


def commands(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "examples").glob("ws_cmd_*.json"))]


def test_every_shown_command_is_obeyed(house: House, desk: Peer, exchange_documents: Path) -> None:
    one, two = house.market(), house.market()
    renamed = {"KXHIGHNY-26NOV23-T52": one, "KXHIGHNY-26NOV23-B50.5": two}
    refused = []
    for shown in commands(exchange_documents):
        text = json.dumps(shown)
        for theirs, ours in renamed.items():
            text = text.replace(theirs, ours)
        socket = desk.connect()
        if shown["cmd"] not in {"subscribe", "list_subscriptions"}:
            for channel in ("orderbook_delta", "trade"):
                socket.send("subscribe", channels=[channel], market_tickers=[one, two])
                socket.until("subscribed")
        socket.raw.send(text)
        while (frame := socket.next()).get("id") != shown["id"]:
            pass
        if frame["type"] == "error":
            refused.append((shown, frame))
        socket.close()

    assert refused == []


def test_a_shown_dialogue_is_answered_in_the_same_order(house: House, desk: Peer, exchange_documents: Path) -> None:
    shown = json.loads((exchange_documents / "examples" / "ws_session_orderbook.json").read_text())
    one, two = house.market(), house.market()
    socket = desk.connect()
    for theirs, ticker in (("KXHIGHNY-26NOV23-T52", one), ("KXHIGHNY-26NOV23-B50.5", two)):
        shown = json.loads(json.dumps(shown).replace(theirs, ticker))
    for ticker in (one, two):
        desk.create(ticker, "bid", "0.4000", "1.00")
        desk.create(ticker, "ask", "0.6000", "1.00")
    kinds, answered = [], []
    for step in shown:
        frame = step["frame"]
        if step["from"] == "client":
            socket.raw.send(json.dumps(frame))
            continue
        if frame["type"] == "orderbook_delta":
            desk.create(frame["msg"]["market_ticker"], "bid", "0.4000", "1.00")
        ours = socket.next()
        kinds.append((frame["type"], frame.get("sid"), frame.get("seq")))
        answered.append((ours["type"], ours.get("sid"), ours.get("seq")))

    assert answered == kinds


def test_a_sweep_is_shown_match_by_match_as_recorded(house: House, desk: Peer, rival: Peer) -> None:
    """One change and one trade a match, the best price first, all at the same time."""
    ticker = house.market(structure="deci_cent")
    for price, count in (("0.4100", "1.00"), ("0.3500", "14.02"), ("0.3400", "33.00"), ("0.3300", "21.70")):
        rival.create(ticker, "bid", price, count)
    socket = desk.connect()
    socket.send("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[ticker])
    socket.until("orderbook_snapshot")
    desk.create(ticker, "ask", "0.3300", "69.72", time_in_force="immediate_or_cancel")
    frames = list(socket.read(9))

    changes = [frame["msg"] for frame in frames if frame["type"] == "orderbook_delta"]
    trades = [frame["msg"] for frame in frames if frame["type"] == "trade"]
    assert [(row["price_dollars"], row["delta_fp"]) for row in changes] == [
        ("0.4100", "-1.00"),
        ("0.3500", "-14.02"),
        ("0.3400", "-33.00"),
        ("0.3300", "-21.70"),
    ]
    assert [(row["yes_price_dollars"], row["count_fp"]) for row in trades] == [
        ("0.4100", "1.00"),
        ("0.3500", "14.02"),
        ("0.3400", "33.00"),
        ("0.3300", "21.70"),
    ]
    assert len({row["ts_ms"] for row in (*changes, *trades)}) == 1
