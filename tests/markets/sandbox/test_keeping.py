"""What survives: money, orders, positions, keys and the catalogue, across a stop and across a kill."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from markets.sandbox.keeping import BadState
from markets.sandbox.running import Options, RunningSandbox, Sandbox
from tests.markets.sandbox.peer import Peer
from tests.markets.sandbox.test_tape import snapshot, write_tape

ROOT = Path(__file__).resolve().parents[3]


def peer_of(folder: Path, name: str) -> Peer:
    facts = json.loads((folder / f"{name}.json").read_text())
    url = facts["rest_url"].removesuffix("/trade-api/v2")
    return Peer.from_pem(url, facts["key_id"], Path(facts["private_key_file"]).read_text())


def papers_of(peer: Peer) -> dict[str, Any]:
    balance = peer.get("/portfolio/balance")["balance_dollars"]
    lists = {name: peer.get(f"/portfolio/{name}") for name in ("orders", "fills", "positions", "settlements")}
    return {"balance": balance, **lists, "keys": peer.get("/api_keys")}


def test_a_member_finds_everything_again_after_a_restart(tmp_path: Path) -> None:
    options = Options(
        credentials=tmp_path / "keys", state=tmp_path / "state.sqlite3", markets=3, tier="prestige", has_makers=False
    )
    first = RunningSandbox(options)
    desk, rival = peer_of(tmp_path / "keys", "desk"), peer_of(tmp_path / "keys", "rival")
    ticker = desk.get("/markets")["markets"][0]["ticker"]
    desk.create(ticker, "bid", "0.4800", "10.00", client_order_id="for ever")
    rival.create(ticker, "ask", "0.4800", "4.00")
    desk.call("POST", "/api_keys/generate", body={"name": "second", "key_type": "ed25519"})
    before, key_id = papers_of(desk), desk.key_id
    first.stop()

    second = RunningSandbox(options)
    try:
        again = peer_of(tmp_path / "keys", "desk")

        assert again.key_id == key_id
        assert papers_of(again) == before
        assert again.create(ticker, "bid", "0.4800", "1.00", client_order_id="for ever").status_code == 409
        assert again.get(f"/markets/{ticker}/orderbook")["orderbook_fp"]["yes_dollars"] == [["0.4800", "6.00"]]
    finally:
        second.stop()


def test_the_house_takes_its_old_quotes_back_and_quotes_anew(tmp_path: Path) -> None:
    options = Options(state=tmp_path / "state.sqlite3", markets=12)
    first = RunningSandbox(options)
    first.stop()

    second = RunningSandbox(options)
    try:
        exchange = second.sandbox.venue.exchange
        house = second.sandbox.venue.member_named("house quotes")
        assert house is not None
        resting = Counter(order.ticker for order in exchange.orders(house.member_id))
        assert len(resting) >= 12
        assert max(resting.values()) <= 24  # twelve levels a side
    finally:
        second.stop()


def test_a_recording_of_an_earlier_run_is_closed_in_the_next(tmp_path: Path) -> None:
    tape = write_tape(tmp_path / "tape.jsonl", (0, snapshot(1, yes_dollars_fp=[["0.4800", "10.00"]])))
    state = tmp_path / "state.sqlite3"
    RunningSandbox(Options(state=state, markets=0, has_makers=False, tapes=(tape,))).stop()

    again = RunningSandbox(Options(state=state, markets=0, has_makers=False))
    again.stop()

    assert again.sandbox.venue.exchange.markets["KXTAPED-1-A"].status == "closed"


def test_credentials_are_for_their_owner_and_follow_the_port(tmp_path: Path) -> None:
    options = Options(credentials=tmp_path / "keys", state=tmp_path / "state.sqlite3", markets=1, has_makers=False)
    ports = []
    for _ in range(2):
        running = RunningSandbox(options)
        ports.append(running.port)
        facts = json.loads((tmp_path / "keys" / "desk.json").read_text())
        running.stop()

    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"desk.json", "desk.pem", "rival.json", "rival.pem"}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert set(facts) == {"key_id", "private_key_file", "member", "rest_url", "ws_url"}
    assert facts["ws_url"] == f"ws://127.0.0.1:{ports[1]}/trade-api/ws/v2"


def test_a_key_that_its_member_deleted_is_not_written_anew(tmp_path: Path) -> None:
    options = Options(credentials=tmp_path / "keys", state=tmp_path / "state.sqlite3", markets=1, has_makers=False)
    first = RunningSandbox(options)
    desk = peer_of(tmp_path / "keys", "desk")
    desk.call("POST", "/api_keys/generate", body={"name": "sealed elsewhere"})
    desk.call("DELETE", f"/api_keys/{desk.key_id}")
    first.stop()

    second = RunningSandbox(options)
    try:
        assert peer_of(tmp_path / "keys", "desk").call("GET", "/portfolio/orders").status_code == 401
        member = second.sandbox.venue.member_named("desk")
        assert member is not None
        assert [key.name for key in second.sandbox.venue.signatures.of_member(member.member_id)] == ["sealed elsewhere"]
    finally:
        second.stop()


def test_a_file_that_is_no_state_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    path.write_text("not a database, and long enough to be read as one" * 100)

    with pytest.raises(BadState):
        Sandbox(Options(state=path))
    assert path.read_text().startswith("not a database")


@pytest.mark.long
def test_a_kill_loses_at_most_the_last_second_and_never_the_file(tmp_path: Path) -> None:
    state, keys = tmp_path / "state.sqlite3", tmp_path / "keys"
    safe: set[str] = set()
    for round_number in range(4):
        running = _start(state, keys)
        desk = peer_of(keys, "desk")
        kept = {order["client_order_id"] for order in _all_orders(desk)}
        assert safe <= kept
        acknowledged = _send_for_seconds(desk, 3, f"round {round_number}")
        os.kill(running.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()
        # A second between two saves, and what a save itself takes on a busy machine.
        safe |= {name for name, at in acknowledged.items() if at < killed_at - 1.5}
        with closing(sqlite3.connect(state)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(safe) > 20


def _send_for_seconds(desk: Peer, seconds: float, name: str) -> dict[str, float]:
    """Send orders one after the other; return when each was acknowledged."""
    ticker = desk.get("/markets")["markets"][0]["ticker"]
    end, found = time.monotonic() + seconds, dict[str, float]()
    while time.monotonic() < end:
        made = desk.create(ticker, "bid", "0.0100", "1.00", client_order_id=f"{name} {len(found)}")
        assert made.status_code == 201
        found[f"{name} {len(found)}"] = time.monotonic()
    return found


def _all_orders(desk: Peer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = desk.get("/portfolio/orders", limit=1000, cursor=cursor)
        found += page["orders"]
        cursor = page["cursor"]
        if not cursor:
            return found


def _start(state: Path, keys: Path) -> subprocess.Popen[str]:
    command = ["manage.py", "run_sandbox", "--port", "0", "--state", str(state), "--credentials", str(keys)]
    running = subprocess.Popen(
        [sys.executable, *command, "--markets", "3", "--tier", "prestige"],
        cwd=ROOT,
        env={**os.environ, "KALSHIWEB_DATA_DIR": str(state.parent / "data")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert "serves" in running.stdout.readline()
    return running


def test_the_command_serves_and_ends_on_a_signal(tmp_path: Path) -> None:
    state, keys = tmp_path / "state.sqlite3", tmp_path / "keys"
    running = _start(state, keys)
    desk = peer_of(keys, "desk")
    ticker = desk.get("/markets", status="open")["markets"][0]["ticker"]
    assert desk.create(ticker, "bid", "0.0100", "1.00", client_order_id="kept").status_code == 201

    socket = desk.connect()
    socket.send("subscribe", channels=["ticker"])
    socket.until("subscribed")

    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=10) == 0

    assert running.stdout is not None
    running.stdout.close()
    with pytest.raises(requests.ConnectionError):
        desk.call("GET", "/portfolio/orders")
    saved = Sandbox(Options(state=state)).venue
    member = saved.member_named("desk")
    assert member is not None
    assert [order.client_order_id for order in saved.exchange.orders(member.member_id)] == ["kept"]


def test_a_port_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    taken = RunningSandbox(Options(markets=0, has_makers=False))
    try:
        refused = subprocess.run(
            [sys.executable, "manage.py", "run_sandbox", "--port", str(taken.port), "--markets", "0", "--no-makers"],
            cwd=ROOT,
            env={**os.environ, "KALSHIWEB_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        taken.stop()

    assert refused.returncode != 0
    assert f"Port {taken.port} is in use" in refused.stderr
