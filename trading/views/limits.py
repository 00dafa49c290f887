"""Limits: the team's at this exchange, and each member's own beside them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from trading import limits, permissions, sessions
from trading.limits import LimitRefused, own_limits
from trading.memberforms import OwnLimitsForm, TeamLimitsForm
from trading.models import Membership
from trading.permissions import Permission
from trading.views.doors import DeskRequest, desk_page

TRADES = frozenset({Membership.Role.OWNER, Membership.Role.TRADER})


@require_safe
@desk_page
def team_limits(request: DeskRequest) -> HttpResponse:
    """Show both kinds of limits."""
    return render(request, "trading/limits.html", _context(request))


@require_POST
@desk_page
def team_limits_change(request: DeskRequest) -> HttpResponse:
    """Change the team's limits; raising one asks for a fresh proof."""
    permissions.require(request.user, request.team, Permission.CHANGE_LIMITS)
    before = limits.team_limits(request.team, request.environment)
    form = TeamLimitsForm(request.POST, before=before, prefix="team")
    if not form.is_valid():
        return render(request, "trading/limits.html", _context(request, team_form=form), status=422)
    if limits.raises(before, form.limits) and not sessions.is_fresh(request):
        return sessions.ask_for_proof(request, back_to=reverse("trading:limits", args=[request.environment]))
    try:
        limits.set_team(
            request.user, team=request.team, environment=request.environment, before=before, after=form.limits
        )
    except LimitRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, "The team’s limits are changed.")
    return redirect("trading:limits", request.environment)


@require_POST
@desk_page
def own_limits_change(request: DeskRequest, pk: int) -> HttpResponse:
    """Change a member's own limits; raising one asks for a fresh proof, a trader may lower their own."""
    member = permissions.get_member(request.user, pk)
    if member.user_id != request.user.pk or not request.can_trade:
        permissions.require(request.user, member.team, Permission.CHANGE_LIMITS)
    before = own_limits(member)
    form = OwnLimitsForm(request.POST, before=before, prefix=f"own-{member.pk}")
    if not form.is_valid():
        return render(request, "trading/limits.html", _context(request, own_form=(member.pk, form)), status=422)
    if limits.raises(before, form.limits) and not sessions.is_fresh(request):
        return sessions.ask_for_proof(request, back_to=reverse("trading:limits", args=[request.environment]))
    try:
        limits.set_own(request.user, membership=member, before=before, after=form.limits)
    except LimitRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"The limits of {member.user} are changed.")
    return redirect("trading:limits", request.environment)


def _context(
    request: DeskRequest,
    *,
    team_form: TeamLimitsForm | None = None,
    own_form: tuple[int, OwnLimitsForm] | None = None,
) -> dict[str, Any]:
    may_change = permissions.may(request.membership, Permission.CHANGE_LIMITS)
    before = limits.team_limits(request.team, request.environment)
    members = Membership.objects.select_related("user", "team").filter(
        team=request.team, is_active=True, role__in=TRADES
    )
    rows = []
    for member in members.order_by("pk"):
        form = OwnLimitsForm(before=own_limits(member), prefix=f"own-{member.pk}")
        if own_form is not None and own_form[0] == member.pk:
            form = own_form[1]
        is_me = member.user_id == request.user.pk
        rows.append({"member": member, "form": form, "is_me": is_me, "may_change": may_change or is_me})
    return {
        "team_form": team_form or TeamLimitsForm(before=before, prefix="team"),
        "team_limits": before,
        "rows": rows,
        "may_change": may_change,
    }
