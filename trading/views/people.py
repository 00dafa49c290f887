"""The team: its members and their roles, who looks after what somebody leaves behind, its settings."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Max
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from trading import limits, people, permissions, sessions
from trading.invitations import waiting
from trading.limits import LimitRefused
from trading.memberforms import InvitationForm, SettingsForm
from trading.models import DeskSession, Membership
from trading.people import PeopleRefused
from trading.permissions import Permission
from trading.views.doors import DeskRequest, desk_page

ROLES = {
    "owner": "answers for the team: people, limits, keys, halts",
    "admin": "looks after people, limits and keys, places no orders",
    "trader": "places and cancels orders",
    "viewer": "watches",
    "auditor": "watches, reads the whole record and takes evidence out of it",
}


@require_safe
@desk_page
def team(request: DeskRequest) -> HttpResponse:
    """Show who belongs to the team."""
    return render(request, "trading/team.html", team_context(request))


@require_POST
@desk_page
def team_settings(request: DeskRequest) -> HttpResponse:
    """Change the team's name and switches."""
    permissions.require(request.user, request.team, Permission.CHANGE_TEAM)
    if proof := _missing_proof(request):
        return proof
    form = SettingsForm(request.POST, team=request.team)
    if not form.is_valid():
        return render(request, "trading/team.html", {**team_context(request), "settings_form": form}, status=422)
    name, switches = form.cleaned_data["name"], form.switches
    try:
        limits.set_switches(request.user, team=request.team, name=name, switches=switches)
    except LimitRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, "The team’s settings are changed.")
    return redirect("trading:team", request.environment)


@require_POST
@desk_page
def team_choose(request: DeskRequest) -> HttpResponse:
    """Act in another of one's teams from now on."""
    try:
        team_id = uuid.UUID(request.POST.get("to", ""))
    except ValueError:
        raise Http404 from None
    if not sessions.choose_team(request, team_id):
        raise Http404
    return redirect("trading:dashboard", request.environment)


@require_POST
@desk_page
def member_role(request: DeskRequest, pk: int) -> HttpResponse:
    """Give a member another role; where it cancels nothing, ask first who looks after their working orders."""
    member = permissions.get_member(request.user, pk, Permission.CHANGE_MEMBERS)
    role = request.POST.get("role", "")
    permissions.require(request.user, member.team, permissions.needed(member.role, role))
    if proof := _missing_proof(request):
        return proof
    keeper = _successor(member, request.POST.get("handed_to", ""))
    if keeper is None and (orders := people.orders_left(member, role)):
        context = {"member": member, "role": role, "orders": orders, "successors": people.successors(member)}
        return render(request, "trading/member_role.html", context, status=422)
    return _do(
        request,
        lambda: people.change_role(request.user, membership=member, role=role, handed_to=keeper),
        f"{member.user} is {role} now.",
    )


@require_POST
@desk_page
def member_resume(request: DeskRequest, pk: int) -> HttpResponse:
    """Let a paused member in again."""
    member = permissions.get_member(request.user, pk, Permission.CHANGE_MEMBERS)
    permissions.require(request.user, member.team, permissions.needed(member.role))
    if proof := _missing_proof(request):
        return proof
    return _do(request, lambda: people.resume(request.user, membership=member), f"{member.user} is back.")


@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
def member_leave(request: DeskRequest, pk: int) -> HttpResponse:
    """Ask what becomes of somebody's working orders, then pause or remove them."""
    member = permissions.get_member(request.user, pk, Permission.CHANGE_MEMBERS)
    permissions.require(request.user, member.team, permissions.needed(member.role))
    if proof := sessions.missing_proof(request, back_to=request.path):
        return proof
    if request.method == "POST":
        leave = people.pause if request.POST.get("how") == "pause" else people.remove
        successor = _successor(member, request.POST.get("handed_to", ""))
        done = "is paused" if leave is people.pause else "is removed"
        return _do(
            request,
            lambda: leave(request.user, membership=member, handed_to=successor),
            f"{member.user} {done}; what was open closes within seconds.",
        )
    context = {
        "member": member,
        "orders": people.working_orders(member),
        "successors": people.successors(member),
        "is_self": member.user_id == request.user.pk,
    }
    return render(request, "trading/member_leave.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@desk_page
def member_factor(request: DeskRequest, pk: int) -> HttpResponse:
    """Ask once more, then take a member's lost second factor away."""
    member = permissions.get_member(request.user, pk, Permission.RESET_FACTOR)
    permissions.require(request.user, member.team, permissions.needed(member.role))
    if proof := sessions.missing_proof(request, back_to=request.path):
        return proof
    if request.method == "POST":
        return _do(
            request,
            lambda: people.forget_second_factor(request.user, membership=member),
            f"The second factor of {member.user} is taken away, and their sessions have ended.",
        )
    return render(request, "trading/member_factor.html", {"member": member})


def team_context(request: DeskRequest) -> dict[str, Any]:
    """Return what the page of the team shows."""
    may_change = permissions.may(request.membership, Permission.CHANGE_MEMBERS)
    members = list(
        Membership.objects.select_related("user", "team", "handed_to")
        .filter(team=request.team, left_at=None)
        .order_by("-is_active", "pk")
    )
    return {
        "members": _rows(members, request),
        "former": Membership.objects.select_related("user", "handed_to")
        .filter(team=request.team, left_at__isnull=False)
        .order_by("-left_at")[:50],
        "roles": ROLES,
        "may_change": may_change,
        "may_change_team": permissions.may(request.membership, Permission.CHANGE_TEAM),
        "invitations": waiting(request.team) if may_change else [],
        "invitation_form": InvitationForm(),
        "settings_form": SettingsForm(team=request.team),
    }


def _rows(members: list[Membership], request: DeskRequest) -> list[dict[str, Any]]:
    """Return the members as the table shows them, by as many queries as for one."""
    ids = {member.user_id for member in members}
    seen = dict(DeskSession.objects.filter(user__in=ids).order_by().values_list("user").annotate(Max("seen_at")))
    safe, working = sessions.with_second_factor(ids), people.working_counts(request.team)
    may_high = permissions.may(request.membership, Permission.CHANGE_ADMINS)
    return [
        {
            "member": member,
            "is_me": member.user_id == request.user.pk,
            "seen_at": seen.get(member.user_id),
            "second_factor": member.user_id in safe,
            "working": working[member.user_id],
            "may_change": permissions.may(request.membership, permissions.needed(member.role)),
            "choices": [role for role in Membership.Role.values if may_high or role not in permissions.HIGH],
        }
        for member in members
    ]


def _missing_proof(request: DeskRequest) -> HttpResponse | None:
    return sessions.missing_proof(request, back_to=reverse("trading:team", args=[request.environment]))


def _successor(member: Membership, name: str) -> User | None:
    if not name:
        return None
    return next((other.user for other in people.successors(member) if other.user.get_username() == name), None)


def _do(request: DeskRequest, change: Callable[[], None], done: str) -> HttpResponse:
    try:
        change()
    except PeopleRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, done)
    return redirect("trading:team", request.environment)
