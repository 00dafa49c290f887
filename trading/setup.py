"""How people get in: the first run of a desk on the local exchange, and links that log a person in once.

A first run may be killed at any step and is simply run again: each step looks at what is there already, and the key
that the exchange gave first is deleted only when the desk's own has been sealed and tried.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib.auth import password_validation, update_session_auth_hash
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.debug import sensitive_variables

from trading import audit, keys, sessions, teams
from trading.models import Account, ApiKey, LogInLink, Membership, RiskLimit, Team

logger = logging.getLogger(__name__)

TEAM_NAME, OWNER_NAME, KEY_NAME = "My desk", "owner", "kalshiweb desk"
MEMBER = "desk"  # the desk's own member of the local exchange
# Play money: enough for a first look at everything, and limits that can be felt.
FIRST_LIMITS = {
    "max_order_cost": Decimal("1000.00"),
    "max_exposure": Decimal("10000.00"),
    "max_position": Decimal("10000.00"),
    "max_orders_per_minute": 60,
    "price_collar": Decimal("0.1000"),
}
LINK_LIFE = {"local": timedelta(minutes=10), "reset": timedelta(hours=1)}
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")  # what a proxy on this machine says of those behind it
_MAY_SET_PASSWORD = "may_set_password"  # noqa: S105 - the session's note of whom a link has let in

LinkKind = Literal["local", "reset"]


class LinkRefused(Exception):
    """A log-in link is not accepted; the text is one sentence for a person."""


class TeamRefused(Exception):
    """A team is not made, nor completed; the text is one sentence for the operator."""


class PasswordRefused(Exception):
    """A password may not be set in this way; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A team with the person who answers for it, and its account."""

    team: Team
    owner: User
    account: Account


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the local exchange wrote for the desk's member."""

    key_id: str
    pem_path: Path
    pem: bytes = field(repr=False)


# --- the first run -----------------------------------------------------------------------------------


def first_run(*, environment: str, credentials_dir: Path) -> str | None:
    """Give a desk on the local exchange its team, owner and key; return the path of a log-in link, or None.

    Safe to repeat, and meant to be at every start. There is a link as long as nobody has ever logged in. Talks to the
    exchange. Raises keys.KeyRefused where that does not give the desk a key.
    """
    if environment != "sandbox":
        return None
    desk = _first_desk(environment)
    if desk is None:
        return None
    credentials, began_at = _read_credentials(credentials_dir), timezone.now()
    key = _working_key(desk) or _exchange(desk, credentials)
    if key is not None:
        _lend(desk, key)
        if key.probed_at is not None and key.probed_at >= began_at:  # the exchange has just accepted it
            _forget(desk, credentials)
    return None if _somebody_has_logged_in() else f"/welcome/{make_link(desk.owner, kind='local')}"


def create_team(name: str, *, owner: str, environment: str, limits: dict[str, object] | None = None) -> Desk:
    """Make a team, its owner and its account, or complete what is there of them; safe to repeat for the same owner.

    A new person has no password: a link lets in. Without `limits` the team may risk nothing until its owner says so.
    Raises TeamRefused for a team that is there already and whose owner the person is not: nobody becomes an owner of
    a team that others work in by having it made once more.
    """
    with transaction.atomic():
        team, is_new = Team.objects.get_or_create(slug=slugify(name), defaults={"name": name})
        if not is_new:
            _check_is_theirs(teams.locked(team), name, owner)
        person = _person(owner)
        if is_new:
            audit.record("team.created", None, team=team, subject=team, facts={"name": name})
            Membership.objects.create(team=team, user=person, role=Membership.Role.OWNER)
            facts = {"user": person.get_username(), "role": Membership.Role.OWNER.value}
            audit.record("member.added", None, team=team, facts=facts)
        return _complete(team, person, environment, limits or {})


def _check_is_theirs(team: Team, name: str, owner: str) -> None:
    if team.name != name:
        raise TeamRefused(f"The team “{team.name}” goes by the short name {team.slug} already: choose another name.")
    if not _owners(team).filter(username=owner).exists():
        raise TeamRefused(f"The team “{team.name}” is there, and {owner} is no owner of it: an owner can invite them.")


