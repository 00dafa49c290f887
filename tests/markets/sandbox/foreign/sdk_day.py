"""A trading day with the kalshi-sdk package as others wrote it: run by an interpreter that has it, never imported.

Arguments are the credentials file of a member and the address of the exchange. The client is not modified; every
answer passes its own models. The last line of the output is what the day came to, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from kalshi import KalshiClient
from kalshi.auth import KalshiAuth
from kalshi.config import KalshiConfig
from kalshi.errors import KalshiError
from kalshi.models.orders import (
    AmendOrderV2Request,
    BatchCancelOrdersV2Request,
    BatchCancelOrdersV2RequestOrder,
    BatchCreateOrdersV2Request,
    CreateOrderV2Request,
    DecreaseOrderV2Request,
)
from kalshi.ws.client import KalshiWebSocket


def with_liquidity(raw: bytes) -> Any:
    """Decode a body for this client, whose markets still need a field that the exchange withdrew on 1 Oct 2026.

    The exchange's changelog says so, and neither its OpenAPI document 3.34.0 nor what is served here has the field.
    """

    def add(found: dict[str, Any]) -> dict[str, Any]:
        return {"liquidity_dollars": "0.0000", **found} if "price_level_structure" in found else found

    return json.loads(raw, object_hook=add)


def is_roomy(market: Any) -> bool:
    """Say whether a market is quoted by whole cents in the middle of its range and stays open for hours."""
    if market.price_level_structure != "linear_cent" or market.close_time.timestamp() < time.time() + 7200:
        return False
    return bool(Decimal("0.2") < market.yes_bid < market.yes_ask < Decimal("0.8"))


def control(url: str, path: str, body: dict[str, Any]) -> None:
    """Do something as the operator."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/__sandbox__/{path}", json.dumps(body).encode(), headers)
    urllib.request.urlopen(request, timeout=5).close()


