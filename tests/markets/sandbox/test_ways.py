"""P28: ways to the exchange that fail, each on a wire, and what the desk's client makes of it: never a rejection.

An order that cannot have left is told apart from one that may have; nothing of either ever arrives.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters

from markets.kalshi.clock import wall_ms
from markets.kalshi.errors import KalshiError, OutcomeUnknown, Unavailable
from markets.kalshi.feed import dial
from markets.kalshi.feed.dial import Dialer, DialFailed
from markets.kalshi.messages import CreateOrder
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, SOCKET, Peer

PATIENT, SHORT = (3.0, 10.0), (0.2, 0.2)  # seconds to connect, between two pieces of an answer
Timeout = tuple[float, float]
Open = Callable[..., int]


@pytest.fixture
def way(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Return a function that opens a door and returns its port; the client trusts the authority behind it."""

    def open_it(kind: str, **params: Any) -> int:
        body = {"fault": "P28", "params": {"kind": kind, **params}}
        answer = requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5)
        assert answer.status_code == 201, answer.text
        told = answer.json()["params"]
        if "authority" in told:
            (tmp_path / "authority.pem").write_text(told["authority"])
            for module in (requests.adapters, dial):
                monkeypatch.setattr(module, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "authority.pem"))
        return int(told.get("port", 0))

    yield open_it
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)


@pytest.fixture
def signer(desk: Peer) -> Signer:
    return Signer(desk.key_id, desk.key)


def order_at(url: str, signer: Signer, ticker: str, timeout: Timeout = PATIENT) -> None:
    """Send one order, as the desk does."""
    order = CreateOrder(ticker=ticker, side="bid", count=Decimal(1), price=Decimal("0.5"))
    with RestClient(f"{url}{PREFIX}", signer=signer, timeout=timeout, read_attempts=1) as client:
        client.create_order(order)


def read_at(url: str, signer: Signer, timeout: Timeout = PATIENT) -> None:
    """Read one thing, as the desk does."""
    with RestClient(f"{url}{PREFIX}", signer=signer, timeout=timeout, read_attempts=1) as client:
        client.exchange_status()


def dial_at(url: str, signer: Signer, timeout: Timeout = PATIENT) -> None:
    """Open the stream, as the desk does."""
    Dialer(f"{url}{SOCKET}", signer=signer, hosts=None, now_ms=wall_ms, timeout=timeout[0]).dial().shutdown()


def outcome(act: Callable[[], None]) -> type[KalshiError]:
    """Return the class of what went wrong, by which the desk decides what to do next."""
    with pytest.raises(KalshiError) as caught:
        act()
    return caught.type


def orders(desk: Peer) -> list[str]:
    return [row["ticker"] for row in desk.get("/portfolio/orders")["orders"]]


def handshake(port: int, trusted: Path) -> str:
    """Return why a plain TLS client does not accept what a port presents; nothing where it does."""
    context = ssl.create_default_context(cafile=trusted)
    with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
        try:
            context.wrap_socket(plain, server_hostname="localhost").close()
        except ssl.SSLCertVerificationError as exc:
            return exc.verify_message
        return ""


# --- TLS ------------------------------------------------------------------------------------------------------


def test_p28_a_sound_certificate_opens_the_whole_exchange(way: Open, desk: Peer, signer: Signer, ticker: str) -> None:
    port = way("sound")

    read_at(f"https://localhost:{port}", signer)
    order_at(f"https://localhost:{port}", signer, ticker)
    dial_at(f"wss://localhost:{port}", signer)

    assert orders(desk) == [ticker]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("self_signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("wrong_host", "Hostname mismatch, certificate is not valid for 'localhost'."),
    ],
)
def test_p28_a_bad_certificate_ends_it_before_anything_is_sent(
    way: Open, desk: Peer, signer: Signer, ticker: str, tmp_path: Path, kind: str, why: str
) -> None:
    port = way(kind)

    assert handshake(port, tmp_path / "authority.pem") == why
    assert outcome(lambda: order_at(f"https://localhost:{port}", signer, ticker)) is Unavailable
    assert outcome(lambda: read_at(f"https://localhost:{port}", signer)) is Unavailable
    with pytest.raises(DialFailed, match="certificate cannot be verified"):
        dial_at(f"wss://localhost:{port}", signer)
    assert orders(desk) == []