def _owners(team: Team) -> QuerySet[User]:
    """Return those who answer for a team and can log in, the first of them first."""
    standing = Membership.objects.filter(team=team, role=Membership.Role.OWNER, is_active=True)
    return User.objects.filter(pk__in=standing.values("user"), is_active=True).order_by("pk")


def _complete(team: Team, owner: User, environment: str, limits: dict[str, object]) -> Desk:
    account = _account(team, environment)
    _limits(team, environment, limits)
    return Desk(team, owner, account)


def _first_desk(environment: str) -> Desk | None:
    """Return the desk of the first run, whatever it is called and whoever owns it by now.

    None where somebody has set up teams otherwise.
    """
    team = Team.objects.filter(slug=slugify(TEAM_NAME)).first()
    if team is None and Team.objects.exists():
        return None
    if team is None:
        return create_team(TEAM_NAME, owner=OWNER_NAME, environment=environment, limits=FIRST_LIMITS)
    owner = _owners(team).first()
    with transaction.atomic():
        return None if owner is None else _complete(teams.locked(team), owner, environment, FIRST_LIMITS)


def _person(name: str) -> User:
    person, is_new = User.objects.get_or_create(username=name)
    if is_new:
        person.set_unusable_password()
        person.save(update_fields=["password"])
    return person


def _account(team: Team, environment: str) -> Account:
    account, is_new = Account.objects.get_or_create(
        team=team, environment=environment, defaults={"name": environment.capitalize()}
    )
    if is_new:
        audit.record("account.added", None, team=team, environment=environment, facts={"name": account.name})
    return account


def _limits(team: Team, environment: str, limits: dict[str, object]) -> None:
    _, is_new = RiskLimit.objects.get_or_create(team=team, environment=environment, defaults=limits)
    if is_new and limits:
        audit.record("limits.changed", None, team=team, environment=environment, facts=limits)


def _working_key(desk: Desk) -> ApiKey | None:
    """Return a key that the exchange knows, or one that a person has put aside; mark those that it refuses.

    Raises keys.KeyRefused where one was made and could not be tried yet: that one is waited for, no other is made.
    """
    held = {ApiKey.State.ACTIVE, ApiKey.State.PAUSED}
    stored = ApiKey.objects.select_related("account__team").filter(account=desk.account)
    found = [keys.check(key) for key in stored.filter(state__in=held | {ApiKey.State.UNCHECKED})]
    if key := next((key for key in found if key.state in held), None):
        return key
    if any(key.state == ApiKey.State.UNCHECKED for key in found):
        raise keys.KeyRefused("The exchange gave no answer about the desk's key: the next start tries it again.")
    return None


@sensitive_variables()
def _exchange(desk: Desk, credentials: Credentials | None) -> ApiKey | None:
    if credentials is None:
        logger.warning(
            "the desk has no key and the local exchange has left no credentials: `serve --reset` begins anew"
        )
        return None
    return keys.exchange_first(
        desk.owner, account=desk.account, name=KEY_NAME, key_id=credentials.key_id, pem=credentials.pem
    )


def _lend(desk: Desk, key: ApiKey) -> None:
    lent = ApiKey.objects.filter(environment=key.environment, is_feed=True).exclude(pk=key.pk)
    if key.is_usable and not key.is_feed and not lent.filter(state=ApiKey.State.ACTIVE).exists():
        keys.lend_feed(desk.owner, key=key)


@sensitive_variables()
def _forget(desk: Desk, credentials: Credentials | None) -> None:
    """Delete the first key at the exchange, should it still be there, and then its file."""
    if credentials is None:
        return
    keys.delete_first(desk.account, key_id=credentials.key_id, pem=credentials.pem)
    credentials.pem_path.unlink(missing_ok=True)


