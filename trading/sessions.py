"""Log-ins of people: where they came from, which team they act in, how long ago somebody proved to be there.

A session that was idle for 30 minutes sees everything and trades nothing until its person has proved it again; what is
dangerous asks for a proof of the last five minutes. Proofs are allauth's records: password, second factor, passkey.

Django's sessions say who is logged in, a row of `DeskSession` that this one stands. Where a session gets another key
the row follows, and a log-in without its row opens no page: there is no session that cannot be listed and ended.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.account.signals import authentication_step_completed
from allauth.core.internal.ratelimit import truncate_ip
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.debug import sensitive_variables

from trading import audit, origin, teams
from trading.models import ApiKey, DeskSession, Membership, Team

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

IDLE = timedelta(minutes=30)
FRESH = timedelta(minutes=5)
GUESSES_WITHIN = timedelta(minutes=5)  # as ACCOUNT_RATE_LIMITS counts them
NOTED_EVERY_SECONDS = 60
# the session's own notes
TEAM, BEGAN_AT, ENDS_AT, ACTED_AT, LOCKED_AT = "team", "began_at", "ends_at", "acted_at", "trading_locked_at"
LOCKED = "Trading is locked after 30 minutes without you: confirm that it is you."


class DeskSessions(MiddlewareMixin):
    """Puts the session's team on the person, notes when a person last did something here, and tells the record where
    each request comes from.
    """

    def __call__(self, request: HttpRequest) -> Any:
        """Serve a request, in one thread or on the event loop."""
        if self.async_mode:
            return self.__acall__(request)
        with origin.asked_of(partial(_came_from, request)):
            return super().__call__(request)

    async def __acall__(self, request: HttpRequest) -> Any:
        """Serve a request on the event loop."""
        with origin.asked_of(partial(_came_from, request)):
            return await super().__acall__(request)

    def process_request(self, request: HttpRequest) -> None:
        """Look at each request, at the price of one query; what scripts fetch by themselves is no sign of a person."""
        request._key_before = key = request.session.session_key  # type: ignore[attr-defined]
        if not key:
            return
        if SESSION_KEY in request.session and not DeskSession.objects.filter(session_key=key).exists():
            _drop(request)
            return
        if team := request.session.get(TEAM):
            request.user.chosen_team = team  # type: ignore[union-attr]
        is_script = request.method == "GET" and request.headers.get("Sec-Fetch-Dest") == "empty"
        if not is_script and not request.path.startswith(settings.STATIC_URL):
            touch(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Follow a session that got another key, as with a new password; and have nobody keep a person's pages."""
        before, key = getattr(request, "_key_before", None), request.session.session_key
        if before and key and before != key and not DeskSession.objects.filter(session_key=key).exists():
            _follow(request, before)
        if key and not response.has_header("Cache-Control") and request.user.is_authenticated:
            add_never_cache_headers(response)
        return response


def _follow(request: HttpRequest, before: str) -> None:
    """Note the session's new key; one that was ended before that is over."""
    theirs = DeskSession.objects.filter(session_key=before, user_id=request.user.pk or 0)
    if not theirs.update(session_key=request.session.session_key) and request.user.is_authenticated:
        _drop(request)


def _drop(request: HttpRequest) -> None:
    """Serve a request whose session was ended as anybody's; its browser may hold the cookie of another by now."""
    request.session.delete()
    request.session = type(request.session)()
    request.user = AnonymousUser()


def _came_from(request: HttpRequest) -> origin.Origin:
    said = {"ip": address_of(request), "session": origin.hashed(request.session.session_key)}
    return {name: value for name, value in said.items() if value}


