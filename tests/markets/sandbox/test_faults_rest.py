"""Each fault of a request, seen on the wire and judged by the exchange's own record of what really happened."""

from __future__ import annotations

import json
import select
import socket as sockets
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, Peer, order_body

CREATE = f"{PREFIX}/portfolio/events/orders"

Switch = Callable[..., dict[str, Any]]


@pytest.fixture
def fault(house: House) -> Iterator[Switch]:
    """Return a function that switches a fault on for order creates; all are off again after the test."""

    def switch(
        name: str,
        *,
        match: dict[str, Any] | None = None,
        count: int | None = None,
        more: dict[str, Any] | None = None,
        **params: Any,
    ) -> Any:
        params |= more or {}
        matched = {"method": "POST", "path": CREATE} if match is None else match
        body = {"fault": name, "match": matched, "params": params, "count": count}
        answer = requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5)
        assert answer.status_code == 201, answer.text
        return answer.json()

    yield switch
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)


@pytest.fixture
def record(house: House) -> Callable[[str], list[dict[str, Any]]]:
    """Return a function that reads what the exchange recorded of one kind since the test began."""
    since = house.venue.truth.count

    def read(kind: str) -> list[dict[str, Any]]:
        text = requests.get(f"{house.url}/__sandbox__/truth", params={"since": since}, timeout=5).text
        return [entry for entry in map(json.loads, text.splitlines()) if entry["kind"] == kind]

    return read


def create(desk: Peer, ticker: str, *, timeout: float = 5, **fields: Any) -> requests.Response:
    """Send one order without judging the answer: it is wrong on purpose."""
    body = order_body(ticker, **fields)
    return requests.post(
        f"{desk.url}{CREATE}", json=body, headers=desk.headers("POST", CREATE), timeout=timeout, allow_redirects=False
    )


