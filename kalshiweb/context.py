"""What every page's frame shows: the environment, the team, the person. How the feed is, the page hears for itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from trading import permissions
from trading.models import Membership, initials
from trading.permissions import Permission

LABELS = {
    "sandbox": ("SANDBOX", "Exchange on this computer, play money. Nothing here reaches Kalshi."),
    "demo": ("DEMO", "Kalshi's demo exchange, play money."),
    "production": ("PRODUCTION", "Real money at Kalshi."),
}


def desk(request: HttpRequest) -> dict[str, Any]:
    """Return `desk`: environment and its words, team and role, what the header links to, and the person's initials."""
    environment = getattr(request, "environment", settings.ENVIRONMENT)
    label, sentence = LABELS[environment]
    membership = _membership(request)
    return {
        "desk": {
            "environment": environment,
            "environment_label": label,
            "environment_sentence": sentence,
            "team": membership.team if membership else None,
            "role": membership.role if membership else None,
            "may_see_record": permissions.may(membership, Permission.SEE_OWN_AUDIT),
            "other_teams": permissions.other_teams(membership),
            "initials": initials(_name(request)) if _name(request) else "",
        }
    }


def _membership(request: HttpRequest) -> Membership | None:
    user = getattr(request, "user", None)  # an answer to a request for another host comes before there is one
    return permissions.current_membership(user) if user is not None else None


def _name(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else ""
