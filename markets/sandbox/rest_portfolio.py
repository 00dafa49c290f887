"""REST: money, positions, fills and settlements of one member.

Source: Kalshi trade API v2, OpenAPI 3.34.0: positions, unlike orders and fills, mean sub-account 0 unless told.
"""

from __future__ import annotations

from typing import Any

from markets.sandbox import papers
from markets.sandbox.accounts import Transfer
from markets.sandbox.errors import bad_request, forbidden
from markets.sandbox.intents import Body, invalid_parameters, read_body, read_optional_body
from markets.sandbox.numbers import CENT, SECOND, balance_text
from markets.sandbox.refusals import not_found
from markets.sandbox.routes import Call, Route
from markets.sandbox.web import Answer, answer

CENTI_CENT = CENT // 100
SETTLED = {"unsettled": False, "settled": True, "all": None}
COUNT_FILTERS = {"position", "total_traded"}


def balance(call: Call) -> Answer:
    """Return cash and the value of positions; resting orders take nothing from it."""
    subaccount = call.subaccount(call.query.number("subaccount", low=0)) or 0
    index = call.query.number("exchange_index", low=0)
    view = call.venue.exchange.balance(call.member, subaccount=subaccount, exchange_index=index)
    return answer(papers.balance(view, has_breakdown=call.key.subaccount is None))


def positions(call: Call) -> Answer:
    """Return positions by market and by event."""
    query = call.query
    limit = query.limit(100, 1000)
    filters = query.names("count_filter")
    if set(filters) - COUNT_FILTERS:
        raise bad_request("invalid count_filter")
    status = query.choice("settlement_status", tuple(SETTLED)) or "unsettled"
    rows, sums = call.venue.reads.positions(
        call.member,
        tickers=query.names("ticker"),
        event_ticker=query.text("event_ticker"),
        is_settled=SETTLED[status],
        # Any of the fields will do, and what is held was traded.
        has_position=True if set(filters) == {"position"} else None,
        has_traded=True if "total_traded" in filters else None,
        subaccount=call.subaccount(query.number("subaccount", low=0)) or 0,
        exchange_index=query.number("exchange_index", low=0),
    )
    if status == "unsettled":
        page, cursor = query.page(rows, lambda row: row.ticker, limit=limit)
    else:  # these lists grow without end: their pages count events, and none is cut in two
        events, cursor = query.page(sums, lambda row: row.event_ticker, limit=limit)
        page = [row for row in rows if row.event_ticker in {event.event_ticker for event in events}]
    shown = {row.event_ticker for row in page}
    return answer(
        {
            "cursor": cursor,
            "event_positions": [papers.event_position(row) for row in sums if row.event_ticker in shown],
            "market_positions": [papers.position(row) for row in page],
        }
    )


def fills(call: Call) -> Answer:
    """Return fills, newest first; without a sub-account those of all."""
    query = call.query
    limit = query.limit(100, 1000)
    rows = call.venue.reads.fills(
        call.member,
        tickers=query.names("ticker", most=100),
        order_id=query.text("order_id"),
        min_us=query.moment("min_ts"),
        max_us=query.moment("max_ts"),
        subaccount=call.subaccount(query.number("subaccount", low=0)),
        exchange_index=query.number("exchange_index", low=0),
    )
    page, cursor = query.page(rows, lambda row: f"{row.trade_id} {row.order_id}", limit=limit)
    return answer({"cursor": cursor, "fills": [papers.fill(row) for row in page]})


def historical_fills(call: Call) -> Answer:
    """Return fills older than three months: the sandbox keeps all of them live, so there are none."""
    call.query.limit(100, 1000)
    return answer({"cursor": "", "fills": []})


def settlements(call: Call) -> Answer:
    """Return what positions came to, newest first."""
    query = call.query
    limit = query.limit(100, 1000)
    rows = call.venue.exchange.settlements(
        call.member,
        tickers=query.names("ticker"),
        event_ticker=query.text("event_ticker"),
        min_us=query.moment("min_ts"),
        max_us=query.moment("max_ts"),
        subaccount=call.subaccount(query.number("subaccount", low=0)),
    )
    page, cursor = query.page(rows, lambda row: f"{row.ticker} {row.subaccount}", limit=limit)
    return answer({"cursor": cursor, "settlements": [papers.settlement(row) for row in page]})


