"""Bodies that nobody here wrote: the real exchange's recordings and its own documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from markets.kalshi import messages
from markets.kalshi.messages.base import Body, read_body

RECORDED: list[tuple[str, type[Body]]] = [
    ("markets/markets__page1.json", messages.MarketsPage),
    ("markets/markets__page2.json", messages.MarketsPage),
    ("markets/markets__status_open.json", messages.MarketsPage),
    ("markets/markets__high_temp.json", messages.MarketsPage),
    ("markets/markets__single.json", messages.MarketAnswer),
    ("markets/events_sports_nested.json", messages.EventsPage),
    ("markets/events_nfl_preseason.json", messages.EventsPage),
    ("markets/orderbook__base.json", messages.OrderBookAnswer),
    ("markets/trades__public_recorded.json", messages.TradesPage),
    ("markets/exchange__status.json", messages.ExchangeStatus),
    ("orders/orders__create_v2_maker.json", messages.OrderAck),
    ("orders/orders__create_v2_taker_ioc.json", messages.OrderAck),
    ("orders/orders__cancel_v2.json", messages.CancelAck),
    ("orders/orders__get_after_create.json", messages.OrderAnswer),
    ("account/portfolio__orders_list.json", messages.OrdersPage),
    ("account/fills__after_taker.json", messages.FillsPage),
    ("account/portfolio__positions.json", messages.PositionsPage),
    ("account/auth__balance_ok.json", messages.Balance),
    ("account/account__limits.json", messages.AccountLimits),
]

DOCUMENTED: list[tuple[str, type[Body]]] = [
    ("exchange_status", messages.ExchangeStatus),
    ("exchange_status_exchange_pause", messages.ExchangeStatus),
    ("exchange_status_trading_pause", messages.ExchangeStatus),
    ("series_list", messages.SeriesList),
    ("events_list", messages.EventsPage),
    ("events_list_with_nested_markets", messages.EventsPage),
    ("markets_list", messages.MarketsPage),
    ("markets_list_last_page", messages.MarketsPage),
    ("market_active", messages.MarketAnswer),
    ("market_settled_scalar", messages.MarketAnswer),
    ("market_tapered_deci_cent", messages.MarketAnswer),
    ("market_empty_book", messages.MarketAnswer),
    ("market_mve_combo", messages.MarketAnswer),
    ("orderbook", messages.OrderBookAnswer),
    ("orderbook_empty", messages.OrderBookAnswer),
    ("orderbooks_bulk", messages.OrderBooksAnswer),
    ("trades", messages.TradesPage),
    ("order_create_response_resting", messages.OrderAck),
    ("order_create_response_filled", messages.OrderAck),
    ("order_create_response_ioc_unfilled", messages.OrderAck),
    ("order_cancel_response", messages.CancelAck),
    ("order_cancel_response_as_recorded", messages.CancelAck),
    ("order_amend_response_price_only", messages.AmendAck),
    ("order_decrease_response", messages.DecreaseAck),
    ("order_resting", messages.OrderAnswer),
    ("order_canceled_ask", messages.OrderAnswer),
    ("orders_list", messages.OrdersPage),
    ("fills", messages.FillsPage),
    ("positions", messages.PositionsPage),
    ("balance", messages.Balance),
    ("account_limits_basic", messages.AccountLimits),
    ("api_keys_list", messages.ApiKeysAnswer),
    ("api_keys_generate_response_ed25519", messages.GeneratedKey),
    ("api_keys_generate_response_rsa", messages.GeneratedKey),
]


@pytest.mark.parametrize(("name", "kind"), RECORDED, ids=[row[0] for row in RECORDED])
def test_every_recorded_body_is_understood(name: str, kind: type[Body], recordings: Path) -> None:
    body = (recordings / "rest" / name).read_bytes()
    if body.startswith(b"["):  # some were kept as the list alone
        body = b'{"events":' + body + b"}"
    read_body(kind, body)


@pytest.mark.parametrize(("name", "kind"), DOCUMENTED, ids=[row[0] for row in DOCUMENTED])
def test_every_documented_body_is_understood(name: str, kind: type[Body], exchange_documents: Path) -> None:
    found = json.loads((exchange_documents / "examples" / f"{name}.json").read_text())
    body = found.get("body", found) if "_status" in found else found
    read_body(kind, json.dumps({key: value for key, value in body.items() if not key.startswith("_")}).encode())


def test_the_recorded_markets_have_the_recorded_grids(recordings: Path) -> None:
    page = read_body(messages.MarketsPage, (recordings / "rest/markets/markets__status_open.json").read_bytes())

    assert len(page.markets) > 100
    assert all(row.bands for row in page.markets if row.price_ranges)
