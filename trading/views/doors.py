"""Through which every page of the desk is entered: a person, a team, the exchange this installation is for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from trading import permissions, sessions
from trading.models import TERMINAL, Membership, Order, OrderState, Team
from trading.models.orders import OrderQuerySet
from trading.permissions import Permission

P = ParamSpec("P")

WORKING_COUNTED = 999

NOT_WORKING = TERMINAL | {OrderState.DRAFT, OrderState.AWAITING_APPROVAL}


class DeskRequest(HttpRequest):
    """A request of somebody who belongs to a team, for this installation's exchange."""

    user: User
    environment: str
    membership: Membership
    team: Team
    desk_number: int  # of the team's news when this request came: what is newer, the page asks for
    can_trade: bool
    may_cancel: str  # any | own | none
    working_ids: list[str]  # of the team's orders that may still trade, for the count in the header


View = Callable[Concatenate[DeskRequest, P], HttpResponse]
Wrapped = Callable[..., HttpResponse]


def desk_page(view: View[P]) -> Wrapped:
    """Let members in; send strangers to the log-in, people without a team to a page that says so."""

    @never_cache
    @login_required
    @wraps(view)
    def entered(request: HttpRequest, environment: str, *args: Any, **kwargs: Any) -> HttpResponse:
        _check_environment(environment)
        membership = permissions.current_membership(request.user)
        if membership is None:
            return render(request, "trading/no_team.html", status=403)
        if sessions.lacks_second_factor(request.user, membership.team):
            messages.info(request, "Real money can be moved with a key of your team: set up a second factor first.")
            return redirect("mfa_index")
        if sessions.has_left_team(request, membership.team) and request.method == "POST":
            messages.error(request, f"You act in {membership.team} now: nothing was done.")
            return redirect("trading:dashboard", environment)
        return view(_enter(request, environment, membership), *args, **kwargs)

    return entered


def desk_call(view: View[P]) -> Wrapped:
    """Let members in as `desk_page` does; what goes wrong is said in one sentence of JSON."""

    @never_cache
    @wraps(view)
    def entered(request: HttpRequest, environment: str, *args: Any, **kwargs: Any) -> HttpResponse:
        _check_environment(environment)
        if not request.user.is_authenticated:
            return fault("You are signed out: log in again in another tab, then try once more.", status=401)
        membership = permissions.current_membership(request.user)
        if membership is None:
            return fault("You belong to no team of this desk.", status=403)
        if sessions.lacks_second_factor(request.user, membership.team):
            return fault("Set up a second factor first: see your menu.", status=403)
        if request.POST.get("team", str(membership.team_id)) != str(membership.team_id):
            return fault("You act in another team now: load this page again. Nothing was sent.", status=409)
        return view(_enter(request, environment, membership), *args, **kwargs)

    return entered


def fault(text: str, *, field: str | None = None, status: int = 422, **more: Any) -> JsonResponse:
    """Return a refusal as a page shows it: one sentence, and the field it is about."""
    return JsonResponse({"fault": {"field": field, "text": text}, **more}, status=status)


def wants_json(request: HttpRequest) -> bool:
    """Say whether a script asks, rather than a form without one."""
    return "application/json" in request.headers.get("Accept", "")


def page_query(asked: QueryDict, page: int) -> str:
    """Return the query of the same list's other page."""
    query = asked.copy()
    query["page"] = str(page)
    return query.urlencode()


def working_orders(team: Team, environment: str) -> OrderQuerySet:
    """Return the team's orders that may still trade."""
    return Order.objects.of(team, environment).exclude(state__in=NOT_WORKING)


def _enter(request: HttpRequest, environment: str, membership: Membership) -> DeskRequest:
    desk = cast(DeskRequest, request)
    desk.environment, desk.membership, desk.team = environment, membership, membership.team
    desk.desk_number = membership.team.number
    desk.can_trade = permissions.may(membership, Permission.PLACE_ORDER)
    desk.may_cancel = _may_cancel(membership)
    found = working_orders(membership.team, environment).values_list("pk", flat=True)[:WORKING_COUNTED]
    desk.working_ids = [str(pk) for pk in found]
    return desk


def _may_cancel(membership: Membership) -> str:
    if permissions.may(membership, Permission.CANCEL_ANY_ORDER):
        return "any"
    return "own" if permissions.may(membership, Permission.CANCEL_OWN_ORDER) else "none"


def _check_environment(environment: str) -> None:
    if environment != settings.ENVIRONMENT:
        raise Http404(f"This desk is for the exchange “{settings.ENVIRONMENT}”.")
