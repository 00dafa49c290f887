"""A member's own limits and the team's: what they deny, who lowers and who raises them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from tests.trading.conftest import a_ticket
from tests.trading.exchange import ScriptedExchange
from tests.trading.test_people import of
from trading import limits, orders
from trading.limits import LimitRefused, OwnLimits
from trading.models import AuditEntry, Order, RiskLimit, Team

NONE = OwnLimits(None, None, None)


def limit(actor: User, whose: User, **wanted: object) -> None:
    before = limits.own_limits(of(whose))
    after = OwnLimits(**{name: wanted.get(name, getattr(before, name)) for name in OwnLimits.__slots__})  # type: ignore[arg-type]
    limits.set_own(actor, membership=of(whose), before=before, after=after)


def place(bob: User, **changes: object) -> Order:
    team = of(bob).team
    key = str(len(Order.objects.all()))
    return orders.submit(bob, team=team, environment="sandbox", ticket=a_ticket(**changes), idempotency_key=key)


def test_an_order_above_the_persons_own_limit_is_denied(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_order_cost=Decimal("4.79"))

    order = place(bob)

    assert (order.state, order.reason_code, ready.sent) == ("denied", "OWN_ORDER_COST_LIMIT", [])
    assert order.reason_text == "This order would cost $4.80; your own limit is $4.79."
    assert place(alice).state == "resting"


def test_an_order_at_the_persons_own_limit_is_sent(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_order_cost=Decimal("4.80"), max_working_cost=Decimal("4.80"), max_orders_per_minute=1)

    assert place(bob).state == "resting"


def test_working_orders_of_one_person_count_together(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_working_cost=Decimal("9.59"))
    place(alice)

    first, second = place(bob), place(bob)

    assert (first.state, second.state, second.reason_code) == ("resting", "denied", "OWN_WORKING_COST_LIMIT")


def test_one_person_may_be_held_to_fewer_orders_a_minute(ready: ScriptedExchange, alice: User, bob: User) -> None:
    limit(alice, bob, max_orders_per_minute=1)

    first, second = place(bob), place(bob)

    assert (first.state, second.reason_code) == ("resting", "OWN_RATE_LIMIT")


def test_a_trader_lowers_their_own_limit_and_raises_none(alice: User, bob: User) -> None:
    limit(bob, bob, max_order_cost=Decimal("50.00"))
    with pytest.raises(PermissionDenied):
        limit(bob, bob, max_order_cost=Decimal("50.01"))
    with pytest.raises(PermissionDenied):
        limit(bob, bob, max_order_cost=None)
    limit(alice, bob, max_order_cost=None)

    assert limits.own_limits(of(bob)) == NONE


def test_a_limit_changed_meanwhile_is_not_overwritten(alice: User, bob: User) -> None:
    limit(alice, bob, max_orders_per_minute=5)

    with pytest.raises(LimitRefused, match="meanwhile"):
        limits.set_own(alice, membership=of(bob), before=NONE, after=OwnLimits(Decimal(1), None, None))


def test_the_teams_limits_change_with_what_they_were_in_the_record(
    team: Team, limits: RiskLimit, alice: User, bob: User
) -> None:
    from trading import limits as desk_limits

    before = desk_limits.team_limits(team, "sandbox")
    after = desk_limits.TeamLimits(Decimal(90), Decimal(500), Decimal(500), 10, Decimal("0.05"))
    with pytest.raises(PermissionDenied):
        desk_limits.set_team(bob, team=team, environment="sandbox", before=before, after=after)
    desk_limits.set_team(alice, team=team, environment="sandbox", before=before, after=after)

    assert desk_limits.team_limits(team, "sandbox") == after
    facts = AuditEntry.objects.get(action="limits.changed").facts
    assert (facts["from"]["max_order_cost"], facts["to"]["max_order_cost"]) == ("100.00", "90")
