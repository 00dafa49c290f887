"""The page of one market: what it shows of book, orders and holdings, and when it has a ticket."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from markets.models import Event, Market
from tests.trading.conftest import ENV, TICKER
from tests.trading.test_models import a_fill
from tests.trading.test_pages_doors import as_
from trading.models import Account, ApiKey, Fill, Order, Team

URL = f"/x/sandbox/markets/{TICKER}/"


def page(user: User) -> str:
    """Return the market's page as somebody gets it."""
    return as_(user).get(URL).content.decode()


def placed(
    account: Account, by: User | None, *, state: str = "resting", ticker: str = TICKER, **changes: object
) -> Order:
    """Return an order for 40 YES at 48¢ as it is kept."""
    usual = {
        "price": Decimal("0.48"),
        "wire_price": Decimal("0.48"),
        "count": Decimal(40),
        "remaining": Decimal(40),
        "exchange_order_id": str(Order.objects.count()),
        "idempotency_key": str(Order.objects.count()),
    }
    return Order.objects.create(
        environment=ENV,
        team=account.team,
        account=account,
        placed_by=by,
        ticker=ticker,
        action="buy",
        side="yes",
        wire_side="bid",
        state=state,
        **{**usual, **changes},
    )


def test_a_trader_finds_ladder_ticket_and_a_fresh_key(bob: User, api_key: ApiKey, market: Market) -> None:
    first, second = page(bob), page(bob)

    for html in (first, second):
        assert 'data-testid="book-state"' in html
        assert 'data-testid="ticket"' in html
        assert 'data-testid="confirm"' in html
        assert 'data-ranges="[[0, 10000, 100]]"' in html
    assert key_in(first) != key_in(second)


def key_in(html: str) -> str:
    """Return the idempotency key of a page's ticket."""
    return html.partition('name="idempotency_key" value="')[2].partition('"')[0]


def test_who_may_only_look_has_no_ticket(vera: User, api_key: ApiKey, market: Market) -> None:
    html = page(vera)

    assert "You can watch here." in html
    assert 'data-testid="confirm"' not in html


def test_without_a_key_the_ticket_says_what_to_do(bob: User, account: Account, market: Market) -> None:
    html = page(bob)

    assert "No key may trade yet." in html
    assert 'href="/x/sandbox/keys/"' in html


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_replay": True}, "A replay has no ticket."),
        ({"status": "inactive"}, "Paused."),
        ({"status": "finalized", "result": "yes"}, "Result: YES."),
        ({"close_at": timezone.now() - timedelta(minutes=1)}, "Closed."),
    ],
)
def test_what_does_not_trade_has_no_ticket(
    bob: User, api_key: ApiKey, market: Market, changes: dict[str, object], words: str
) -> None:
    Market.objects.filter(pk=market.pk).update(**changes)
    html = page(bob)

    assert words in html
    assert 'data-testid="confirm"' not in html


def test_it_shows_the_teams_orders_here_and_no_others(
    bob: User, alice: User, mallory: User, other_team: Team, account: Account, market: Market
) -> None:
    placed(account, alice)
    placed(account, alice, ticker="KXOTHER-1")
    theirs = Account.objects.create(environment=ENV, team=other_team, name="Theirs")
    placed(theirs, mallory)
    html = page(bob)

    assert html.count('data-testid="order-row" data-order="') == 2  # one, and the empty one for scripts
    assert ">resting<" in html


def filled(account: Account, *, wire_side: str, wire_price: str, count: str) -> None:
    """Keep a fill of the account in the market."""
    a_fill(
        account,
        trade_id=f"t{Fill.objects.count()}",
        wire_side=wire_side,
        wire_price=Decimal(wire_price),
        count=Decimal(count),
    )


def test_it_shows_what_the_team_holds(bob: User, account: Account, market: Market) -> None:
    filled(account, wire_side="ask", wire_price="0.60", count="50")

    told = as_(bob).get(f"{URL}position.json").json()
    # 50 contracts of 0.01, sold as YES; they cost 50 × $0.40
    assert told == {"side": "no", "words": "50 NO", "at": "at 40¢", "net": -5_000, "cost": 20_000_000}
    assert '<b class="no" data-held-words>50 NO</b> <span data-held-at>at 40¢</span>' in page(bob)


@pytest.mark.parametrize(
    ("wire_side", "expected"),
    # 10 YES for 60¢ could be sold at 48¢; 10 NO for 40¢ could be sold at 100 − 52 = 48¢
    [("bid", "−$1.20"), ("ask", "+$0.80")],
)
def test_it_says_what_closing_now_would_bring(
    bob: User, account: Account, market: Market, wire_side: str, expected: str
) -> None:
    Market.objects.filter(pk=market.pk).update(yes_bid=4800, yes_ask=5200)
    filled(account, wire_side=wire_side, wire_price="0.60", count="10")

    assert f"open <b data-held-gain>{expected}</b>" in page(bob)


def test_a_gain_is_not_rounded_up(bob: User, account: Account, market: Market) -> None:
    Market.objects.filter(pk=market.pk).update(yes_bid=6015)
    filled(account, wire_side="bid", wire_price="0.60", count="1.50")  # gains 1.5 × 0.15¢ = $0.00225

    assert "open <b data-held-gain>$0.00</b>" in page(bob)


def test_who_holds_nothing_sees_no_gain(bob: User, account: Account, market: Market) -> None:
    assert "data-held-open hidden" in page(bob)


def test_the_address_says_whose_prices_the_ladder_shows(bob: User, account: Account, market: Market) -> None:
    from_yes, from_no = page(bob), as_(bob).get(f"{URL}?view=no").content.decode()

    assert 'data-side="yes"' in from_yes
    assert "YES bids" in from_yes
    assert 'data-side="no"' in from_no
    assert "NO bids" in from_no
    assert 'data-show-side="no" aria-pressed="true"' in from_no


def test_the_exchanges_words_are_escaped(bob: User, account: Account, market: Market) -> None:
    evil = "<script>alert(1)</script>"
    Market.objects.filter(pk=market.pk).update(title=evil, yes_sub_title=evil, rules_primary=evil)
    Event.objects.create(environment=ENV, ticker=market.event_ticker, title=evil, synced_at=timezone.now())

    for url in (URL, "/x/sandbox/", "/x/sandbox/markets/"):
        assert evil not in as_(bob).get(url).content.decode()
    assert "&lt;script&gt;alert(1)" in page(bob)
