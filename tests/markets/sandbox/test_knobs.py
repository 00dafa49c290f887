"""Every fault knob has tests that show it on the wire, and the variants that are made of two knobs or of none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import requests

from markets.sandbox.knobs import KNOBS
from tests.markets.sandbox import (
    test_faults_rest,
    test_faults_stream,
    test_mistakes,
    test_orders_wire,
    test_public_wire,
    test_stream,
    test_ways,
)
from tests.markets.sandbox.conftest import House
from tests.markets.sandbox.peer import PREFIX, Peer

CREATE = f"{PREFIX}/portfolio/events/orders"
Switch = Callable[..., Any]

ELSEWHERE = (
    test_faults_rest,
    test_faults_stream,
    test_mistakes,
    test_orders_wire,
    test_public_wire,
    test_stream,
    test_ways,
)
# Knob → the tests that show it.
SHOWN: dict[str, list[str]] = {
    "P1": ["test_p1_holds_a_request_before_it_is_accepted"],
    "P2": ["test_p2_holds_the_answer_after_the_order_was_accepted"],
    "P3": ["test_p3_and_p4_accept_and_end_the_connection"],
    "P4": ["test_p3_and_p4_accept_and_end_the_connection"],
    "P5": ["test_p5_accepts_and_hangs"],
    "P6": ["test_p6_ends_the_connection_before_anything_is_accepted"],
    "P7": ["test_p7_and_p8_fail_before_and_after"],
    "P8": ["test_p7_and_p8_fail_before_and_after"],
    "P9": ["test_p9_times_out_before_or_after"],
    "P10": ["test_p10_cuts_the_body_short"],
    "P11": ["test_p11_answers_with_what_is_no_json", "test_p11_can_be_a_bomb"],
    "P12": ["test_p12_succeeds_without_an_order"],
    "P13": ["test_p13_claims_a_duplicate", "test_p13_remembers_ids_as_long_as_it_is_told"],
    "P14": ["test_p14_limits_the_rate_in_every_form"],
    "P15": ["test_p15_refuses_in_every_shape_with_a_code_nobody_knows", "test_p15_refuses_in_plain_text"],
    "P16": ["test_p16_refuses_signatures", "test_p16_can_be_true_of_a_clock_that_is_off"],
    "P17": ["test_p17_refuses_the_scope"],
    "P18": ["test_p18_redirects_elsewhere"],
    "P19": ["test_p19_delivers_the_true_answer_oddly"],
    "P20": ["test_p20_closes_a_connection_between_two_requests"],
    "P21": ["test_p21_accepts_a_request_whose_sender_has_given_up"],
    "P22": ["test_p22_spoils_the_answer_to_a_batch"],
    "P23": ["test_p23_refuses_as_the_exchange_would", "test_p23_is_also_true_of_a_pause"],
    "P24": [
        "test_p24_fills_an_order_while_its_cancel_is_on_the_way",
        "test_p24_fills_more_than_was_ordered_everywhere",
        "test_p24_fills_an_executed_order_once_more",
        "test_p24_takes_a_match_back_everywhere",
        "test_p24_adjusts_a_match_and_gives_its_fees_back_in_part",
        "test_p24_fills_a_part_and_rests_and_drops_what_is_left_of_an_ioc",
    ],
    "P25": ["test_p25_changes_one_field_of_the_true_answer"],
    "P26": ["test_p26_reads_what_was_a_moment_ago", "test_p26_may_flip_between_old_and_new"],
    "P27": [
        "test_p27_spoils_lookups_and_pages",
        "test_p27_moves_the_historical_cutoff",
        "test_p27_pages_that_grow_under_the_reader",
    ],
    "P28": [
        "test_p28_refuses_connections_for_a_while",
        "test_p28_a_refused_connection_is_an_order_that_never_left",
        "test_p28_a_name_that_does_not_resolve_is_an_order_that_never_left",
        "test_p28_a_sound_certificate_opens_the_whole_exchange",
        "test_p28_a_bad_certificate_ends_it_before_anything_is_sent",
        "test_p28_a_handshake_that_stalls_leaves_the_order_in_doubt",
        "test_p28_a_black_hole_on_ipv6_costs_time_and_not_the_order",
    ],
    "P29": ["test_p29_changes_the_account"],
    "P30": ["test_p30_lies_about_the_status"],
    "S1": ["test_s1_leaves_a_hole_in_the_numbers"],
    "S2": ["test_s2_repeats_a_frame"],
    "S3": ["test_s3_swaps_two_frames"],
    "S4": ["test_s4_begins_the_numbers_again"],
    "S5": ["test_s5_brings_a_change_before_its_snapshot"],
    "S6": ["test_s6_sends_a_snapshot_unasked"],
    "S7": ["test_s7_corrupts_a_level"],
    "S8": [
        "test_s8_says_what_nobody_knows",
        "test_s8_ends_a_sid_with_an_error",
        "test_s8_says_that_a_command_took_too_long",
    ],
    "S9": ["test_s9_sends_what_is_no_json", "test_s9_sends_too_much", "test_s9_sends_wrong_kinds_of_frames"],
    "S10": [
        "test_s10_ends_the_connection_without_a_word",
        "test_d10_refuses_the_dial",
        "test_d10_ends_the_dial",
    ],
    "S11": ["test_s11_falls_silent_on_an_open_connection", "test_s11_may_go_on_pinging_and_come_back"],
    "S12": ["test_s12_drips", "test_s12_bursts"],
    "S13": [
        "test_s13_loses_repeats_and_delays_private_messages",
        "test_s13_tells_of_an_order_before_its_acknowledgement",
    ],
    "S14": ["test_s14_is_the_operators_hand", "test_s14_is_seen_by_who_watches"],
    "S15": ["test_s15_skews_times_or_leaves_them_out"],
    "S16": ["test_s16_loses_an_acknowledgement", "test_s16_loses_one_of_two_acknowledgements"],
}


def _names(*modules: ModuleType) -> set[str]:
    return {name for module in modules for name in vars(module) if name.startswith("test_")}


def test_every_knob_has_tests_and_every_test_named_exists() -> None:
    known = _names(*ELSEWHERE) | {name for name in globals() if name.startswith("test_")}
    wanted = {f"P{number}" for number in range(1, 31)} | {f"S{number}" for number in range(1, 17)}

    assert set(SHOWN) == wanted
    assert {name for names in SHOWN.values() for name in names} - known == set()


def test_every_knob_that_can_be_posted_is_in_the_table() -> None:
    switches = {name.partition("-")[0] for name in KNOBS.names() if name[0] in "PS"}  # P24 has three

    # S14 is the operator's hand on markets; everything else of the table can be posted by its own name.
    assert set(SHOWN) - switches == {"S14"}
    assert switches <= set(SHOWN)


@pytest.fixture
def fault(house: House) -> Iterator[Switch]:
    """Return a function that switches a fault on; all are off again after the test."""

    def switch(name: str, *, match: dict[str, Any] | None = None, count: int | None = None, **params: Any) -> None:
        body = {"fault": name, "match": match or {}, "params": params, "count": count}
        answer = requests.post(f"{house.url}/__sandbox__/faults", json=body, timeout=5)
        assert answer.status_code == 201, answer.text

    yield switch
    requests.delete(f"{house.url}/__sandbox__/faults", timeout=5)


def bent(peer: Peer, method: str, path: str, *, body: Any = None) -> Any:
    """Return the decoded body of a request whose answer is wrong on purpose."""
    full = PREFIX + path
    answer = requests.request(method, peer.url + full, json=body, headers=peer.headers(method, full), timeout=5)
    return answer.json()


def order_body(ticker: str, **fields: Any) -> dict[str, Any]:
    return {
        "ticker": ticker,
        "side": "bid",
        "price": "0.5000",
        "count": "1.00",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        **fields,
    }


def test_p23_is_also_true_of_a_pause(house: House, desk: Peer, ticker: str) -> None:
    requests.post(f"{house.url}/__sandbox__/trading/pause", json={}, timeout=5)
    paused = desk.create(ticker, "bid", "0.5000", "1.00")
    requests.post(f"{house.url}/__sandbox__/trading/resume", json={}, timeout=5)
    requests.post(f"{house.url}/__sandbox__/exchange/pause", json={}, timeout=5)
    stopped = desk.create(ticker, "bid", "0.5000", "1.00")
    requests.post(f"{house.url}/__sandbox__/exchange/resume", json={}, timeout=5)

    assert (paused.status_code, paused.json()["error"]["code"]) == (409, "trading_is_paused")
    assert (stopped.status_code, stopped.json()["error"]["code"]) == (503, "service_unavailable")
    assert desk.create(ticker, "bid", "0.5000", "1.00").status_code == 201


def test_p24_fills_a_part_and_rests_and_drops_what_is_left_of_an_ioc(desk: Peer, rival: Peer, ticker: str) -> None:
    rival.create(ticker, "ask", "0.5000", "2.00")
    rests = desk.create(ticker, "bid", "0.5000", "3.00").json()
    own = desk.create(ticker, "ask", "0.5000", "3.00").json()
    rival.create(ticker, "ask", "0.4900", "1.00")
    drops = desk.create(ticker, "bid", "0.5100", "4.00", time_in_force="immediate_or_cancel").json()

    assert (rests["fill_count"], rests["remaining_count"]) == ("2.00", "1.00")
    assert (own["fill_count"], own["remaining_count"]) == ("0.00", "0.00")  # it met an order of its own
    assert (drops["fill_count"], drops["remaining_count"]) == ("0.00", "0.00")  # the resting bid took the offer


def test_p27_moves_the_historical_cutoff(house: House, desk: Peer, fault: Switch) -> None:
    moved = "2026-11-24T00:00:00Z"
    fault("P25", match={"path": f"{PREFIX}/historical/cutoff"}, field="orders_updated_ts", value=moved)

    assert bent(desk, "GET", "/historical/cutoff")["orders_updated_ts"] == moved


def test_p27_pages_that_grow_under_the_reader(desk: Peer, ticker: str) -> None:
    first = [desk.create(ticker, "bid", "0.4000", "1.00").json()["order_id"] for _ in range(4)]
    page = desk.get("/portfolio/orders", limit=2)
    late = desk.create(ticker, "bid", "0.4000", "1.00").json()["order_id"]
    rest = desk.get("/portfolio/orders", limit=2, cursor=page["cursor"])

    read = [row["order_id"] for row in (*page["orders"], *rest["orders"])]
    assert read == first[::-1]  # newest first; what came meanwhile stands before the cursor and is not missed twice
    assert late not in read
    assert rest["cursor"] == ""


def test_s13_tells_of_an_order_before_its_acknowledgement(desk: Peer, ticker: str, fault: Switch) -> None:
    socket = desk.connect()
    socket.send("subscribe", channels=["user_orders"])
    socket.until("subscribed")
    fault("P2", match={"method": "POST", "path": CREATE}, count=1, seconds=0.5)
    answered = threading.Event()

    def create() -> None:
        desk.create(ticker, "bid", "0.4800", "1.00", client_order_id="early")
        answered.set()

    sender = threading.Thread(target=create)
    sender.start()
    told = socket.until("user_order", client_order_id="early")
    is_first = not answered.is_set()
    sender.join()

    assert is_first
    assert told["msg"]["status"] == "resting"


def test_s14_is_seen_by_who_watches(house: House, desk: Peer, ticker: str) -> None:
    desk.create(ticker, "bid", "0.4800", "1.00")
    socket = desk.connect()
    socket.send("subscribe", channels=["orderbook_delta"], market_tickers=[ticker])
    socket.send("subscribe", channels=["market_lifecycle_v2"])
    socket.until("orderbook_snapshot")
    socket.until("subscribed")
    for verb in ("pause", "activate", "close"):
        requests.post(f"{house.url}/__sandbox__/markets/{ticker}/{verb}", json={}, timeout=5)
    kinds = [socket.until("market_lifecycle_v2", market_ticker=ticker)["msg"]["event_type"] for _ in range(3)]
    emptied = socket.until("orderbook_snapshot")["msg"]
    requests.post(f"{house.url}/__sandbox__/markets/{ticker}/determine", json={"result": "yes"}, timeout=5)
    requests.post(f"{house.url}/__sandbox__/markets/{ticker}/settle", json={}, timeout=5)
    last = [socket.until("market_lifecycle_v2", market_ticker=ticker)["msg"]["event_type"] for _ in range(2)]

    assert kinds == ["deactivated", "activated", "close_date_updated"]
    assert {"yes_dollars_fp", "no_dollars_fp"}.isdisjoint(emptied)
    assert last == ["determined", "settled"]


def test_s16_loses_one_of_two_acknowledgements(desk: Peer, ticker: str, fault: Switch) -> None:
    fault("S16", match={"type": "subscribed", "channel": "trade"}, count=1)
    socket = desk.connect()

    socket.send("subscribe", channels=["orderbook_delta", "trade"], market_tickers=[ticker])
    first, second = json.loads(socket.raw.recv()), json.loads(socket.raw.recv())

    assert (first["type"], first["msg"]["channel"]) == ("subscribed", "orderbook_delta")
    assert second["type"] == "orderbook_snapshot"