def orders_of(desk: Peer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.get("/portfolio/orders")["orders"]
    return found


def test_p1_holds_a_request_before_it_is_accepted(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P1", seconds=0.3)

    began = time.monotonic()
    assert create(desk, ticker).status_code == 201
    assert time.monotonic() - began >= 0.3


def test_p21_accepts_a_request_whose_sender_has_given_up(house: House, desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P21", seconds=0.3)

    with pytest.raises(requests.Timeout):
        create(desk, ticker, timeout=0.1)
    assert orders_of(desk) == []
    deadline = time.monotonic() + 5
    while not orders_of(desk):
        assert time.monotonic() < deadline
    assert len(orders_of(desk)) == 1


def test_p2_holds_the_answer_after_the_order_was_accepted(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P2", seconds=0.3)

    with pytest.raises(requests.Timeout):
        create(desk, ticker, timeout=0.15)
    assert len(orders_of(desk)) == 1


@pytest.mark.parametrize("name", ["P3", "P4"])
def test_p3_and_p4_accept_and_end_the_connection(
    desk: Peer, ticker: str, fault: Switch, record: Callable[[str], list[dict[str, Any]]], name: str
) -> None:
    fault(name)

    with pytest.raises(requests.ConnectionError):
        create(desk, ticker, client_order_id="lost")

    assert [order["client_order_id"] for order in orders_of(desk)] == ["lost"]
    (request,) = [entry for entry in record("request") if entry["method"] == "POST"]
    assert (request["status"], request["faults"], request["client_order_id"]) == (201, [name], "lost")


def test_p5_accepts_and_hangs(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P5")

    with pytest.raises(requests.Timeout):
        create(desk, ticker, timeout=0.2)
    assert len(orders_of(desk)) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_p6_ends_the_connection_before_anything_is_accepted(
    desk: Peer, ticker: str, fault: Switch, record: Callable[[str], list[dict[str, Any]]], reset: bool
) -> None:
    fault("P6", reset=reset)

    with pytest.raises(requests.ConnectionError):
        create(desk, ticker)

    assert orders_of(desk) == []
    (request,) = [entry for entry in record("request") if entry["method"] == "POST"]
    assert request["status"] is None


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(("name", "accepted"), [("P7", 0), ("P8", 1)])
def test_p7_and_p8_fail_before_and_after(
    desk: Peer, ticker: str, fault: Switch, status: int, name: str, accepted: int
) -> None:
    fault(name, status=status)

    answer = create(desk, ticker)

    assert answer.status_code == status
    assert len(orders_of(desk)) == accepted
    assert answer.headers["content-type"].startswith("text/html" if status in {502, 504} else "application/json")


@pytest.mark.parametrize(("after", "accepted"), [(False, 0), (True, 1)])
def test_p9_times_out_before_or_after(desk: Peer, ticker: str, fault: Switch, after: bool, accepted: int) -> None:
    fault("P9", after=after)

    assert create(desk, ticker).status_code == 408
    assert len(orders_of(desk)) == accepted


@pytest.mark.parametrize("kind", ["length", "chunk"])
def test_p10_cuts_the_body_short(desk: Peer, ticker: str, fault: Switch, kind: str) -> None:
    fault("P10", kind=kind)

    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        create(desk, ticker)
    assert len(orders_of(desk)) == 1


@pytest.mark.parametrize("kind", ["malformed", "html", "empty"])
def test_p11_answers_with_what_is_no_json(desk: Peer, ticker: str, fault: Switch, kind: str) -> None:
    fault("P11", kind=kind)

    answer = create(desk, ticker)

    assert answer.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert len(orders_of(desk)) == 1


def test_p11_can_be_a_bomb(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P11", kind="bomb")

    with requests.post(
        f"{desk.url}{CREATE}", json={}, headers=desk.headers("POST", CREATE), timeout=5, stream=True
    ) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < 100_000


@pytest.mark.parametrize(
    ("params", "body", "accepted"),
    [
        ({}, "deprecated_v1_order_endpoint", 0),
        ({"kind": "no_order"}, "{}", 0),
        ({"kind": "no_order", "accepts": True}, "{}", 1),
    ],
)
def test_p12_succeeds_without_an_order(
    desk: Peer, ticker: str, fault: Switch, params: dict[str, Any], body: str, accepted: int
) -> None:
    fault("P12", **params)

    answer = create(desk, ticker)

    assert (answer.status_code, body in answer.text) == (201, True)
    assert len(orders_of(desk)) == accepted


@pytest.mark.parametrize(("kind", "accepted"), [("own", 1), ("foreign", 0)])
def test_p13_claims_a_duplicate(desk: Peer, ticker: str, fault: Switch, kind: str, accepted: int) -> None:
    fault("P13", kind=kind)

    answer = create(desk, ticker)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "order_already_exists")
    assert len(orders_of(desk)) == accepted


@pytest.mark.parametrize(("scope", "while_open", "once_finished"), [("open_only", 409, 201), ("none", 201, 201)])
def test_p13_remembers_ids_as_long_as_it_is_told(
    desk: Peer, ticker: str, fault: Switch, scope: str, while_open: int, once_finished: int
) -> None:
    fault("C3", match={}, scope=scope)
    first = create(desk, ticker, client_order_id="again").json()["order_id"]

    assert create(desk, ticker, client_order_id="again").status_code == while_open
    desk.call("DELETE", f"/portfolio/events/orders/{first}")
    assert create(desk, ticker, client_order_id="again").status_code == once_finished


@pytest.mark.parametrize("after", [None, "7", "0", "-1", "99999", "Wed, 25 Nov 2026 10:00:00 GMT"])
@pytest.mark.parametrize(
    ("body", "found"), [("string", "too many requests"), ("nested", {"code": "too_many_requests"})]
)
def test_p14_limits_the_rate_in_every_form(
    desk: Peer, ticker: str, fault: Switch, after: str | None, body: str, found: Any
) -> None:
    fault("P14", body=body, **({} if after is None else {"retry_after": after}))

    answer = create(desk, ticker)

    assert (answer.status_code, answer.headers.get("retry-after")) == (429, after)
    error = answer.json()["error"]
    assert (error if body == "string" else {"code": error["code"]}) == found


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (1, {"error": {"code": "odd", "message": "odd"}}),
        (2, {"code": "odd", "message": "odd"}),
        (3, {"msg": "odd"}),
        (4, {"error": "odd"}),
    ],
)
def test_p15_refuses_in_every_shape_with_a_code_nobody_knows(
    desk: Peer, ticker: str, fault: Switch, shape: int, body: Any
) -> None:
    fault("P15", shape=shape, code="odd", status=418)

    answer = create(desk, ticker)

    assert (answer.status_code, answer.json()) == (418, body)
    assert orders_of(desk) == []


def test_p15_refuses_in_plain_text(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P15", shape=5, code="odd")

    assert create(desk, ticker).text == "odd\n"


@pytest.mark.parametrize("cause", ["missing", "expired", "unknown_key", "bad_signature"])
def test_p16_refuses_signatures(desk: Peer, ticker: str, fault: Switch, cause: str) -> None:
    fault("P16", cause=cause)

    assert create(desk, ticker).status_code == 401


def test_p16_can_be_true_of_a_clock_that_is_off(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("C1", match={}, seconds=40)

    answer = create(desk, ticker)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "header_timestamp_expired")
    ahead = parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()
    assert 35 < ahead < 45


def test_p17_refuses_the_scope(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P17")

    assert create(desk, ticker).status_code == 403


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_p18_redirects_elsewhere(desk: Peer, ticker: str, fault: Switch, status: int) -> None:
    fault("P18", status=status, location="http://elsewhere.invalid/orders")

    answer = create(desk, ticker)

    assert (answer.status_code, answer.headers["location"]) == (status, "http://elsewhere.invalid/orders")


@pytest.mark.parametrize("kind", ["continue", "early_hints", "duplicate_headers", "slow"])
def test_p19_delivers_the_true_answer_oddly(desk: Peer, ticker: str, fault: Switch, kind: str) -> None:
    fault("P19", kind=kind, seconds=0.0005)

    body = json.dumps({"ticker": ticker}).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in desk.headers("POST", CREATE).items())
    with sockets.create_connection(("127.0.0.1", int(desk.url.rpartition(":")[2])), timeout=5) as raw:
        raw.sendall(
            f"POST {CREATE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )
        received = b"".join(iter(lambda: raw.recv(65_536), b""))

    assert b"ticker is" not in received
    assert received.rstrip().endswith(b"}")
    beginnings = {"continue": b"HTTP/1.1 100", "early_hints": b"HTTP/1.1 103"}
    assert received.startswith(beginnings.get(kind, b"HTTP/1.1 400"))
    if kind == "duplicate_headers":
        assert received.lower().count(b"x-twice") == 2


def test_p20_closes_a_connection_between_two_requests(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P20", match={"method": "GET"}, count=1, seconds=0.0)
    with sockets.create_connection(("127.0.0.1", int(desk.url.rpartition(":")[2])), timeout=5) as raw:
        raw.sendall(f"GET {PREFIX}/exchange/status HTTP/1.1\r\nhost: x\r\n\r\n".encode())

        received = b"".join(iter(lambda: raw.recv(65_536), b""))

    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in received.lower()


@pytest.mark.parametrize(
    ("kind", "ids"),
    [("reordered", ["c", "b", "a"]), ("missing", ["a", "b"]), ("extra", ["a", "b", "c", "nobody's"])],
)
def test_p22_spoils_the_answer_to_a_batch(desk: Peer, ticker: str, fault: Switch, kind: str, ids: list[str]) -> None:
    fault("P22", match={"path": f"{CREATE}/batched"}, kind=kind)
    one = order_body(ticker)
    items = [{**one, "client_order_id": name} for name in "abc"]

    answer = desk.session.post(
        f"{desk.url}{CREATE}/batched",
        json={"orders": items},
        headers=desk.headers("POST", f"{CREATE}/batched"),
        timeout=5,
    )

    assert [row["client_order_id"] for row in answer.json()["orders"]] == ids
    assert len(orders_of(desk)) == 3


def test_p23_refuses_as_the_exchange_would(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P23", status=409, code="trading_is_paused")

    answer = create(desk, ticker)

    assert answer.json() == {"error": {"code": "trading_is_paused", "message": "trading is paused"}}


def test_p24_fills_an_order_while_its_cancel_is_on_the_way(
    house: House, desk: Peer, ticker: str, fault: Switch
) -> None:
    order = desk.create(ticker, "bid", "0.4800", "10.00").json()["order_id"]
    fault("P24", match={"method": "DELETE"}, ticker=ticker, side="ask", price="0.4800", more={"count": "4.00"})

    answer = desk.call("DELETE", f"/portfolio/events/orders/{order}")

    assert (answer.status_code, answer.json()["reduced_by"]) == (200, "6.00")
    assert desk.get(f"/portfolio/orders/{order}")["order"]["fill_count_fp"] == "4.00"


@pytest.mark.parametrize(
    ("params", "check"),
    [
        ({"field": "fill_count", "value": 1e308}, lambda body: body["fill_count"] == 1e308),
        ({"field": "fill_count", "value": None}, lambda body: body["fill_count"] is None),
        ({"field": "remaining_count", "value": "-1"}, lambda body: body["remaining_count"] == "-1"),
        ({"field": "order_id", "remove": True}, lambda body: "order_id" not in body),
    ],
)
def test_p25_changes_one_field_of_the_true_answer(
    desk: Peer, ticker: str, fault: Switch, params: dict[str, Any], check: Callable[[Any], bool]
) -> None:
    fault("P25", **params)

    assert check(create(desk, ticker).json())


def test_p26_reads_what_was_a_moment_ago(house: House, desk: Peer, ticker: str, fault: Switch) -> None:
    order = desk.create(ticker, "bid", "0.4800", "10.00").json()["order_id"]
    time.sleep(0.35)
    fault("P26", match={}, seconds=0.3)
    desk.call("DELETE", f"/portfolio/events/orders/{order}")
    fresh = desk.create(ticker, "bid", "0.4700", "1.00").json()["order_id"]

    assert desk.get(f"/portfolio/orders/{order}")["order"]["status"] == "resting"
    assert [row["order_id"] for row in orders_of(desk)] == [order]
    assert desk.call("GET", f"/portfolio/orders/{fresh}").status_code == 404
    deadline = time.monotonic() + 5
    while len(orders_of(desk)) < 2:
        assert time.monotonic() < deadline
    assert [row["order_id"] for row in orders_of(desk)] == [fresh, order]
    assert desk.get(f"/portfolio/orders/{order}")["order"]["status"] == "canceled"


def test_p26_may_flip_between_old_and_new(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P26", match={}, seconds=60, flip_flop=True)
    desk.create(ticker, "bid", "0.4800", "10.00")

    assert sorted(len(orders_of(desk)) for _ in range(4)) == [0, 0, 1, 1]


def test_p27_spoils_lookups_and_pages(desk: Peer, ticker: str, fault: Switch) -> None:
    orders = [desk.create(ticker, "bid", "0.4800", "1.00").json()["order_id"] for _ in range(3)]
    lists = {"path": f"{PREFIX}/portfolio/orders"}
    fault("P27", match=lists, count=1, kind="repeated")
    fault("P27", match={**lists, "nth": 2}, kind="dropped", rows=2)
    fault("P27", match={"path": f"{PREFIX}/portfolio/orders/*"}, kind="not_found")

    assert desk.get("/portfolio/orders")["cursor"] == "c2FtZQ"
    assert [row["order_id"] for row in orders_of(desk)] == orders[:1]
    assert desk.call("GET", f"/portfolio/orders/{orders[0]}").status_code == 404


def test_p28_refuses_connections_for_a_while(house: House, desk: Peer, fault: Switch) -> None:
    fault("P28", match={}, seconds=0.3)

    states = _states(int(house.url.rpartition(":")[2]))
    assert next(state for state in states if state == "refused")
    assert next(state for state in states if state == "open")


def _states(port: int) -> Iterator[str]:
    """Yield whether a port takes connections, again and again for five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            sockets.create_connection(("127.0.0.1", port), timeout=1).close()
            yield "open"
        except (ConnectionRefusedError, TimeoutError):
            yield "refused"
        select.select([], [], [], 0.01)  # a port asked without pause drops what it cannot queue


def test_p29_changes_the_account(house: House, desk: Peer, fault: Switch) -> None:
    name = house.venue.exchange.members[desk.member_id].name  # type: ignore[attr-defined]
    fault("P29", match={}, member=name, deposit="-9000")
    assert desk.get("/portfolio/balance")["balance_dollars"] == "1000.0000"

    fault("P29", match={}, member=name, tier="basic")
    assert desk.get("/account/limits")["usage_tier"] == "basic"

    fault("P29", match={}, member=name, revoke_key=desk.key_id)
    assert desk.call("GET", "/portfolio/orders").status_code == 401


def test_p30_lies_about_the_status(house: House, fault: Switch) -> None:
    fault("P30", match={"path": f"{PREFIX}/exchange/status"}, status=503, trading_active=False)

    answer = requests.get(f"{house.url}{PREFIX}/exchange/status", timeout=5)

    assert (answer.status_code, answer.json()["trading_active"], answer.json()["exchange_active"]) == (503, False, True)


def test_rules_nobody_documented_can_be_changed(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("C2", match={}, bad_expiry_code="some_other_code")

    refused = create(desk, ticker, expiration_time=1)

    assert refused.json()["error"]["code"] == "some_other_code"


# --- which requests are hit ------------------------------------------------------------------------------


def test_a_fault_hits_the_named_order_alone(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P7", match={"client_order_id": "unlucky"})

    assert create(desk, ticker, client_order_id="lucky").status_code == 201
    assert create(desk, ticker, client_order_id="unlucky").status_code == 503


def test_a_fault_hits_the_nth_request_or_so_many(house: House, desk: Peer, ticker: str, fault: Switch) -> None:
    fault("P7", match={"method": "POST", "nth": 2})
    assert [create(desk, ticker).status_code for _ in range(3)] == [201, 503, 201]
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)

    fault("P7", count=2)
    assert [create(desk, ticker).status_code for _ in range(3)] == [503, 503, 201]


def test_chance_is_drawn_from_the_seed(house: House, desk: Peer, ticker: str, fault: Switch) -> None:
    runs = []
    for _ in range(2):
        fault("P7", match={"method": "POST", "probability": 0.5, "seed": 7})
        runs.append([create(desk, ticker).status_code for _ in range(12)])
        requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)

    assert runs[0] == runs[1]
    assert set(runs[0]) == {201, 503}


def test_faults_are_listed_and_switched_off_one_by_one(house: House, fault: Switch) -> None:
    first, second = fault("P7"), fault("P8")

    requests.delete(f"{house.url}/__sandbox__/faults/{first['id']}", timeout=5)

    listed = requests.get(f"{house.url}/__sandbox__/faults", timeout=5).json()
    assert [row["id"] for row in listed["faults"]] == [second["id"]]
    assert set(listed["known"]) >= {f"P{number}" for number in range(1, 31)}
    assert set(listed["known"]) >= {f"S{number}" for number in range(1, 17)} - {"S14"}  # S14 is the control's markets/
    assert listed["known"]["P3"] == "P3: accept, then close without an answer."


def test_unknown_faults_and_matches_are_refused(house: House) -> None:
    for body in ({"fault": "P99"}, {"fault": "P7", "match": {"moon": "full"}}, {"fault": "P7", "count": "two"}, {}):
        assert requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5).status_code == 400
