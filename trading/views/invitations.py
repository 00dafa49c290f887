"""Invitations: made and withdrawn by the team, accepted by whoever has the link."""

from __future__ import annotations

import uuid

from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from trading import invitations, permissions, sessions
from trading.invitations import InvitationRefused
from trading.memberforms import InvitationForm, JoinForm
from trading.permissions import Permission
from trading.views.doors import DeskRequest, desk_page
from trading.views.people import team_context


@require_POST
@desk_page
def invitation_make(request: DeskRequest) -> HttpResponse:
    """Make an invitation and show its link, once."""
    permissions.require(request.user, request.team, Permission.CHANGE_MEMBERS)
    if proof := sessions.missing_proof(request, back_to=reverse("trading:team", args=[request.environment])):
        return proof
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return render(request, "trading/team.html", {**team_context(request), "invitation_form": form}, status=422)
    values = form.cleaned_data
    permissions.require(request.user, request.team, permissions.needed(values["role"]))
    try:
        token = invitations.invite(request.user, team=request.team, role=values["role"], for_whom=values["for_whom"])
    except InvitationRefused as exc:
        form.add_error(None, str(exc))
        return render(request, "trading/team.html", {**team_context(request), "invitation_form": form}, status=422)
    link = settings.WEB_ORIGINS[0].rstrip("/") + reverse("trading:join", args=[token])
    context = {**team_context(request), "link": link, "link_for": values["for_whom"], "link_role": values["role"]}
    return render(request, "trading/team.html", context)


@require_POST
@desk_page
def invitation_withdraw(request: DeskRequest, pk: uuid.UUID) -> HttpResponse:
    """End an invitation that nobody has used."""
    invitation = permissions.get_invitation(request.user, pk)
    try:
        invitations.withdraw(request.user, invitation=invitation)
    except InvitationRefused as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"The invitation for {invitation.for_whom} is withdrawn.")
    return redirect("trading:team", request.environment)


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables()
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whoever has the link whether to join: with the account that is logged in, or with a new one."""
    try:
        invitation = invitations.look_up(token)
        if request.method == "POST" and request.user.is_authenticated:
            membership = invitations.accept(request.user, token=token)
            sessions.choose_team(request, membership.team_id)
            return redirect("start")
        form = JoinForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and (answer := _join_new(request, token, form)):
            return answer
    except InvitationRefused as exc:
        return render(request, "trading/join_refused.html", {"sentence": str(exc)}, status=410)
    context = {"invitation": invitation, "form": form}
    return render(request, "trading/join.html", context, status=422 if form.errors else 200)


@sensitive_variables()
def _join_new(request: HttpRequest, token: str, form: JoinForm) -> HttpResponse | None:
    """Make the account and log it in; None where name or password are refused, with the reason on the form."""
    values = form.cleaned_data
    try:
        user = invitations.accept_new(token, username=values["username"], password=values["password"])
    except ValidationError as exc:
        form.add_error(None, exc)
        return None
    answer: HttpResponse = perform_login(request, user, redirect_url=reverse("start"))
    return answer
