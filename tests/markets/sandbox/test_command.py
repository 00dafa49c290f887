"""`manage.py run_sandbox`: the exchange as a process of its own says nothing undocumented either."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.markets.sandbox.conformance import Judge
from tests.markets.sandbox.peer import PREFIX, Peer
from tests.markets.sandbox.sampling import sample

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that runs the command and ends it with the test."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "run_sandbox", "--port", "0", *arguments]
        found = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(found)
        return found

    yield run
    for process in running:
        process.terminate()
        process.communicate(timeout=10)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_what_another_process_says_is_judged_by_samples(start: Start, judge: Judge, tmp_path: Path) -> None:
    told = first_line(start("--credentials", str(tmp_path), "--markets", "12", "--seed", "4"))

    assert re.fullmatch(r"The local exchange serves at http://127\.0\.0\.1:\d+/trade-api/v2\n", told)
    heard = sum(judge.answers.values())
    assert sample(tmp_path / "rival.json", judge) > 60
    assert sum(judge.answers.values()) - heard >= 40
    assert judge.complaints == []


def test_faults_reach_its_server_too(start: Start) -> None:
    url = first_line(start("--markets", "0", "--no-makers")).split()[-1].removesuffix(PREFIX)
    asked = {"fault": "P28", "params": {"kind": "self_signed"}}

    told = requests.post(f"{url}/__sandbox__/faults", json=asked, timeout=5).json()["params"]

    with pytest.raises(requests.exceptions.SSLError, match="self-signed"):
        requests.get(f"https://localhost:{told['port']}{PREFIX}/exchange/status", timeout=5)


def test_a_wrong_option_is_refused_with_its_name(start: Start) -> None:
    process = start("--speed", "0")

    _, told = process.communicate(timeout=20)

    assert process.returncode not in {0, None}
    assert "--speed must be above 0." in told


def test_a_missing_recording_is_named(start: Start, tmp_path: Path) -> None:
    process = start("--tape", str(tmp_path / "nothing.jsonl"))

    _, told = process.communicate(timeout=20)

    assert process.returncode not in {0, None}
    assert "nothing.jsonl" in told
    assert "Traceback" not in told


@pytest.mark.long
def test_it_serves_within_a_second_of_processor_time(start: Start) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start()
    first_line(process)
    process.terminate()
    process.communicate(timeout=10)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    sys.stdout.write(f"serves after {took:.2f} s of processor time\n")
    assert took < 1.0


CREATES, LINES = 1600, 4
LEAST_CREATES = 400  # a second; some 2,000 on two free cores, half of them busy with the client


@pytest.mark.long
@pytest.mark.parametrize("keeps", [True, False], ids=["kept connections", "a connection each"])
def test_signed_creates_a_second(start: Start, tmp_path: Path, keeps: bool) -> None:
    first_line(start("--credentials", str(tmp_path), "--tier", "prestige"))
    facts = json.loads((tmp_path / "desk.json").read_text())
    pem = Path(facts["private_key_file"]).read_text()
    peer = Peer.from_pem(facts["rest_url"].removesuffix(PREFIX), facts["key_id"], pem)
    ticker = requests.get(f"{facts['rest_url']}/markets?limit=1&status=open", timeout=5).json()["markets"][0]["ticker"]
    asked = [create(peer, ticker, f"c{number}") for number in range(CREATES)]
    port = int(facts["rest_url"].removesuffix(PREFIX).rpartition(":")[2])
    created: list[int] = []
    threads = [
        threading.Thread(target=lambda own: created.append(send(port, own, keeps)), args=(asked[line::LINES],))
        for line in range(LINES)
    ]

    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = CREATES / (time.monotonic() - began)

    sys.stdout.write(f"{rate:,.0f} signed creates a second\n")
    assert sum(created) == CREATES
    assert rate > LEAST_CREATES


def create(peer: Peer, ticker: str, client_order_id: str) -> bytes:
    """Return a whole signed request."""
    path = f"{PREFIX}/portfolio/events/orders"
    order: dict[str, Any] = {"ticker": ticker, "side": "bid", "price": "0.0100", "count": "1.00"}
    order |= {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker"}
    body = json.dumps({**order, "client_order_id": client_order_id})
    headers = {**peer.headers("POST", path), "Host": "x", "Content-Type": "application/json"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def send(port: int, asked: list[bytes], keeps: bool) -> int:
    """Send requests one after the other and return how many were answered with 201."""
    found, connection = 0, socket.create_connection(("127.0.0.1", port))
    for number, request in enumerate(asked):
        if number and not keeps:
            connection.close()
            connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        received = b""
        while not received.endswith(b"}"):  # an answer is one object, in one piece or a few
            received += connection.recv(65_536)
        found += received.startswith(b"HTTP/1.1 201")
    connection.close()
    return found
