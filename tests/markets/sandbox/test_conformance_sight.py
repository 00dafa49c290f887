"""Planted departures from the documents: each is heard by the judge of every test, and turns a run red."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from markets.sandbox import bodies, errors, frames, messages, papers, web
from tests import overheard
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.hearing import EAR
from tests.markets.sandbox.peer import PREFIX, Peer

pytestmark = pytest.mark.sight

ROOT = Path(__file__).resolve().parents[3]
Bend = Callable[[Any], Any]


def renamed(name: str, other: str) -> Bend:
    return lambda body: {other if key == name else key: value for key, value in body.items()}


def without(name: str) -> Bend:
    return lambda body: {key: value for key, value in body.items() if key != name}


def having(**fields: Any) -> Bend:
    return lambda body: {**body, **fields}


def in_text(before: str, after: str) -> Bend:
    return lambda text: text.replace(before, after)


def bent(function: Callable[..., Any], bend: Bend) -> Callable[..., Any]:
    return lambda *arguments, **named: bend(function(*arguments, **named))


BODIES = {
    "an order's filled count is renamed": (papers, "order", renamed("fill_count_fp", "fill_count")),
    "an order has no remaining count": (papers, "order", without("remaining_count_fp")),
    "an order is partly filled": (papers, "order", having(status="partially_filled")),
    "an order's time is a number": (papers, "order", having(created_time=1_795_356_000)),
    "a fill has no fee": (papers, "fill", without("fee_cost")),
    "a fill tells its client order id": (papers, "fill", having(client_order_id="mine")),
    "a create tells a status": (papers, "created", having(status="resting")),
    "a balance is a text": (papers, "balance", lambda body: {**body, "balance": str(body["balance"])}),
    "a position has two decimals": (papers, "position", having(market_exposure_dollars="5.00")),
    "a market's volume is a number": (bodies, "market", having(volume_fp=5)),
    "a market's volume has no decimals": (bodies, "market", having(volume_fp="5")),
    "a market has a status of the filter": (bodies, "market", having(status="open")),
    "a market has no grid": (bodies, "market", without("price_ranges")),
    "a book is named as on the stream": (bodies, "book", renamed("yes_dollars", "yes_dollars_fp")),
    "a trade's time has zeros at its end": (bodies, "trade", having(created_time="2026-11-22T14:00:30.100Z")),
    "a refusal names a service": (errors, "error_object", having(service="exchange")),
    "a refusal has no code": (errors, "error_object", without("code")),
}
FRAMES = {
    "a snapshot's side is named as over REST": (frames, "snapshot_body", in_text("yes_dollars_fp", "yes_dollars")),
    "a snapshot has no clock": (frames, "snapshot_body", in_text('"clock"', '"watch"')),
    "a change is a number": (frames, "delta_body", lambda text: _number(text, "delta_fp")),
    "a change has no market id": (frames, "delta_body", in_text('"market_id"', '"id"')),
    "a numbered frame has no number": (frames, "numbered", in_text('"seq":', '"sequence":')),
    "a trade has no time": (messages, "trade", in_text('"ts_ms"', '"at_ms"')),
    "a trade is of neither side": (messages, "trade", in_text('"taker_side":"yes"', '"taker_side":"both"')),
    "a fill has no position after it": (messages, "fill", in_text("post_position_fp", "position_fp")),
    "an order has a status nobody knows": (messages, "user_order", in_text('"status":"resting"', '"status":"open"')),
    "a reply says it subscribed to nothing": (frames, "reply", in_text('"channel"', '"name"')),
}


def _number(text: str, name: str) -> str:
    body = msgspec.json.decode(text)
    return msgspec.json.encode({**body, name: float(body[name])}).decode()


def everything(house: House, desk: Peer, rival: Peer) -> None:
    """Read, trade and listen once."""
    ticker = house.market()
    rival.create(ticker, "bid", "0.1000", "2.00")
    socket = desk.connect()
    socket.send("subscribe", channels=["orderbook_delta", "trade", "fill", "user_orders"], market_ticker=ticker)
    rival.create(ticker, "ask", "0.5000", "2.00")
    desk.create(ticker, "bid", "0.5000", "3.00", client_order_id=f"of {ticker}")
    desk.create(ticker, "bid", "0.5050", "3.00")
    for path in ("/portfolio/orders", "/portfolio/fills", "/portfolio/positions", "/portfolio/balance"):
        desk.call("GET", path)
    for path in (f"/markets/{ticker}", f"/markets/{ticker}/orderbook", f"/markets/trades?ticker={ticker}"):
        requests.get(f"{house.url}{PREFIX}{path}", timeout=5)


def complaints_about(request: pytest.FixtureRequest, house: House) -> list[str]:
    """Return what the judge of this run has to say, and let the test itself pass."""
    desk, rival = house.member(), house.member()
    everything(house, desk, rival)
    return request.config.stash[EAR].complaints()


@pytest.mark.parametrize("what", BODIES)
def test_the_judge_hears_a_bent_body(
    request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    module, name, bend = BODIES[what]
    monkeypatch.setattr(module, name, bent(getattr(module, name), bend))

    assert complaints_about(request, house) != []


@pytest.mark.parametrize("what", FRAMES)
def test_the_judge_hears_a_bent_frame(
    request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    module, name, bend = FRAMES[what]
    monkeypatch.setattr(module, name, bent(getattr(module, name), bend))

    assert complaints_about(request, house) != []


def test_the_judge_hears_keys_out_of_order(
    request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_encode", lambda body: msgspec.json.encode(dict(sorted(body.items(), reverse=True))))

    assert any("alphabetical" in complaint for complaint in complaints_about(request, house))


def test_the_judge_hears_nothing_when_nothing_is_bent(request: pytest.FixtureRequest, house: House) -> None:
    assert complaints_about(request, house) == []


def test_a_renamed_field_turns_a_run_red(tmp_path: Path) -> None:
    plant = "from markets.sandbox import papers\nbalance = papers.balance\n" + (
        "papers.balance = lambda *a, **k: "
        "{('portfolio' if n == 'portfolio_value' else n): v for n, v in balance(*a, **k).items()}\n"
    )
    (tmp_path / "plant.py").write_text(plant)
    run = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "plant", "tests/markets/sandbox/test_account_wire.py"]

    found = subprocess.run(
        [sys.executable, *run],
        cwd=ROOT,
        env={**os.environ, **overheard.UNHEARD, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert found.returncode == 1
    assert "portfolio_value' is a required property" in found.stdout
