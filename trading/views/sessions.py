"""Where people are logged in: one's own sessions, for owners and admins the team's too, and an end to each."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from trading import audit, permissions
from trading import sessions as desk_sessions
from trading.models import DeskSession, Membership
from trading.permissions import Permission
from trading.views.doors import DeskRequest, desk_page


@require_safe
@desk_page
def sessions(request: DeskRequest) -> HttpResponse:
    """Show where the person, or the team, is logged in."""
    may_see_all = permissions.may(request.membership, Permission.CHANGE_MEMBERS)
    of_team = may_see_all and request.GET.get("of") == "team"
    if of_team:
        audit.record_once("sessions.read", request.user, team=request.team)
    people = _members(request) if of_team else [request.user]
    context = {
        "sessions": desk_sessions.of(people),
        "current": request.session.session_key,
        "of_team": of_team,
        "may_see_all": may_see_all,
        "is_locked": desk_sessions.is_locked(request),
        "proof_url": desk_sessions.proof_url(request, back_to=request.path),
        "second_factor": desk_sessions.has_second_factor(request.user),
    }
    return render(request, "trading/sessions.html", context)


@require_POST
@desk_page
def session_end(request: DeskRequest, pk: uuid.UUID) -> HttpResponse:
    """End one session: one's own, or with the right to it a member's."""
    session = DeskSession.objects.select_related("user").filter(pk=pk, user__in=_members(request)).first()
    if session is None:
        raise Http404
    if session.user_id != request.user.pk:
        permissions.require(request.user, request.team, Permission.CHANGE_MEMBERS)
    desk_sessions.end(request.user, session=session, team=request.team)
    if session.session_key == request.session.session_key:
        logout(request)
        return redirect("start")
    messages.success(request, f"That session of {session.user} has ended.")
    answer = redirect("trading:sessions", request.environment)
    if session.user_id != request.user.pk:
        answer["Location"] += "?of=team"
    return answer


def _members(request: DeskRequest) -> list[User]:
    members = Membership.objects.select_related("user").filter(team=request.team, left_at=None)
    return [member.user for member in members]