def test_p28_a_handshake_that_stalls_leaves_the_order_in_doubt(
    way: Open, desk: Peer, signer: Signer, ticker: str
) -> None:
    port = way("stalled")

    assert outcome(lambda: order_at(f"https://localhost:{port}", signer, ticker, SHORT)) is OutcomeUnknown
    assert outcome(lambda: read_at(f"https://localhost:{port}", signer, SHORT)) is Unavailable
    with pytest.raises(DialFailed, match="TimeoutError"):
        dial_at(f"wss://localhost:{port}", signer, SHORT)
    assert orders(desk) == []


def test_a_door_of_no_known_kind_is_refused(house: House, way: Open) -> None:
    body = {"fault": "P28", "params": {"kind": "revolving"}}

    answer = requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5)

    assert answer.status_code == 400
    assert "sound, self_signed, expired, wrong_host, stalled, blackhole" in answer.json()["error"]


def test_a_door_shuts_with_its_fault(house: House, way: Open) -> None:
    port = way("stalled")
    socket.create_connection(("127.0.0.1", port), timeout=2).close()

    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)

    assert until(lambda: is_refused(port))


# --- connections and names --------------------------------------------------------------------------------------


def test_p28_a_refused_connection_is_an_order_that_never_left(
    house: House, way: Open, desk: Peer, signer: Signer, ticker: str
) -> None:
    desk.session.close()  # what is open already stays open
    way("refused", seconds=0.4)
    refused = until(lambda: outcome_or_none(lambda: read_at(house.url, signer)) is not None)

    assert outcome(lambda: order_at(house.url, signer, ticker)) is Unavailable
    with pytest.raises(DialFailed, match="ConnectionRefusedError"):
        dial_at(house.url.replace("http", "ws"), signer)
    assert refused
    assert until(lambda: outcome_or_none(lambda: read_at(house.url, signer)) is None)
    assert orders(desk) == []


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return True
    return False


def until(is_so: Callable[[], bool]) -> bool:
    """Ask again and again for five seconds; each question takes a request."""
    deadline = time.monotonic() + 5
    while not (found := is_so()) and time.monotonic() < deadline:
        pass
    return found


def outcome_or_none(act: Callable[[], None]) -> type[KalshiError] | None:
    try:
        act()
    except KalshiError as exc:
        return type(exc)
    return None


Resolve = Callable[[dict[str, list[str]]], list[str]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Return a function that hands a resolver in; it returns the list of what was asked that is not known."""
    real = socket.getaddrinfo

    def hand_in(known: dict[str, list[str]]) -> list[str]:
        unknown: list[str] = []

        def look_up(host: str, port: Any, *more: Any, **named: Any) -> Any:
            if host not in known:
                unknown.append(host)
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [found for address in known[host] for found in real(address, port, *more, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return unknown

    return hand_in


def test_p28_a_name_that_does_not_resolve_is_an_order_that_never_left(
    resolver: Resolve, desk: Peer, signer: Signer, ticker: str
) -> None:
    unknown = resolver({"127.0.0.1": ["127.0.0.1"]})

    assert outcome(lambda: order_at("https://exchange.invalid", signer, ticker)) is Unavailable
    with pytest.raises(DialFailed, match="gaierror"):
        dial_at("wss://exchange.invalid", signer)

    assert unknown == ["exchange.invalid", "exchange.invalid"]
    assert orders(desk) == []


@pytest.fixture
def ipv6() -> None:
    """Skip where this machine has no loopback of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as exc:
        pytest.skip(f"no IPv6 here: {errno.errorcode.get(exc.errno or 0, exc.errno)}")


def test_p28_a_black_hole_on_ipv6_costs_time_and_not_the_order(
    ipv6: None, way: Open, resolver: Resolve, desk: Peer, signer: Signer, ticker: str
) -> None:
    port = way("blackhole")
    resolver({"localhost": ["::1", "127.0.0.1"], "127.0.0.1": ["127.0.0.1"], "::1": ["::1"]})

    assert outcome(lambda: order_at(f"http://[::1]:{port}", signer, ticker, SHORT)) is Unavailable
    assert orders(desk) == []
    began = time.monotonic()
    order_at(f"http://localhost:{port}", signer, ticker, (SHORT[0], PATIENT[1]))

    assert time.monotonic() - began >= SHORT[0]
    assert orders(desk) == [ticker]