class Day:
    """One member, one market, everything that can be done in it."""

    def __init__(self, client: KalshiClient, url: str) -> None:
        self.client = client
        self.url = url
        self.ids: dict[str, str] = {}

    def request(self, name: str, side: str, price: str, count: str = "5.00", **fields: Any) -> CreateOrderV2Request:
        self.ids[name] = str(uuid.uuid4())
        asked = {
            "ticker": self.ticker,
            "side": side,
            "price": price,
            "count": count,
            "client_order_id": self.ids[name],
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
            **fields,
        }
        return CreateOrderV2Request.model_validate(asked)

    def create(self, *arguments: Any, **fields: Any) -> Any:
        return self.client.orders.create_v2(request=self.request(*arguments, **fields))

    # --- looking around ----------------------------------------------------------------------------

    def discover(self) -> None:
        client = self.client
        assert client.exchange.status().trading_active is True
        assert client.exchange.schedule()
        assert client.exchange.user_data_timestamp()
        assert client.account.limits().usage_tier
        assert client.account.endpoint_costs()
        assert client.account.volume_progress()
        assert len(list(client.series.list())) >= 8
        assert client.series.fee_changes() is not None
        events = list(client.events.list_all(with_nested_markets=True))
        markets = list(client.markets.list_all(status="open"))
        assert len(events) >= 10
        assert len(markets) >= 40
        chosen = next(row for row in markets if is_roomy(row))
        self.ticker, self.event = chosen.ticker, chosen.event_ticker
        self.series = next(row.series_ticker for row in events if row.event_ticker == self.event)
        assert client.markets.get(self.ticker).ticker == self.ticker
        assert client.events.get(self.event).event_ticker == self.event
        assert client.events.metadata(self.event)
        assert client.series.get(self.series).ticker == self.series
        book = client.markets.orderbook(self.ticker)
        assert book.yes and book.no
        assert client.markets.bulk_orderbooks(tickers=[self.ticker])
        assert list(client.markets.list_trades(ticker=self.ticker, limit=10))
        now = int(time.time())
        asked = {"start_ts": now - 86_400, "end_ts": now, "period_interval": 60}
        assert client.markets.candlesticks(self.series, self.ticker, **asked)
        assert client.markets.bulk_candlesticks(market_tickers=[self.ticker], **asked)
        assert client.series.event_candlesticks(self.series, self.event, **asked)

    # --- orders --------------------------------------------------------------------------------------

    def create_all_kinds(self) -> None:
        client = self.client
        self.cash = client.portfolio.balance().balance
        resting = self.create("resting", "bid", "0.0300")
        assert (resting.fill_count, resting.remaining_count) == (Decimal(0), Decimal(5))
        later = int(time.time()) + 3600
        self.create("expiring", "bid", "0.0200", expiration_time=later, post_only=True, cancel_order_on_pause=True)
        taken = self.create("taken", "bid", "0.9900", time_in_force="immediate_or_cancel")
        assert (taken.fill_count, taken.remaining_count) == (Decimal(5), Decimal(0))
        assert taken.average_fill_price and taken.average_fee_paid
        filled = self.create("filled", "bid", "0.9900", "2.50", time_in_force="fill_or_kill")
        assert filled.fill_count == Decimal("2.50")
        missed = self.create("missed", "bid", "0.0100", time_in_force="immediate_or_cancel")
        assert (missed.fill_count, missed.remaining_count) == (Decimal(0), Decimal(0))
        reduced = self.create("reduced", "ask", "0.0100", "1.00", time_in_force="immediate_or_cancel", reduce_only=True)
        assert reduced.fill_count == Decimal(1)
        assert client.orders.get(resting.order_id).status == "resting"
        assert client.orders.get(taken.order_id).status == "executed"
        self.resting = resting.order_id

    def be_refused(self) -> None:
        codes = []
        for name, side, price, fields in (
            ("crossing", "bid", "0.9900", {"post_only": True}),
            ("off the grid", "bid", "0.1550", {}),
            ("unfillable", "bid", "0.0100", {"time_in_force": "fill_or_kill"}),
            ("too dear", "bid", "0.0300", {"count": "9999999.00"}),
        ):
            try:
                self.create(name, side, price, **fields)
            except KalshiError as exc:
                codes.append(getattr(exc, "status_code", None))
        assert codes == [400, 400, 409, 400], codes

    def change(self) -> None:
        orders = self.client.orders
        wanted = {"ticker": self.ticker, "side": "bid", "price": "0.0400", "count": "6.00"}
        amended = orders.amend_v2(self.resting, request=AmendOrderV2Request.model_validate(wanted))
        assert amended.order_id == self.resting
        by = DecreaseOrderV2Request.model_validate({"reduce_by": "1.00", "market_ticker": self.ticker})
        assert orders.decrease_v2(self.resting, request=by).remaining_count == Decimal(5)
        to = DecreaseOrderV2Request.model_validate({"reduce_to": "2.00", "market_ticker": self.ticker})
        assert orders.decrease_v2(self.resting, request=to).remaining_count == Decimal(2)
        assert orders.queue_position(self.resting) is not None
        assert list(orders.queue_positions(market_tickers=[self.ticker]))
        canceled = orders.cancel_v2(self.resting, market_ticker=self.ticker)
        assert canceled.reduced_by == Decimal(2)
        assert orders.get(self.resting).status == "canceled"

    def batch(self) -> None:
        orders = self.client.orders
        asked = [self.request(f"batch {number}", "bid", f"0.0{number}00") for number in (1, 2, 3)]
        asked.append(self.request("batch refused", "bid", "0.9900", post_only=True))
        made = orders.batch_create_v2(request=BatchCreateOrdersV2Request(orders=asked)).orders
        assert [row.error is None for row in made] == [True, True, True, False]
        ids = [BatchCancelOrdersV2RequestOrder(order_id=row.order_id, market_ticker=self.ticker) for row in made[:2]]
        gone = orders.batch_cancel_v2(request=BatchCancelOrdersV2Request(orders=ids)).orders
        assert [row.reduced_by for row in gone] == [Decimal(5), Decimal(5)]
        assert len(list(orders.list(status="resting"))) == 2  # the third of the batch and the one that expires
        orders.cancel_all_v2()
        assert list(orders.list(status="resting")) == []

    def group(self) -> None:
        groups = self.client.order_groups
        made = groups.create(contracts_limit=10)
        self.create("in a group", "bid", "0.0300", order_group_id=made.order_group_id)
        groups.update_limit(made.order_group_id, contracts_limit=20)
        groups.trigger(made.order_group_id)
        groups.reset(made.order_group_id)
        assert groups.get(made.order_group_id).is_auto_cancel_enabled is True
        assert groups.list()
        groups.delete(made.order_group_id)

    # --- papers --------------------------------------------------------------------------------------

    def read_papers(self) -> None:
        portfolio = self.client.portfolio
        fills = list(portfolio.fills(ticker=self.ticker))
        assert sum(row.count if row.book_side == "bid" else -row.count for row in fills) == Decimal("6.50")
        (held,) = portfolio.positions(ticker=self.ticker).market_positions
        assert held.position == Decimal("6.50")
        assert portfolio.balance().balance < self.cash
        assert portfolio.total_resting_order_value() is not None
        assert list(portfolio.deposits()) == []
        assert self.client.historical.cutoff()

    def keys(self) -> None:
        keys = self.client.api_keys
        made = keys.generate(name="by the day", scopes=["read"], key_type="rsa")
        assert made.api_key_id in {row.api_key_id for row in keys.list().api_keys}
        keys.delete(made.api_key_id)
        assert made.api_key_id not in {row.api_key_id for row in keys.list().api_keys}

    def settle(self) -> None:
        control(self.url, f"markets/{self.ticker}/determine", {"result": "yes"})
        control(self.url, f"markets/{self.ticker}/settle", {})
        (row,) = self.client.portfolio.settlements(ticker=self.ticker)
        assert row.market_result == "yes"
        assert self.client.markets.get(self.ticker).status == "finalized"


