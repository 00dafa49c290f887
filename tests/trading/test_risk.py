"""What the desk itself denies, each beside what it lets through."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from markets.models import Market
from markets.tops import Top
from tests.trading.conftest import TICKER, a_ticket
from tests.trading.test_models import a_fill, an_order
from trading import risk
from trading.models import Account, Order, RiskLimit, TradingState
from trading.risk import BadTicket


@pytest.fixture(autouse=True)
def everything_else_is_right(market: Market, limits: RiskLimit, account: Account) -> None:
    """Have a market, limits and a compared account: each test spoils one thing."""


def draft(account: Account, **changes: object) -> Order:
    """Write the draft of a ticket."""
    ticket = a_ticket(**changes)
    return an_order(
        account,
        state="draft",
        ticker=ticket.ticker,
        action=ticket.action,
        side=ticket.side,
        price=ticket.price,
        count=ticket.count,
        remaining=ticket.count,
        wire_side=ticket.direction.wire_side,
        wire_price=ticket.direction.wire_price,
    )


def a_top(*, bid: int | None = 4700, ask: int | None = 4900, age_ms: int = 0, **more: object) -> Top:
    """Return a live top."""
    as_of = int(timezone.now().timestamp() * 1000) - age_ms
    usual = {"bid": bid, "bid_size": 1, "ask": ask, "ask_size": 1, "last": None, "state": "LIVE", "as_of_ms": as_of}
    return Top(**{**usual, **more})  # type: ignore[arg-type]


NO_BOOK = object()


def codes(order: Order, top: object = None) -> list[str]:
    """Return the codes of the denials."""
    seen = None if top is NO_BOOK else top or a_top()
    return [denial.code for denial in risk.check(order, seen, timezone.now())]  # type: ignore[arg-type]


def sentence(order: Order) -> str:
    """Return what the person reads."""
    return " ".join(denial.sentence for denial in risk.check(order, a_top(), timezone.now()))


def test_an_ordinary_order_passes(account: Account) -> None:
    assert codes(draft(account)) == []


# --- state of trading -----------------------------------------------------------------------------------------


def test_a_halt_denies_everything_and_says_why(account: Account) -> None:
    TradingState.objects.create(environment="sandbox", team=account.team, state="halted", reason="fire drill")

    assert codes(draft(account)) == ["TRADING_HALTED"]
    assert "fire drill" in sentence(draft(account))


def test_a_halt_elsewhere_denies_nothing_here(account: Account) -> None:
    TradingState.objects.create(environment="demo", team=account.team, state="halted")

    assert codes(draft(account)) == []


def test_reducing_lets_only_smaller_positions_through(account: Account) -> None:
    TradingState.objects.create(environment="sandbox", team=account.team, state="reducing")
    a_fill(account, count=Decimal(10))

    assert codes(draft(account, action="sell", count=Decimal(10))) == []
    assert codes(draft(account, action="sell", count=Decimal("10.01"))) == ["TRADING_REDUCING"]
    assert codes(draft(account, action="buy")) == ["TRADING_REDUCING"]


@pytest.mark.parametrize(("ago", "denied"), [(None, True), (timedelta(minutes=3), True), (timedelta(minutes=1), False)])
def test_an_account_is_compared_before_it_trades(account: Account, ago: timedelta | None, denied: bool) -> None:
    account.reconciled_at = None if ago is None else timezone.now() - ago

    assert codes(draft(account)) == (["ACCOUNT_NOT_RECONCILED"] if denied else [])


# --- the market -----------------------------------------------------------------------------------------------


def test_an_unknown_ticker_is_named(account: Account) -> None:
    order = draft(account, ticker="KXNOWHERE")

    assert codes(order) == ["MARKET_UNKNOWN"]
    assert sentence(order) == "There is no market KXNOWHERE here: check the ticker."


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "inactive"}, "MARKET_NOT_ACTIVE"),
        ({"status": "finalized"}, "MARKET_NOT_ACTIVE"),
        ({"close_at": timezone.now() - timedelta(seconds=1)}, "MARKET_NOT_ACTIVE"),
        ({"is_replay": True}, "MARKET_REPLAY"),
        ({"environment": "demo"}, "MARKET_UNKNOWN"),
    ],
)
def test_only_an_open_market_takes_orders(account: Account, changes: dict[str, object], code: str) -> None:
    Market.objects.filter(ticker=TICKER).update(**changes)

    assert codes(draft(account)) == [code]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"price": Decimal("0.485")}, "48.5¢ is not a price of this market; the nearest: 48¢ or 49¢."),
        ({"price": Decimal("0.005")}, "0.5¢ is not a price of this market; the nearest: 1¢."),
        ({"side": "no", "price": Decimal("0.405")}, "40.5¢ is not a price of this market; the nearest: 40¢ or 41¢."),
    ],
)
def test_a_price_off_the_grid_is_told_its_neighbours(account: Account, changes: dict[str, object], said: str) -> None:
    assert codes(draft(account, **changes)) == ["PRICE_OFF_GRID"]
    assert sentence(draft(account, **changes)) == said


def test_a_finer_grid_takes_the_same_price(account: Account) -> None:
    Market.objects.filter(ticker=TICKER).update(price_ranges=[[0, 10_000, 10]])

    assert codes(draft(account, price=Decimal("0.485"))) == []


# --- the book -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age_ms", "denied"), [(3_500, True), (2_000, False)])
def test_an_old_book_is_no_book(account: Account, age_ms: int, denied: bool) -> None:
    assert codes(draft(account), a_top(age_ms=age_ms)) == (["BOOK_STALE"] if denied else [])


@pytest.mark.parametrize("state", ["STALE", "RESYNC", "DOWN"])
def test_a_book_that_is_not_believed_is_no_book(account: Account, state: str) -> None:
    assert codes(draft(account), a_top(state=state)) == ["BOOK_STALE"]


def test_without_any_book_nothing_is_sent(account: Account) -> None:
    assert codes(draft(account), NO_BOOK) == ["BOOK_STALE"]


def test_a_paused_market_says_so(account: Account) -> None:
    assert codes(draft(account), a_top(state="PAUSED")) == ["MARKET_PAUSED"]


@pytest.mark.parametrize(
    ("changes", "denied"),
    [
        ({"price": Decimal("0.59")}, False),  # asked 49¢, collar 10¢
        ({"price": Decimal("0.60")}, True),
        ({"price": Decimal("0.01")}, False),  # far from the book on the safe side
        ({"action": "sell", "price": Decimal("0.37")}, False),  # bid 47¢
        ({"action": "sell", "price": Decimal("0.36")}, True),
        ({"side": "no", "price": Decimal("0.64")}, True),  # the same as selling YES at 36¢
        ({"side": "no", "price": Decimal("0.63")}, False),
    ],
)
def test_a_price_far_past_the_book_is_denied(account: Account, changes: dict[str, object], denied: bool) -> None:
    assert codes(draft(account, **changes)) == (["PRICE_COLLAR"] if denied else [])


def test_where_nobody_asks_the_last_trade_is_the_measure(account: Account) -> None:
    order = draft(account, price=Decimal("0.60"))

    assert codes(order, a_top(ask=None, last=5_000)) == []
    assert codes(order, a_top(ask=None, last=4_900)) == ["PRICE_COLLAR"]
    assert codes(order, a_top(ask=None, bid=None)) == []


# --- limits ---------------------------------------------------------------------------------------------------


def test_without_limits_nothing_is_sent(account: Account, limits: RiskLimit) -> None:
    limits.delete()

    assert codes(draft(account)) == ["LIMITS_NOT_SET"]


@pytest.mark.parametrize(
    ("column", "code"),
    [
        ("max_order_cost", "ORDER_COST_LIMIT"),
        ("max_position", "POSITION_LIMIT"),
        ("max_exposure", "EXPOSURE_LIMIT"),
        ("max_orders_per_minute", "RATE_LIMIT"),
    ],
)
def test_a_limit_that_is_not_set_is_zero(account: Account, limits: RiskLimit, column: str, code: str) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(**{column: getattr(RiskLimit(), column)})

    assert codes(draft(account)) == [code]


@pytest.mark.parametrize(
    ("changes", "denied"),
    [
        ({"count": Decimal(200), "price": Decimal("0.50")}, False),  # $100.00
        ({"count": Decimal("200.01"), "price": Decimal("0.50")}, True),
        ({"count": Decimal(200), "price": Decimal("0.50"), "action": "sell"}, False),  # NO at 50¢
        ({"count": Decimal(250), "price": Decimal("0.50"), "side": "no"}, True),  # $125.00
    ],
)
def test_one_order_may_cost_so_much(account: Account, changes: dict[str, object], denied: bool) -> None:
    assert codes(draft(account, **changes)) == (["ORDER_COST_LIMIT"] if denied else [])


def test_what_closes_a_position_costs_nothing(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_order_cost=Decimal("1.00"))
    a_fill(account, count=Decimal(30))

    assert codes(draft(account, action="sell", count=Decimal(30))) == []
    # Two more than are held: NO at 52¢, $1.04.
    assert codes(draft(account, action="sell", count=Decimal(32))) == ["ORDER_COST_LIMIT"]


def test_what_is_being_closed_already_does_not_close_again(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_order_cost=Decimal("1.00"))
    a_fill(account, count=Decimal(30))
    an_order(account, action="sell", wire_side="ask", count=Decimal(30), remaining=Decimal(30))

    assert codes(draft(account, action="sell", count=Decimal(30))) == ["ORDER_COST_LIMIT"]


@pytest.mark.parametrize("state", ["queued", "sending", "resting", "unknown", "needs_human"])
def test_whatever_may_still_buy_counts(account: Account, limits: RiskLimit, state: str) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_position=Decimal(19))
    an_order(account, state=state)

    assert codes(draft(account, count=Decimal(9))) == []
    assert codes(draft(account, count=Decimal(10))) == ["POSITION_LIMIT"]


@pytest.mark.parametrize("state", ["rejected", "not_placed", "lapsed", "denied", "executed", "canceled"])
def test_what_is_over_counts_no_more(account: Account, limits: RiskLimit, state: str) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_position=Decimal(19))
    an_order(account, state=state)

    assert codes(draft(account, count=Decimal(10))) == []


def test_what_is_held_counts(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_position=Decimal(19))
    a_fill(account, count=Decimal(10))

    assert codes(draft(account, count=Decimal(9))) == []
    assert codes(draft(account, count=Decimal(10))) == ["POSITION_LIMIT"]


def test_an_order_that_leads_out_passes_however_far_over_the_limit_one_is(account: Account, limits: RiskLimit) -> None:
    a_fill(account, count=Decimal(30))
    RiskLimit.objects.filter(pk=limits.pk).update(max_position=Decimal(5), max_exposure=Decimal(1))

    assert codes(draft(account, action="sell", count=Decimal(30))) == []
    assert set(codes(draft(account, count=Decimal(1)))) == {"POSITION_LIMIT", "EXPOSURE_LIMIT"}


def test_everything_at_risk_is_added_up(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_exposure=Decimal("10.00"))
    a_fill(account, count=Decimal(10), wire_price=Decimal("0.30"), ticker="KXOTHER")  # $3.00
    an_order(account, ticker="KXTHIRD", wire_price=Decimal("0.20"))  # $2.00 for 10

    assert codes(draft(account, price=Decimal("0.50"), count=Decimal(10))) == []  # $5.00
    assert codes(draft(account, price=Decimal("0.50"), count=Decimal("10.02"))) == ["EXPOSURE_LIMIT"]


def test_a_settled_market_is_no_risk(account: Account, limits: RiskLimit, market: Market) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_exposure=Decimal("5.00"))
    a_fill(account, count=Decimal(10), ticker="KXPAST")

    assert codes(draft(account)) == ["EXPOSURE_LIMIT"]
    Market.objects.create(environment="sandbox", ticker="KXPAST", status="finalized", synced_at=timezone.now())
    assert codes(draft(account)) == []


def test_orders_of_the_last_minute_are_counted(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_orders_per_minute=2)
    an_order(account, state="canceled")
    an_order(account, state="denied")
    an_order(account, state="canceled", created_at=timezone.now() - timedelta(seconds=61))
    an_order(account, state="canceled", is_external=True)

    assert codes(draft(account)) == []
    an_order(account, state="rejected")
    assert codes(draft(account)) == ["RATE_LIMIT"]


# --- what cannot be written down ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"count": Decimal("0.001")}, "COUNT_TOO_SMALL"),
        ({"count": Decimal(0)}, "COUNT_TOO_SMALL"),
        ({"count": Decimal(-1)}, "COUNT_TOO_SMALL"),
        ({"count": Decimal("NaN")}, "COUNT_TOO_SMALL"),
        ({"count": Decimal("1.005")}, "COUNT_STEP"),
        ({"price": Decimal(0)}, "PRICE_IMPOSSIBLE"),
        ({"price": Decimal(1)}, "PRICE_IMPOSSIBLE"),
        ({"price": Decimal("0.48001")}, "PRICE_IMPOSSIBLE"),
        ({"price": Decimal("Infinity")}, "PRICE_IMPOSSIBLE"),
        ({"side": "maybe"}, "DIRECTION_UNKNOWN"),
        ({"time_in_force": "GTT"}, "TIME_IN_FORCE_UNKNOWN"),
        ({"time_in_force": "immediate_or_cancel", "post_only": True}, "ONLY_RESTING"),
        ({"ticker": ""}, "TICKER_MISSING"),
    ],
)
def test_what_cannot_be_an_order_is_no_ticket(changes: dict[str, object], code: str) -> None:
    with pytest.raises(BadTicket) as refused:
        a_ticket(**changes)

    assert refused.value.code == code


@pytest.mark.parametrize(
    "changes", [{"count": Decimal("0.01")}, {"price": Decimal("0.0001")}, {"time_in_force": "fill_or_kill"}]
)
def test_what_is_just_possible_is_a_ticket(changes: dict[str, object]) -> None:
    a_ticket(**changes)


def test_a_person_is_told_the_smallest_count() -> None:
    with pytest.raises(BadTicket, match=r"^0.001 is too little: an order is for at least 0.01 contract\.$"):
        a_ticket(count=Decimal("0.001"))


def test_the_hash_covers_the_whole_order(bob: User) -> None:
    usual = a_ticket().digest("sandbox")

    assert a_ticket(count=Decimal("10.00"), price=Decimal("0.4800")).digest("sandbox") == usual
    others = [
        a_ticket(count=Decimal("10.01")),
        a_ticket(price=Decimal("0.49")),
        a_ticket(side="no"),
        a_ticket(action="sell"),
        a_ticket(ticker="KXOTHER"),
        a_ticket(post_only=True),
        a_ticket(time_in_force="fill_or_kill"),
        a_ticket(expires_at=timezone.now()),
    ]
    assert len({ticket.digest("sandbox") for ticket in others} | {usual, a_ticket().digest("demo")}) == 10


# --- traded, and not booked yet ------------------------------------------------------------------------------------


def test_what_an_order_has_filled_counts_before_its_fills_are_booked(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.update(max_exposure=Decimal("10.00"), max_position=Decimal(15))
    traded = an_order(account, state="executed", filled=Decimal(10), remaining=Decimal(0))  # $4.80

    assert codes(draft(account)) == ["POSITION_LIMIT"]
    assert codes(draft(account, count=Decimal(5))) == []
    RiskLimit.objects.update(max_exposure=Decimal("9.59"), max_position=Decimal(500))
    assert codes(draft(account)) == ["EXPOSURE_LIMIT"]  # $4.80 and $4.80
    a_fill(account, order=traded, count=Decimal(10))
    assert codes(draft(account)) == ["EXPOSURE_LIMIT"]  # once, not twice
    RiskLimit.objects.update(max_exposure=Decimal("9.60"))
    assert codes(draft(account)) == []


def test_what_is_not_booked_yet_cannot_be_sold_twice(account: Account) -> None:
    a_fill(account, count=Decimal(10))
    an_order(
        account, action="sell", wire_side="ask", state="canceled", filled=Decimal(10), remaining=Decimal(0)
    )  # flat by now
    TradingState.objects.create(environment=account.environment, team=account.team, state="reducing")

    assert codes(draft(account, action="sell")) == ["TRADING_REDUCING"]


def test_what_an_order_filled_long_ago_is_in_the_fills(account: Account) -> None:
    RiskLimit.objects.update(max_position=Decimal(15))
    old = timezone.now() - timedelta(hours=1)
    an_order(account, state="executed", filled=Decimal(10), remaining=Decimal(0), updated_at=old)

    assert codes(draft(account)) == []


# --- how long it takes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["active", "reducing"])
def test_no_fill_is_read_for_an_order_and_the_sums_once(account: Account, state: str) -> None:
    TradingState.objects.create(environment="sandbox", team=account.team, state=state)
    a_fill(account, count=Decimal(10))
    order = draft(account, action="sell")

    with CaptureQueriesContext(connection) as queries:
        assert codes(order) == []

    asked = [query["sql"] for query in queries]
    assert not any('FROM "trading_fill"' in sql for sql in asked)
    assert sum('FROM "trading_bookedposition"' in sql for sql in asked) == 1


def test_open_orders_are_added_up_by_the_database(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_exposure=Decimal("10.00"))
    for _ in range(30):
        an_order(account, count=Decimal("0.10"), remaining=Decimal("0.10"))  # 3 at 48¢: $1.44

    assert codes(draft(account, price=Decimal("0.50"), count=Decimal("17.12"))) == []  # $8.56
    assert codes(draft(account, price=Decimal("0.50"), count=Decimal("17.14"))) == ["EXPOSURE_LIMIT"]


def test_large_numbers_are_said_with_their_thousands(account: Account, limits: RiskLimit) -> None:
    RiskLimit.objects.filter(pk=limits.pk).update(max_order_cost=Decimal(10_000), max_position=Decimal(12_000))
    said = sentence(draft(account, count=Decimal("25000.5")))

    assert "This order would cost $12,000.24; the limit is $10,000.00." in said
    assert "25,000.5 contracts of this market might be held; the limit is 12,000." in said