def resting_value(call: Call) -> Answer:
    """Return what the resting orders would cost."""
    amounts = call.venue.exchange.resting_value(call.member, subaccount=call.key.subaccount)
    total = sum(money for _, money in amounts)
    return answer(
        {"resting_order_value_breakdown": papers.by_shard(amounts), "total_resting_order_value": total // CENT}
    )


# --- sub-accounts and shards --------------------------------------------------------------------------


def create_subaccount(call: Call) -> Answer:
    """Open the next sub-account; the lowest usage level has none."""
    call.unrestricted()
    if call.venue.allowance(call.member).tier.name == "basic":
        raise forbidden()
    read_optional_body(call.request, "CreateSubaccountRequest")
    return answer({"subaccount_number": call.venue.exchange.create_subaccount(call.member)}, 201)


def subaccount_balances(call: Call) -> Answer:
    """Return the cash of every sub-account on every shard."""
    call.unrestricted()
    member = call.venue.exchange.members[call.member]
    now = call.venue.now_us() // SECOND
    rows = [
        {
            "balance": balance_text(money),
            "exchange_index": index,
            "subaccount_number": subaccount,
            "updated_ts": now,
        }
        for (subaccount, index), money in sorted(member.balances.items())
    ]
    return answer({"subaccount_balances": rows})


def transfer_between_subaccounts(call: Call) -> Answer:
    """Move whole cents between two sub-accounts of one shard."""
    call.unrestricted()
    body = read_body(call.request, "ApplySubaccountTransferRequest")
    index = body.number("exchange_index") or 0
    call.venue.exchange.transfer(
        call.member,
        _amount(body, "amount_cents") * CENT,
        from_subaccount=body.number("from_subaccount") or 0,
        to_subaccount=body.number("to_subaccount") or 0,
        from_index=index,
        to_index=index,
        client_transfer_id=body.needed("client_transfer_id"),
    )
    return answer({})


def transfer_between_shards(call: Call) -> Answer:
    """Move hundredths of cents between two shards."""
    call.unrestricted()
    body = read_body(call.request, "IntraExchangeInstanceTransferRequest")
    if {body.needed("source"), body.needed("destination")} != {"event_contract"}:
        raise invalid_parameters("the local exchange has no margined instance")
    source, target = body.number("source_subaccount") or 0, body.number("destination_subaccount") or 0
    if body.text("client_transfer_id") and (source or target):
        raise invalid_parameters("client_transfer_id is for primary accounts only")
    made = call.venue.exchange.transfer(
        call.member,
        _amount(body, "amount") * CENTI_CENT,
        from_subaccount=source,
        to_subaccount=target,
        from_index=body.number("source_exchange_shard") or 0,
        to_index=body.number("destination_exchange_shard") or 0,
        client_transfer_id=body.text("client_transfer_id"),
    )
    return answer({"transfer_id": made.transfer_id})


def shard_transfers(call: Call) -> Answer:
    """Return money that moved between shards, newest first."""
    call.unrestricted()
    limit = call.query.limit(100, 500)
    moved = [row for row in reversed(_moved(call)) if row.from_index != row.to_index]
    page, cursor = call.query.page(moved, lambda row: row.transfer_id, limit=limit)
    return answer({"cursor": cursor, "transfers": [papers.shard_transfer(row) for row in page]})


def shard_transfer(call: Call) -> Answer:
    """Return one movement between shards."""
    call.unrestricted()
    wanted = call.path["transfer_id"]
    found = next((row for row in _moved(call) if row.transfer_id == wanted and row.from_index != row.to_index), None)
    if found is None:
        raise not_found()
    return answer({"transfer": papers.shard_transfer(found)})


def _moved(call: Call) -> list[Transfer]:
    return call.venue.exchange.members[call.member].transfers


def _amount(body: Body, name: str) -> int:
    found = body.number(name)
    if found is None or found <= 0:
        raise invalid_parameters(f"{name} must be positive")
    return found


def nothing_yet(key: str) -> Any:
    """Return a handler for money from and to banks, which play money never sees."""

    def handle(call: Call) -> Answer:
        call.query.limit(100, 500)
        return answer({"cursor": "", key: []})

    return handle


ROUTES = [
    Route("GET", "/portfolio/balance", "GetBalance", balance, "read::portfolio_balance"),
    Route("GET", "/portfolio/positions", "GetPositions", positions, "read"),
    Route("GET", "/portfolio/fills", "GetFills", fills, "read"),
    Route("GET", "/historical/fills", "GetFillsHistorical", historical_fills, "read"),
    Route("GET", "/portfolio/settlements", "GetSettlements", settlements, "read"),
    Route(
        "GET",
        "/portfolio/summary/total_resting_order_value",
        "GetPortfolioRestingOrderTotalValue",
        resting_value,
        "read",
    ),
    Route("GET", "/portfolio/deposits", "GetDeposits", nothing_yet("deposits"), "read"),
    Route("GET", "/portfolio/withdrawals", "GetWithdrawals", nothing_yet("withdrawals"), "read"),
    Route("POST", "/portfolio/subaccounts", "CreateSubaccount", create_subaccount, "write::transfer"),
    Route("GET", "/portfolio/subaccounts/balances", "GetSubaccountBalances", subaccount_balances, "read"),
    Route(
        "POST",
        "/portfolio/subaccounts/transfer",
        "ApplySubaccountTransfer",
        transfer_between_subaccounts,
        "write::transfer",
    ),
    Route(
        "POST",
        "/portfolio/intra_exchange_instance_transfer",
        "IntraExchangeInstanceTransfer",
        transfer_between_shards,
        "write::transfer",
    ),
    Route(
        "GET",
        "/portfolio/intra_exchange_instance_transfers",
        "GetIntraExchangeInstanceTransfers",
        shard_transfers,
        "read",
    ),
    Route(
        "GET",
        "/portfolio/intra_exchange_instance_transfers/{transfer_id}",
        "GetIntraExchangeInstanceTransfer",
        shard_transfer,
        "read",
    ),
]
