"""What the real exchange sent and what its documents show, asked of this one: the same status, code and form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.markets.sandbox.conftest import HOUR_US, House
from tests.markets.sandbox.peer import PREFIX, Peer
from tests.markets.sandbox.shapes import differences

ORDERS = "/portfolio/events/orders"


@dataclass
class Day:
    """A day on which everything happened once."""

    house: House
    desk: Peer
    rival: Peer
    ticker: str
    filled: str  # an order of the desk that filled at once
    resting: str
    group: str

    @property
    def event(self) -> str:
        return str(self.house.venue.exchange.markets[self.ticker].event_ticker)

    @property
    def series(self) -> str:
        return str(self.house.venue.exchange.events[self.event].series_ticker)

    def public(self, path: str, **params: Any) -> requests.Response:
        answer = requests.get(f"{self.house.url}{PREFIX}{path}", params=params, timeout=5)
        self.house.judge.overhear("GET", path, answer)
        return answer

    def read(self, path: str, **params: Any) -> requests.Response:
        return self.desk.call("GET", path, **params)

    def order(self, **fields: Any) -> requests.Response:
        return self.desk.create(self.ticker, **{"side": "bid", "price": "0.0100", "count": "1.00", **fields})

    def candles(self, path: str, **params: Any) -> requests.Response:
        now = self.house.venue.now_us() // 1_000_000
        return self.public(path, start_ts=now - 600, end_ts=now + 60, period_interval=1, **params)

    def market(self, **fields: Any) -> requests.Response:
        return self.public(f"/markets/{self.house.market(**fields)}")

    def closed(self, *verbs: Callable[[str], Any]) -> requests.Response:
        ticker = self.house.market()
        for verb in verbs:
            self.house.do(verb, ticker)
        return self.public(f"/markets/{ticker}")


@pytest.fixture(scope="module")
def day(house: House) -> Day:
    """Return a day with fills on both sides, resting orders, a settlement and a group."""
    desk, rival = house.member(), house.member()
    ticker = house.market(series="KXDAY", event="KXDAY-1", category="Sports")
    rival.create(ticker, "ask", "0.5200", "1.00")
    filled = desk.create(ticker, "bid", "0.9900", "1.00", client_order_id="taker", time_in_force="immediate_or_cancel")
    resting = desk.create(ticker, "bid", "0.4700", "3.00", client_order_id="maker")
    rival.create(ticker, "ask", "0.5200", "3.00")
    done = house.market()
    rival.create(done, "ask", "0.5000", "10.00")
    desk.create(done, "bid", "0.5000", "10.00")
    house.do(house.venue.exchange.determine, done, "yes")
    house.do(house.venue.exchange.settle, done)
    group = desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 150}).json()
    order = {"order_group_id": group["order_group_id"]}
    desk.create(ticker, "bid", "0.0100", "1.00", **order)
    return Day(
        house, desk, rival, ticker, filled.json()["order_id"], resting.json()["order_id"], group["order_group_id"]
    )


def group_of(day: Day) -> str:
    made = day.desk.call("POST", "/portfolio/order_groups/create", body={"contracts_limit": 5})
    return str(made.json()["order_group_id"])


def batch(day: Day, method: str) -> requests.Response:
    if method == "DELETE":
        items = [{"order_id": day.order().json()["order_id"]}, {"order_id": day.filled}]
        return day.desk.call("DELETE", f"{ORDERS}/batched", body={"orders": items})
    one = {
        "ticker": day.ticker,
        "side": "bid",
        "price": "0.0100",
        "count": "1.00",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "maker",
    }
    crossing = {**one, "price": "0.6000", "post_only": True, "client_order_id": "crossing"}
    return day.desk.call("POST", f"{ORDERS}/batched", body={"orders": [{**one, "client_order_id": "fine"}, crossing]})


def amend(day: Day) -> requests.Response:
    order = day.order(client_order_id=f"amended {day.house.venue.truth.count}").json()["order_id"]
    body = {"ticker": day.ticker, "side": "bid", "price": "0.0200", "count": "2.00"}
    return day.desk.call("POST", f"{ORDERS}/{order}/amend", body=body)


def cancel(day: Day) -> requests.Response:
    return day.desk.call("DELETE", f"{ORDERS}/{day.order().json()['order_id']}")


def canceled_ask(day: Day) -> requests.Response:
    order = day.order(side="ask", price="0.9900").json()["order_id"]
    day.desk.call("DELETE", f"{ORDERS}/{order}")
    return day.read(f"/portfolio/orders/{order}")


def partly_filled(day: Day) -> requests.Response:
    order = day.order(price="0.4900", count="10.00").json()["order_id"]
    day.rival.create(day.ticker, "ask", "0.4900", "4.00")
    return day.read(f"/portfolio/orders/{order}")


def crossing_amend(day: Day) -> requests.Response:
    order = day.order(price="0.0100", count="5.00").json()["order_id"]
    body = {"ticker": day.ticker, "side": "bid", "price": "0.5200", "count": "5.00"}
    return day.desk.call("POST", f"{ORDERS}/{order}/amend", body=body)


def duplicate(day: Day) -> requests.Response:
    return day.order(client_order_id="maker")


def in_pause(day: Day) -> requests.Response:
    day.house.do(day.house.venue.exchange.pause_trading)
    try:
        return day.order()
    finally:
        day.house.do(day.house.venue.exchange.resume_trading)


def paused_status(day: Day, stop: str, go: str) -> requests.Response:
    exchange = day.house.venue.exchange
    day.house.do(getattr(exchange, stop))
    try:
        return day.public("/exchange/status")
    finally:
        day.house.do(getattr(exchange, go))


def stopped(day: Day) -> requests.Response:
    day.house.do(day.house.venue.exchange.pause_exchange)
    try:
        return day.order()
    finally:
        day.house.do(day.house.venue.exchange.resume_exchange)


def limits_of(day: Day, tier: str) -> requests.Response:
    return day.house.member(tier=tier).call("GET", "/account/limits")


def unsigned(day: Day, **changes: str | None) -> requests.Response:
    path = f"{PREFIX}/portfolio/balance"
    headers: dict[str, Any] = {**day.desk.headers("GET", path), **changes}
    answer = requests.get(
        day.house.url + path, headers={name: value for name, value in headers.items() if value is not None}, timeout=5
    )
    day.house.judge.overhear("GET", "/portfolio/balance", answer)
    return answer


def too_often(day: Day) -> requests.Response:
    poor = day.house.member(tier="basic")
    answers = [poor.call("GET", "/portfolio/balance") for _ in range(4)]
    return next(answer for answer in answers if answer.status_code == 429)


def generated(day: Day, kind: str) -> requests.Response:
    return day.desk.call("POST", "/api_keys/generate", body={"name": "bot", "key_type": kind})


def own_key(day: Day) -> requests.Response:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    return day.desk.call("POST", "/api_keys", body={"name": "own", "public_key": pem})


def exchange_of(day: Day) -> Any:
    return day.house.venue.exchange


Situation = Callable[[Day], requests.Response]

RECORDED: dict[str, Situation] = {
    "account/account__endpoint_costs": lambda day: day.public("/account/endpoint_costs"),
    "account/account__limits": lambda day: day.read("/account/limits"),
    "account/auth__balance_ok": lambda day: day.read("/portfolio/balance"),
    "account/fills__after_taker": lambda day: day.read("/portfolio/fills", limit=10),
    "account/portfolio__orders_list": lambda day: day.read("/portfolio/orders", limit=10),
    "account/portfolio__positions": lambda day: day.read("/portfolio/positions"),
    "account/settlements__page": lambda day: day.read("/portfolio/settlements", limit=10),
    "errors/auth__bad_signature": lambda day: unsigned(day, **{"KALSHI-ACCESS-SIGNATURE": "bm8="}),
    "errors/legacy_order_endpoint_410": lambda day: day.desk.call("POST", "/portfolio/orders", body={}),
    "errors/orders__duplicate_client_order_id": duplicate,
    "errors/orders__insufficient_balance": lambda day: day.order(price="0.9900", count="10099.00"),
    "markets/candlesticks_mlb": lambda day: day.candles(f"/series/{day.series}/markets/{day.ticker}/candlesticks"),
    "markets/events_nfl_preseason": lambda day: day.public(
        "/events", series_ticker="KXDAY", with_nested_markets="true"
    ),
    "markets/events_sports_nested": lambda day: day.public(
        "/events", series_ticker="KXDAY", with_nested_markets="true"
    ),
    "markets/exchange__status": lambda day: day.public("/exchange/status"),
    "markets/exchange_status_shards": lambda day: day.public("/exchange/status"),
    "markets/market_single": lambda day: day.public(f"/markets/{day.ticker}"),
    "markets/markets__high_temp": lambda day: day.public("/markets", series_ticker="KXDAY"),
    "markets/markets__page1": lambda day: day.public("/markets", limit=5),
    "markets/markets__page2": lambda day: day.public("/markets", limit=5),
    "markets/markets__page3": lambda day: day.public("/markets", limit=5),
    "markets/markets__single": lambda day: day.read(f"/markets/{day.ticker}"),
    "markets/markets__single_filter_lastpage": lambda day: day.public("/markets", tickers=day.ticker),
    "markets/markets__status_open": lambda day: day.public("/markets", status="open", limit=200),
    "markets/markets__unauth_single": lambda day: day.public(f"/markets/{day.ticker}"),
    "markets/orderbook__base": lambda day: day.public(f"/markets/{day.ticker}/orderbook"),
    "markets/series__fee_changes": lambda day: day.public("/series/fee_changes"),
    "markets/series_fee_fields": lambda day: day.public(f"/series/{day.series}"),
    "markets/trades__public_recorded": lambda day: day.public("/markets/trades", ticker=day.ticker, limit=12),
    "orders/orders__cancel_v2": cancel,
    "orders/orders__create_v2_maker": lambda day: day.order(client_order_id=f"m{day.house.venue.truth.count}"),
    "orders/orders__create_v2_taker_ioc": lambda day: day.order(
        price="0.9900", time_in_force="immediate_or_cancel", client_order_id=f"t{day.house.venue.truth.count}"
    ),
    "orders/orders__get_after_create": lambda day: day.read(f"/portfolio/orders/{day.resting}"),
}
# What a recording keeps around the body that was sent.
INSIDE: dict[str, Callable[[Any], Any]] = {
    "errors/legacy_order_endpoint_410": lambda found: found["body"],
    "markets/candlesticks_mlb": lambda found: {
        "candlesticks": next(iter(found["markets"].values()))["candlesticks"],
        "ticker": next(iter(found["markets"])),
    },
    "markets/events_nfl_preseason": lambda found: {"cursor": "", "events": found["events"]},
    "markets/events_sports_nested": lambda found: {"cursor": "", "events": found},
    "markets/exchange_status_shards": lambda found: found["body"],
    "markets/market_single": lambda found: found["single"],
    "markets/series_fee_fields": lambda found: next(iter(found["payloads"].values())),
}
STATUSES = {"errors/legacy_order_endpoint_410": 410}

EXAMPLES: dict[str, Situation] = {
    "account_endpoint_costs": lambda day: day.public("/account/endpoint_costs"),
    "account_limits_advanced": lambda day: limits_of(day, "advanced"),
    "account_limits_basic": lambda day: limits_of(day, "basic"),
    "account_limits_premier": lambda day: limits_of(day, "premier"),
    "account_volume_progress": lambda day: day.read("/account/api_usage_level/volume_progress"),
    "api_keys_create_response": own_key,
    "api_keys_generate_response_ed25519": lambda day: generated(day, "ed25519"),
    "api_keys_generate_response_rsa": lambda day: generated(day, "rsa"),
    "api_keys_list": lambda day: day.read("/api_keys"),
    "auto_GetSubaccountNettingResponse": lambda day: day.read("/portfolio/subaccounts/netting"),
    "auto_GetSubaccountTransfersResponse": lambda day: day.read("/portfolio/subaccounts/transfers"),
    "auto_GetWithdrawalsResponse": lambda day: day.read("/portfolio/withdrawals"),
    "balance": lambda day: day.read("/portfolio/balance"),
    "candlesticks": lambda day: day.candles(f"/series/{day.series}/markets/{day.ticker}/candlesticks"),
    "candlesticks_batch": lambda day: day.candles("/markets/candlesticks", market_tickers=day.ticker),
    "deposits": lambda day: day.read("/portfolio/deposits"),
    "empty_object": lambda day: day.desk.call("DELETE", f"/portfolio/order_groups/{group_of(day)}"),
    "event": lambda day: day.public(f"/events/{day.event}"),
    "event_metadata": lambda day: day.public(f"/events/{day.event}/metadata"),
    "event_with_nested_markets": lambda day: day.public(f"/events/{day.event}", with_nested_markets="true"),
    "events_fee_changes": lambda day: day.public("/events/fee_changes"),
    "events_list": lambda day: day.public("/events", series_ticker="KXDAY"),
    "events_list_with_nested_markets": lambda day: day.public(
        "/events", series_ticker="KXDAY", with_nested_markets="true"
    ),
    "events_multivariate": lambda day: day.public("/events/multivariate"),
    "exchange_schedule": lambda day: day.public("/exchange/schedule"),
    "exchange_status": lambda day: day.public("/exchange/status"),
    "exchange_status_exchange_pause": lambda day: paused_status(day, "pause_exchange", "resume_exchange"),
    "exchange_status_trading_pause": lambda day: paused_status(day, "pause_trading", "resume_trading"),
    "exchange_user_data_timestamp": lambda day: day.public("/exchange/user_data_timestamp"),
    "fills": lambda day: day.read("/portfolio/fills"),
    "historical_cutoff": lambda day: day.public("/historical/cutoff"),
    "market_active": lambda day: day.public(f"/markets/{day.ticker}"),
    "market_closed": lambda day: day.closed(
        lambda ticker: exchange_of(day).move_close(ticker, day.house.venue.now_us())
    ),
    "market_determined": lambda day: day.closed(lambda ticker: exchange_of(day).determine(ticker, "yes")),
    "market_empty_book": lambda day: day.market(),
    "market_inactive": lambda day: day.closed(lambda ticker: exchange_of(day).pause_market(ticker)),
    "market_initialized": lambda day: day.market(
        open_us=day.house.venue.now_us() + HOUR_US, close_us=day.house.venue.now_us() + 2 * HOUR_US
    ),
    "market_settled_scalar": lambda day: day.closed(
        lambda ticker: exchange_of(day).determine(ticker, "scalar", 4200),
        lambda ticker: exchange_of(day).settle(ticker),
    ),
    "market_settled_yes": lambda day: day.closed(
        lambda ticker: exchange_of(day).determine(ticker, "yes"), lambda ticker: exchange_of(day).settle(ticker)
    ),
    "market_tapered_deci_cent": lambda day: day.market(structure="tapered_deci_cent"),
    "markets_list": lambda day: day.public("/markets", limit=2),
    "markets_list_last_page": lambda day: day.public("/markets", tickers=day.ticker),
    "mve_collections_list": lambda day: day.public("/multivariate_event_collections"),
    "order_amend_response_crossed": crossing_amend,
    "order_amend_response_resized": amend,
    "order_batch_cancel_response_mixed": lambda day: batch(day, "DELETE"),
    "order_batch_create_response_mixed": lambda day: batch(day, "POST"),
    "order_cancel_response_as_recorded": cancel,
    "order_canceled_ask": canceled_ask,
    "order_create_response_filled": lambda day: day.order(price="0.9900", time_in_force="immediate_or_cancel"),
    "order_create_response_ioc_unfilled": lambda day: day.order(time_in_force="immediate_or_cancel"),
    "order_create_response_resting": lambda day: day.order(),
    "order_decrease_response": lambda day: day.desk.call(
        "POST", f"{ORDERS}/{day.order(count='5.00').json()['order_id']}/decrease", body={"reduce_by": "1.00"}
    ),
    "order_executed": lambda day: day.read(f"/portfolio/orders/{day.filled}"),
    "order_group": lambda day: day.read(f"/portfolio/order_groups/{day.group}"),
    "order_group_create_response": lambda day: day.desk.call(
        "POST", "/portfolio/order_groups/create", body={"contracts_limit_fp": "150.00"}
    ),
    "order_groups_list": lambda day: day.read("/portfolio/order_groups"),
    "order_groups_list_empty_as_recorded": lambda day: day.rival.call("GET", "/portfolio/order_groups"),
    "order_resting": lambda day: day.read(f"/portfolio/orders/{day.resting}"),
    "order_resting_partially_filled": partly_filled,
    "orderbook": lambda day: day.public(f"/markets/{day.ticker}/orderbook"),
    "orderbook_depth2": lambda day: day.public(f"/markets/{day.ticker}/orderbook", depth=2),
    "orderbook_empty": lambda day: day.public(f"/markets/{day.house.market()}/orderbook"),
    "orderbooks_bulk": lambda day: day.public("/markets/orderbooks", tickers=[day.ticker]),
    "orders_list": lambda day: day.read("/portfolio/orders"),
    "positions": lambda day: day.read("/portfolio/positions"),
    "queue_position": lambda day: day.read(f"/portfolio/orders/{day.resting}/queue_position"),
    "queue_positions": lambda day: day.read("/portfolio/orders/queue_positions", market_tickers=day.ticker),
    "series": lambda day: day.public(f"/series/{day.series}"),
    "series_fee_changes": lambda day: day.public("/series/fee_changes"),
    "series_list": lambda day: day.public("/series"),
    "settlements": lambda day: day.read("/portfolio/settlements"),
    "subaccount_balances": lambda day: day.read("/portfolio/subaccounts/balances"),
    "subaccount_create_response": lambda day: day.house.member().call("POST", "/portfolio/subaccounts", body={}),
    "total_resting_order_value": lambda day: day.read("/portfolio/summary/total_resting_order_value"),
    "trades": lambda day: day.public("/markets/trades", ticker=day.ticker),
    "error_400_insufficient_balance": lambda day: day.order(price="0.9900", count="10099.00"),
    "error_400_invalid_content_type": lambda day: day.desk.call("POST", ORDERS),
    "error_400_invalid_dollar_precision": lambda day: day.order(price="0.12345"),
    "error_400_invalid_price": lambda day: day.order(price="0.5150"),
    "error_400_invalid_status_filter": lambda day: day.public("/markets", status="finalized"),
    "error_400_market_not_active": lambda day: _paused_order(day),
    "error_400_numeric_count": lambda day: day.order(count=1),
    "error_400_param_validation": lambda day: day.public("/markets", limit=1001),
    "error_400_post_only_cross": lambda day: day.order(price="0.9900", post_only=True),
    "error_400_reduce_only_needs_ioc": lambda day: day.order(reduce_only=True),
    "error_401_bad_signature": lambda day: unsigned(day, **{"KALSHI-ACCESS-SIGNATURE": "bm8="}),
    "error_401_missing_signature_header": lambda day: unsigned(day, **{"KALSHI-ACCESS-SIGNATURE": None}),
    "error_401_timestamp_expired": lambda day: unsigned(day, **{"KALSHI-ACCESS-TIMESTAMP": "1000000000000"}),
    "error_401_unknown_key_id": lambda day: unsigned(day, **{"KALSHI-ACCESS-KEY": "nobody's"}),
    "error_404_insufficient_shard_balance": lambda day: day.desk.create(
        day.house.market(exchange_index=3), "bid", "0.5000", "1.00"
    ),
    "error_404_order_not_found": lambda day: day.desk.call("DELETE", f"{ORDERS}/{day.filled}"),
    "error_409_duplicate_client_order_id": duplicate,
    "error_409_fok_insufficient_volume": lambda day: day.order(time_in_force="fill_or_kill"),
    "error_409_trading_is_paused": in_pause,
    "error_410_deprecated_v1_order_endpoint": lambda day: day.desk.call("POST", "/portfolio/orders", body={}),
    "error_429_rate_limited_documented": too_often,
    "error_503_service_unavailable": stopped,
}


def _paused_order(day: Day) -> requests.Response:
    ticker = day.house.market()
    day.house.do(day.house.venue.exchange.pause_market, ticker)
    return day.desk.create(ticker, "bid", "0.5000", "1.00")


@pytest.fixture(autouse=True)
def _asks(day: Day) -> Iterator[None]:
    """Offer something to whoever takes."""
    day.rival.create(day.ticker, "ask", "0.5200", "20.00")
    yield


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_was_recorded_is_answered_in_the_same_form(day: Day, recordings: Path, name: str) -> None:
    path = recordings / "rest" / f"{name}.json"
    recorded = INSIDE.get(name, lambda found: found)(json.loads(path.read_text()))
    described = path.with_suffix("").with_suffix(".meta.json")
    status = json.loads(described.read_text())["status"] if described.exists() else STATUSES.get(name, 200)

    answer = RECORDED[name](day)

    assert answer.status_code == status, answer.text
    assert list(differences(recorded, answer.json())) == []
    if status >= 400:
        _same_refusal(recorded, answer.json())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_the_documents_show_is_answered_in_the_same_form(day: Day, exchange_documents: Path, name: str) -> None:
    shown = json.loads((exchange_documents / "examples" / f"{name}.json").read_text())
    is_error = "_status" in shown
    body = shown["body"] if is_error else shown

    answer = EXAMPLES[name](day)

    if is_error:
        assert answer.status_code == shown["_status"], answer.text
        _same_refusal(body, answer.json())
    else:
        assert answer.status_code in {200, 201}, answer.text
    assert list(differences(body, answer.json())) == []


def _same_refusal(theirs: Any, ours: Any) -> None:
    """Compare refusals word by word, but for keys that went away and links that were blotted out."""
    theirs, ours = theirs.get("error", theirs), ours.get("error", ours)
    if isinstance(theirs, str):
        assert ours == theirs
        return
    for name in ("code", "message", "msg", "details"):
        if name in theirs and theirs[name] != "<redacted>":
            assert ours.get(name) == theirs[name], name


def test_every_recording_of_an_operation_served_here_is_judged(recordings: Path) -> None:
    files = {
        str(path.relative_to(recordings / "rest").with_suffix(""))
        for path in (recordings / "rest").rglob("*.json")
        if not path.name.endswith(".meta.json")
    }

    # Books of combos and the digest of grids have tests of their own; collections are always empty here.
    assert files - set(RECORDED) == {
        "markets/combo_collections",
        "markets/combo_orderbooks",
        "markets/price_grids",
    }