def touch(request: HttpRequest) -> None:
    """Note that a person was here; after 30 minutes without one, lock trading in this session."""
    if not request.user.is_authenticated:
        return
    now, acted_at = time.time(), request.session.get(ACTED_AT)
    if ENDS_AT not in request.session:  # each save would put the end off, and a session has one
        ends_at = request.session.get(BEGAN_AT, now) + settings.SESSION_COOKIE_AGE
        request.session[ENDS_AT] = ends_at
        request.session.set_expiry(datetime.fromtimestamp(ends_at, UTC))
    if acted_at is not None and now - acted_at < NOTED_EVERY_SECONDS:
        return
    if acted_at is not None and now - acted_at > IDLE.total_seconds():
        request.session[LOCKED_AT] = now
    request.session[ACTED_AT] = now
    DeskSession.objects.filter(session_key=request.session.session_key).update(seen_at=timezone.now())


# --- proofs --------------------------------------------------------------------------------------------------


def is_locked(request: HttpRequest) -> bool:
    """Say whether this session was idle and nobody has proved to be there since."""
    locked_at = request.session.get(LOCKED_AT)
    if locked_at is None or not _can_prove(request.user):
        return False
    return _proved_at(request) < float(locked_at)


def is_fresh(request: HttpRequest) -> bool:
    """Say whether the person proved within five minutes to be there, by the strongest means that is asked of them."""
    if settings.ENVIRONMENT == "sandbox" and not _can_prove(request.user):
        return True  # the first owner of a new desk, who came by the link and has no password yet
    return time.time() - _proved_at(request) < FRESH.total_seconds()


def missing_proof(request: HttpRequest, *, back_to: str) -> HttpResponse | None:
    """Return the way to a fresh proof for a POST that comes without one, else None. Ask after the permission."""
    if request.method != "POST" or is_fresh(request):
        return None
    return ask_for_proof(request, back_to=back_to)


def ask_for_proof(request: HttpRequest, *, back_to: str) -> HttpResponse:
    """Send the person to prove that they are there, and back. What was posted is not kept: it may be a secret."""
    messages.info(request, "Confirm that it is you; then do it once more.")
    return redirect(proof_url(request, back_to=back_to))


def proof_url(request: HttpRequest, *, back_to: str) -> str:
    """Return where this person proves to be there: the second factor where there is one, else the password."""
    if has_second_factor(request.user):
        name = "mfa_reauthenticate"
    elif settings.ENVIRONMENT == "production":
        name = "mfa_index"
    else:
        name = "account_reauthenticate" if request.user.has_usable_password() else "trading:first_password"  # type: ignore[union-attr]
    return f"{reverse(name)}?{urlencode({'next': back_to})}"