async def listen(auth: KalshiAuth, config: KalshiConfig, day: Day) -> dict[str, int]:
    """Follow the market and the account while an order comes and goes."""
    socket = KalshiWebSocket(auth=auth, config=config)
    heard = {"book": 0, "trade": 0, "fill": 0, "user_order": 0, "ticker": 0, "position": 0}
    async with socket.connect() as session:
        streams = {
            "trade": await session.subscribe_trade(tickers=[day.ticker]),
            "ticker": await session.subscribe_ticker(tickers=[day.ticker]),
            "fill": await session.subscribe_fill(),
            "user_order": await session.subscribe_user_orders(),
            "position": await session.subscribe_market_positions(),
            # Last: this client drops what arrives while it waits for the answer to a further subscribe.
            "book": await session.orderbook(day.ticker),
        }

        async def count(name: str, stream: Any) -> None:
            async for _ in stream:
                heard[name] += 1

        tasks = [asyncio.create_task(count(name, stream)) for name, stream in streams.items()]
        await asyncio.to_thread(day.create, "heard", "bid", "0.0300", "1.00")
        await asyncio.to_thread(
            day.create, "heard filled", "bid", "0.9900", "1.00", time_in_force="immediate_or_cancel"
        )
        await asyncio.to_thread(day.create, "heard sold", "ask", "0.0100", "1.00", time_in_force="immediate_or_cancel")
        await asyncio.to_thread(day.client.orders.cancel_all_v2)
        until = time.monotonic() + 10
        while min(heard.values()) == 0 and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return heard


def main() -> None:
    """Live through the day."""
    facts = json.loads(Path(sys.argv[1]).read_text())
    url = sys.argv[2]
    config = KalshiConfig(
        base_url=facts["rest_url"], ws_base_url=facts["ws_url"], max_retries=0, rest_json_loads=with_liquidity
    )
    auth = KalshiAuth.from_key_path(facts["key_id"], facts["private_key_file"])
    with KalshiClient(auth=auth, config=config) as client:
        day = Day(client, url)
        day.discover()
        day.create_all_kinds()
        day.be_refused()
        day.change()
        day.batch()
        day.group()
        day.read_papers()
        day.keys()
        heard = asyncio.run(listen(auth, config, day))
        day.settle()
    sys.stdout.write(json.dumps({"ticker": day.ticker, "ids": day.ids, "heard": heard}) + "\n")


if __name__ == "__main__":
    main()