@sensitive_variables()
def _read_credentials(folder: Path) -> Credentials | None:
    """Return the member's credentials; None where they are used up or cannot be read."""
    try:
        described = json.loads((folder / f"{MEMBER}.json").read_text())
        pem_path = folder / described["private_key_file"]
        return Credentials(described["key_id"], pem_path, pem_path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        logger.warning("the local exchange's credentials cannot be read: %s", type(exc).__name__)
        return None


def _somebody_has_logged_in() -> bool:
    return User.objects.filter(last_login__isnull=False).exists()


# --- links -------------------------------------------------------------------------------------------


def make_link(user: User, *, kind: LinkKind) -> str:
    """Return the token of a new link, the only place where it exists; links of the same person end.

    `local`: ten minutes, on the local exchange, from this machine. `reset`: an hour, anywhere; made by the operator.
    """
    token = f"{kind}-{secrets.token_urlsafe(32)}"
    now = timezone.now()
    with transaction.atomic():
        teams.lock_all_of(user)
        LogInLink.objects.filter(user=user, used_at=None).delete()
        LogInLink.objects.create(token_hash=_hash(token), user=user, expires_at=now + LINK_LIFE[kind])
        teams.record_in_each("login.link_made", None, person=user, facts={"user": user.get_username()})
    return token


def check_link(request: HttpRequest, token: str) -> LogInLink:
    """Return the link, unused, for the page that asks whether to use it. Raises LinkRefused."""
    if token.startswith("local-") and not _is_at_this_machine(request):
        raise LinkRefused("This link works only on the computer that runs the desk.")
    link = LogInLink.objects.select_related("user").filter(token_hash=_hash(token)).first()
    if link is None or link.used_at or link.expires_at <= timezone.now() or not link.user.is_active:
        raise LinkRefused("This link was used already, or it is too old: ask for a new one.")
    return link


def use_link(request: HttpRequest, token: str, *, redirect_url: str = "/") -> HttpResponse:
    """Use up a link, log its person in with a new session, and return the redirect; to the second factor, if there is.

    Raises LinkRefused. Of two requests with the same link one wins.
    """
    link = check_link(request, token)
    with transaction.atomic():
        teams.lock_all_of(link.user)
        if not LogInLink.objects.filter(pk=link.pk, used_at=None).update(used_at=timezone.now()):
            raise LinkRefused("This link was used already: ask for a new one.")
        teams.record_in_each("login.link_used", link.user, person=link.user, facts={"user": link.user.get_username()})
    request.session[_MAY_SET_PASSWORD] = link.user.pk
    response: HttpResponse = perform_login(request, link.user, redirect_url=redirect_url)
    if request.user.pk == link.user.pk:
        request.session[_MAY_SET_PASSWORD] = link.user.pk
    return response


def needs_password(request: HttpRequest) -> bool:
    """Say whether the person should be asked for a password: there is none, or a link has just been used."""
    return _may_set_password(request)


@sensitive_variables("password")
def set_password(request: HttpRequest, password: str) -> None:
    """Set the password of the person who is logged in, by a link or without one so far; the session goes on.

    Raises PasswordRefused to somebody who has a password and came with it, ValidationError where it is too weak.
    """
    user = request.user
    if not isinstance(user, User) or not _may_set_password(request):
        raise PasswordRefused("Change your password with the one you have.")
    password_validation.validate_password(password, user)
    sessions.set_password(user, password)
    request.session.pop(_MAY_SET_PASSWORD, None)
    update_session_auth_hash(request, user)


def _may_set_password(request: HttpRequest) -> bool:
    user = request.user
    if not isinstance(user, User):
        return False
    return not user.has_usable_password() or request.session.get(_MAY_SET_PASSWORD) == user.pk


def _is_at_this_machine(request: HttpRequest) -> bool:
    """Say whether this is the local exchange's desk, asked from its own machine, directly, by its own name."""
    host = request.get_host()
    name = host[: host.rindex("]") + 1] if host.startswith("[") else host.partition(":")[0]
    try:
        is_loopback = ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    is_near = is_loopback and not any(header in request.headers for header in FORWARDED)
    return settings.ENVIRONMENT == "sandbox" and is_near and name in LOOPBACK_NAMES


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