def has_second_factor(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Say whether a log-in of this person asks for more than a password."""
    return user.is_authenticated and user.pk in with_second_factor({user.pk})


def lacks_second_factor(user: AbstractBaseUser | AnonymousUser, team: Team) -> bool:
    """Say whether a person has to set up a second factor first: real money can be moved with a key of the team."""
    return bool(lacking_second_factor({(user.pk, team.pk)}))


def lacking_second_factor(members: Collection[tuple[Any, uuid.UUID]]) -> set[tuple[Any, uuid.UUID]]:
    """Return those pairs of person and team of which that is so, by two queries at most."""
    if settings.ENVIRONMENT != "production":
        return set()
    usable = ApiKey.objects.filter(environment="production", state=ApiKey.State.ACTIVE)
    teams = set(usable.filter(account__team__in={team for _, team in members}).values_list("account__team", flat=True))
    asked = {(person, team) for person, team in members if team in teams}
    safe = with_second_factor({person for person, _ in asked}) if asked else set()
    return {(person, team) for person, team in asked if person not in safe}


def with_second_factor(user_ids: Collection[Any]) -> set[Any]:
    """Return which of these people, by their ids, prove a second factor when they log in."""
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
    return set(Authenticator.objects.filter(user__in=user_ids, type__in=kinds).values_list("user", flat=True))


def _can_prove(user: AbstractBaseUser | AnonymousUser) -> bool:
    return user.has_usable_password() or has_second_factor(user)  # type: ignore[union-attr]


def _proved_at(request: HttpRequest) -> float:
    """Return when the person last proved to be there, in seconds since 1970; 0 for never.

    Whoever has a second factor proves it with that, and in production nothing else counts.
    """
    is_strict = settings.ENVIRONMENT == "production" or has_second_factor(request.user)
    records = get_authentication_records(request, request.user)
    counted = [record for record in records if not is_strict or record.get("method") == "mfa"]
    return max((float(record["at"]) for record in counted), default=0.0)


# --- the list of sessions --------------------------------------------------------------------------------------


def of(users: Any) -> list[DeskSession]:
    """Return the sessions of some people that still stand, the last used first."""
    found = list(DeskSession.objects.select_related("user").filter(user__in=users).order_by("-seen_at"))
    keys = {session.session_key for session in found}
    live = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    standing = set(live.values_list("session_key", flat=True))
    return [session for session in found if session.session_key in standing]


def end(actor: AbstractBaseUser, *, session: DeskSession, team: Team) -> None:
    """End a session now; its sockets close within seconds. Who may end whose is asked before this."""
    with transaction.atomic():
        teams.locked(team)
        _forget(DeskSession.objects.filter(pk=session.pk))
        facts = {"user": session.user.get_username(), "address": session.address}
        audit.record("session.ended", actor, team=team, facts=facts)


def end_all(user: AbstractBaseUser, *, but: str | None = None) -> int:
    """End all sessions of a person, in the caller's transaction, and return how many there were."""
    return _forget(DeskSession.objects.filter(user_id=user.pk).exclude(session_key=but or ""))


def _forget(rows: QuerySet[DeskSession]) -> int:
    """Delete sessions by the keys that they have now: rows before Django's sessions, as `_renew_key` takes them."""
    keys = dict(rows.select_for_update().order_by("pk").values_list("pk", "session_key"))
    DeskSession.objects.filter(pk__in=keys).delete()
    Session.objects.filter(session_key__in=keys.values()).delete()
    return len(keys)


def _renew_key(request: HttpRequest) -> bool:
    """Give the session another key, in the list as well; False, and nobody logged in, where it has ended meanwhile.

    Django makes the new session whether or not the old one is still there. Of two requests that do so at once the
    first has the row, and the second is out: else its session would be in no list, and nobody could end it.
    """
    with transaction.atomic():
        row = DeskSession.objects.select_for_update().filter(session_key=request.session.session_key or "").first()
        if row is not None:
            request.session.cycle_key()
            row.session_key = str(request.session.session_key)
            row.save(update_fields=["session_key"])
            return True
    _drop(request)
    return False


def choose_team(request: HttpRequest, team_id: uuid.UUID) -> bool:
    """Act in another of one's teams from now on in this session; False where one is not in it, or the session is over.

    The session gets a new key, so that sockets of pages that show the other team close within seconds; and a new
    CSRF secret, so that a form of such a page is too old to change anything in this team.
    """
    if not Membership.objects.filter(user_id=request.user.pk or 0, team_id=team_id, is_active=True).exists():
        return False
    request.session[TEAM] = str(team_id)
    if not _renew_key(request):
        return False
    rotate_token(request)
    return True


def has_left_team(request: HttpRequest, team: Team) -> bool:
    """Say whether this session acted in another team until now, which the person is no longer in; note the new one."""
    before = request.session.get(TEAM)
    if before != str(team.pk):
        request.session[TEAM] = str(team.pk)
    return before not in (None, str(team.pk))


@receiver(user_logged_in)
def _started(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    if request.session.session_key is None:  # it was somebody else's: Django has emptied it, and not yet named it anew
        request.session.create()
    request.session[BEGAN_AT] = request.session[ACTED_AT] = time.time()
    request.session.pop(ENDS_AT, None)
    now = timezone.now()
    columns = {
        "user": user,
        "address": address_of(request),
        "agent": request.headers.get("User-Agent", "")[:200],
        "started_at": now,
        "seen_at": now,
    }
    with transaction.atomic():
        teams.lock_all_of(user)
        DeskSession.objects.update_or_create(session_key=request.session.session_key, defaults=columns)
        _record("session.started", user, actor=user, facts={"address": columns["address"]})


@receiver(authentication_step_completed)
def _proved(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """Give the session a new key with each proof: whoever has the old one has not proved anything."""
    if kwargs.get("reauthenticated"):
        _renew_key(request)


@receiver(user_login_failed)
def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Write it down for the person who was meant: allauth takes a name in any case."""
    for user in User.objects.filter(username__iexact=str(credentials.get("username") or "")):
        facts = {"user": user.get_username(), "address": address_of(request)}
        _record("session.failed", user, actor=None, facts=facts)


@receiver(authentication_failed)
def _factor_failed(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """Write it down: whoever gives a wrong code knew the password."""
    facts = {"user": user.get_username(), "kind": authenticator.type, "address": address_of(request)}
    _record("session.factor_failed", user, actor=None, facts=facts)


def note_kept_out(request: HttpRequest, user: User) -> None:
    """Write down that nobody may guess for a while, once in that while and for each address: no flood of rows."""
    if is_first_in_a_while("kept-out", request, user):
        facts = {"user": user.get_username(), "address": address_of(request)}
        _record("session.kept_out", user, actor=None, facts=facts)


def is_first_in_a_while(what: str, request: HttpRequest, user: User) -> bool:
    """Say whether nothing of the kind happened within five minutes to a person from an address, and note it.

    Guesses are counted by networks of IPv6 addresses, as one machine has a whole one, and so is this.
    """
    key = f"{what}:{user.pk}:{truncate_ip(address_of(request))}"
    return bool(cache.add(key, True, timeout=GUESSES_WITHIN.total_seconds()))


@receiver(user_logged_out)
def _left(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        _record("session.left", user, actor=user, facts={"address": address_of(request)})


@sensitive_variables("password")
def set_password(user: User, password: str) -> None:
    """Set a person's password, with the entry in the record of each of their teams."""
    with transaction.atomic():
        teams.lock_all_of(user)
        user.set_password(password)
        user.save(update_fields=["password"])
        _record("login.password_set", user, actor=user, facts={"user": user.get_username()})


def record_factors(request: HttpRequest, changes: Collection[tuple[str, str]]) -> None:
    """Write down what became of a person's second factors, each a kind and what was done; in the caller's transaction.

    The person's other sessions end: they were opened with what was there before.
    """
    user = cast(User, request.user)
    ended = end_all(user, but=request.session.session_key) if changes else 0
    for kind, done in changes:
        facts = {"kind": kind, "done": done, "sessions_ended": ended}
        _record("session.second_factor", user, actor=user, facts=facts)
        ended = 0


def forget_second_factor(user: User, *, actor: User | None = None) -> int:
    """Take a person's second factors away, for the operator where no actor is named: who may is asked before this.

    The password is still needed, and all sessions end.
    """
    done = "taken away" if actor else "taken away by the operator"
    with transaction.atomic():
        teams.lock_all_of(user)
        gone: int = Authenticator.objects.filter(user=user).delete()[0]
        facts = {"user": user.get_username(), "done": done, "sessions_ended": end_all(user)}
        _record("session.second_factor", user, actor=actor, facts=facts)
    return gone


def _record(action: str, user: User, *, actor: User | None, facts: dict[str, Any]) -> None:
    teams.record_in_each(action, actor, person=user, facts=facts)


def address_of(request: HttpRequest | None) -> str:
    """Return the address a request came from: as the server saw it, behind a trusted proxy as that one did."""
    try:
        return get_adapter().get_client_ip(request)[:45] if request is not None else ""
    except (PermissionDenied, ImproperlyConfigured):
        return ""
