"""What a team, and each of its members, may risk; and what the team's owners have switched on.

A limit is raised by somebody who may, with a fresh proof (asked for by the page); lowering needs less, and a trader
may lower their own. The gate itself is in `trading.risk`, which reads these rows for every order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import transaction

from trading import audit, permissions, teams
from trading.models import Membership, RiskLimit, Team
from trading.permissions import Permission

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SWITCHES = ("owners_trade", "traders_cancel_any", "viewers_see_positions")


class LimitRefused(Exception):
    """A limit or setting was refused; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """A member's own limits; None means that only the team's holds. Money in $."""

    max_order_cost: Decimal | None
    max_working_cost: Decimal | None
    max_orders_per_minute: int | None


@dataclass(frozen=True, slots=True)
class TeamLimits:
    """A team's limits at one exchange; zero allows nothing. Money in $, position in contracts."""

    max_order_cost: Decimal
    max_exposure: Decimal
    max_position: Decimal
    max_orders_per_minute: int
    price_collar: Decimal


@dataclass(frozen=True, slots=True)
class TeamSettings:
    """A team's name and what its owners have switched on."""

    name: str
    owners_trade: bool
    traders_cancel_any: bool
    viewers_see_positions: bool


def own_limits(membership: Membership) -> OwnLimits:
    """Return a member's own limits as they stand."""
    return OwnLimits(membership.max_order_cost, membership.max_working_cost, membership.max_orders_per_minute)


def team_limits(team: Team, environment: str) -> TeamLimits:
    """Return a team's limits as they stand; without a row all are zero."""
    row = RiskLimit.objects.filter(team=team, environment=environment).first() or RiskLimit()
    return TeamLimits(
        row.max_order_cost, row.max_exposure, row.max_position, row.max_orders_per_minute, row.price_collar
    )


def team_settings(team: Team) -> TeamSettings:
    """Return a team's settings as `team` holds them."""
    return TeamSettings(team.name, **{switch: getattr(team, switch) for switch in SWITCHES})


def raises(before: OwnLimits | TeamLimits, after: OwnLimits | TeamLimits) -> bool:
    """Say whether any limit allows more than before; none of one's own allows the most."""
    pairs = zip(asdict(before).values(), asdict(after).values(), strict=True)
    return any(old is not None and (new is None or new > old) for old, new in pairs)


def set_own(actor: User, *, membership: Membership, before: OwnLimits, after: OwnLimits) -> None:
    """Change a member's own limits from what the person saw. Raises LimitRefused, Http404 or PermissionDenied."""
    with transaction.atomic():
        team = teams.locked(membership.team)
        is_own_lowering = membership.user_id == actor.pk and not raises(before, after)
        may = Permission.PLACE_ORDER if is_own_lowering else Permission.CHANGE_LIMITS
        permissions.require(actor, team, may)
        if membership.user_id == actor.pk and not is_own_lowering:
            permissions.require(actor, team, Permission.CHANGE_TEAM)
        same = Membership.objects.filter(pk=membership.pk, **asdict(before))
        if not same.update(**asdict(after)):
            raise LimitRefused("Somebody else changed these limits meanwhile: look at the page again.")
        facts = {"user": membership.user.get_username(), "from": asdict(before), "to": asdict(after)}
        audit.record("member.limits_changed", actor, team=team, subject=membership, facts=facts)
    membership.refresh_from_db()


def set_team(actor: User, *, team: Team, environment: str, before: TeamLimits, after: TeamLimits) -> None:
    """Change a team's limits from what the person saw. Raises LimitRefused, Http404 or PermissionDenied."""
    with transaction.atomic():
        team = teams.locked(team)
        permissions.require(actor, team, Permission.CHANGE_LIMITS)
        RiskLimit.objects.get_or_create(team=team, environment=environment)
        same = RiskLimit.objects.filter(team=team, environment=environment, **asdict(before))
        if not same.update(**asdict(after)):
            raise LimitRefused("Somebody else changed these limits meanwhile: look at the page again.")
        facts = {"from": asdict(before), "to": asdict(after)}
        audit.record("limits.changed", actor, team=team, environment=environment, facts=facts)


def set_switches(actor: User, *, team: Team, name: str, switches: Mapping[str, bool]) -> None:
    """Change a team's name and switches from what `team` holds. Raises LimitRefused, Http404 or PermissionDenied."""
    name = " ".join(name.split())
    if not name or len(name) > 80 or not name.isprintable():
        raise LimitRefused("A team's name has 1 to 80 characters.")
    was = asdict(team_settings(team))
    now: dict[str, Any] = {"name": name, **{switch: bool(switches[switch]) for switch in SWITCHES}}
    with transaction.atomic():
        teams.locked(team)
        permissions.require(actor, team, Permission.CHANGE_TEAM)
        if not Team.objects.filter(pk=team.pk, **was).update(**now):
            raise LimitRefused("Somebody else changed these settings meanwhile: look at the page again.")
        changed = {key: {"from": was[key], "to": now[key]} for key in now if now[key] != was[key]}
        audit.record("team.changed", actor, team=team, subject=team, facts=changed)
    team.refresh_from_db()
