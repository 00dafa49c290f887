"""The life of a key: added or generated, tried, sealed, lent, paused, replaced, removed.

What talks to the exchange stands outside the transaction; row and audit row are written together. Nothing that goes
wrong repeats what was given: a refusal is one sentence with the next step.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from markets.kalshi.errors import BadKey, KalshiError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from markets.kalshi.messages import GeneratedKey
from markets.kalshi.signing import load_checked_pem, load_private_key, pem_of
from trading import audit, clients, permissions, teams
from trading.clients import CannotUse, Probe, ProbeFailed
from trading.models import Account, ApiKey
from trading.permissions import Permission
from trading.vault import Binding, CannotOpen, seal

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

NAME_LENGTH = 80
TRADING_SCOPES = ("read", "write::trade")  # may trade, may not move money
FIRST_SCOPES = ("read", "write")  # may make and delete keys as well: all later ones are made with it
_State = ApiKey.State


class KeyRefused(Exception):
    """Something about a key was refused; the text is one sentence for a person and repeats nothing of the input."""


@sensitive_variables()
def add(actor: AbstractBaseUser, *, account: Account, name: str, key_id: str, pem: str | bytes) -> ApiKey:
    """Try a key at the exchange and seal it. Raises KeyRefused, with nothing stored, where it does not work there."""
    permissions.require(actor, account.team, Permission.ADD_KEY)
    name, key_id = check_name(name), check_key_id(key_id)
    _check_new(account, key_id)
    _check_vault()
    try:
        found = clients.probe(account.environment, key_id, pem)
    except ProbeFailed as exc:
        raise KeyRefused(str(exc)) from None
    return _store(actor, account=account, name=name, found=found, pem=pem, is_tried=True)


@sensitive_variables()
def generate(
    actor: AbstractBaseUser,
    *,
    account: Account,
    name: str,
    signed_by: ApiKey,
    scopes: Sequence[str] = TRADING_SCOPES,
) -> ApiKey:
    """Have the exchange make a key, asked with one that is stored, seal it in the same call, and try it.

    Raises KeyRefused. The key that is returned is usable only if the exchange has accepted it: look at its state.
    """
    permissions.require(actor, account.team, Permission.ADD_KEY)
    name = check_name(name)
    if signed_by.account_id != account.pk:
        raise KeyRefused("A key can only be made with another key of the same account.")
    _check_vault()
    with _saying("No key was made"), clients.rest_client(signed_by, purpose="keys") as client:
        made = client.generate_api_key(name=name, key_type="ed25519", scopes=scopes)
    return check(_keep_generated(actor, account=account, name=name, made=made, scopes=scopes))


@sensitive_variables()
def exchange_first(actor: AbstractBaseUser, *, account: Account, name: str, key_id: str, pem: str | bytes) -> ApiKey:
    """Have the exchange make a key, asked with one that is never stored; delete that one when the new one works.

    Safe to repeat after a crash at any point: the first key lives until the new one is sealed and has been tried, and
    what an earlier attempt left behind at the exchange is removed. Raises KeyRefused.
    """
    permissions.require(actor, account.team, Permission.ADD_KEY)
    _check_vault()
    with (
        _saying("The desk's first key was not made"),
        clients.unstored_client(account.environment, key_id, pem) as client,
    ):
        _remove_leftovers(client, account, name)
        made = client.generate_api_key(name=name, key_type="ed25519", scopes=FIRST_SCOPES)
        key = _keep_generated(actor, account=account, name=name, made=made, scopes=FIRST_SCOPES)
        if not check(key).is_usable:
            raise KeyRefused(_why_not_used(key, "the first key stays: start again"))
        _delete_there(client, key_id)
    return key


@sensitive_variables()
def delete_first(account: Account, *, key_id: str, pem: str | bytes) -> None:
    """Delete a first key that outlived a crash; it is no error if it has gone. Raises KeyRefused."""
    with _saying("The first key was not deleted"), clients.unstored_client(account.environment, key_id, pem) as client:
        _delete_there(client, key_id)


def rotate(actor: AbstractBaseUser, *, key: ApiKey) -> ApiKey:
    """Replace a key by a generated one with the same scopes and duties, then delete it at the exchange.

    Both stand until the exchange has accepted the new one, so orders under way are not touched. Raises KeyRefused.
    """
    scopes = tuple(key.scopes) or TRADING_SCOPES
    new = generate(actor, account=key.account, name=key.name, signed_by=key, scopes=scopes)
    if not new.is_usable:
        raise KeyRefused(_why_not_used(new, "the old one stays in use"))
    if key.is_feed:
        _lend(actor, new)  # the owner's loan goes on, whoever replaces the key
    remove(actor, key=key, is_deleted_there=True)
    return new


def remove(actor: AbstractBaseUser, *, key: ApiKey, is_deleted_there: bool = False) -> None:
    """Destroy the sealed key, and with `is_deleted_there` delete it at the exchange before. Raises KeyRefused."""
    permissions.require(actor, key.account.team, Permission.REMOVE_KEY)
    if is_deleted_there:
        with _saying("The key was not removed"), clients.rest_client(key, purpose="keys") as client:
            _delete_there(client, key.key_id)
    gone = {"version": 0, "kid": "", "wrapped_key": b"", "ciphertext": b"", "is_feed": False}
    _change(
        actor,
        key,
        "key.removed",
        allowed=set(_State) - {_State.REMOVED},
        facts={"deleted_at_exchange": is_deleted_there},
        state=_State.REMOVED,
        removed_at=timezone.now(),
        **gone,
    )


def pause(actor: AbstractBaseUser, *, key: ApiKey) -> None:
    """Sign nothing more with a key until it is resumed. Raises KeyRefused where it is not in use."""
    permissions.require(actor, key.account.team, Permission.REMOVE_KEY)
    reason = f"paused by {actor.get_username()}"[:200]
    _change(actor, key, "key.paused", allowed={_State.ACTIVE}, state=_State.PAUSED, reason=reason)


def resume(actor: AbstractBaseUser, *, key: ApiKey) -> None:
    """Try a paused or refused key at the exchange and use it again. Raises KeyRefused."""
    permissions.require(actor, key.account.team, Permission.ADD_KEY)
    try:
        found = clients.probe_stored(key)
    except (ProbeFailed, CannotUse) as exc:
        raise KeyRefused(str(exc)) from None
    allowed = {_State.PAUSED, _State.REFUSED, _State.UNCHECKED}
    _change(actor, key, "key.resumed", allowed=allowed, state=_State.ACTIVE, **_found(found))


def check(key: ApiKey) -> ApiKey:
    """Try a stored key at the exchange and write down what came out; the key stays as it is without a verdict.

    For the schedule and after a generation: a key that the exchange refuses is used no more, and the desk says so; one
    that was not tried before comes into use. A trial that finds nothing new leaves its time and no entry.
    """
    try:
        found = clients.probe_stored(key)
    except CannotUse as exc:
        return _refuse(key, str(exc))
    except ProbeFailed as exc:
        return _refuse(key, str(exc)) if exc.is_final else key
    return _accept(key, found)


def lend_feed(actor: AbstractBaseUser, *, key: ApiKey) -> None:
    """Read the desk's books with this key, instead of the one that did so far. Raises KeyRefused.

    A key that may only read is the better loan; a working key of another team is not displaced.
    """
    permissions.require(actor, key.account.team, Permission.LEND_FEED)
    _lend(actor, key)


def _lend(actor: AbstractBaseUser, key: ApiKey) -> None:
    try:
        _lend_now(actor, key)
    except IntegrityError:  # two at once: the table holds one feed key per exchange
        raise KeyRefused("Another key was lent at the same moment: look at the page again.") from None


def _lend_now(actor: AbstractBaseUser, key: ApiKey) -> None:
    others = ApiKey.objects.select_related("account__team").filter(environment=key.environment, is_feed=True)
    with transaction.atomic():
        lent_by = others.values_list("account__team_id", flat=True)
        teams.lock_all([key.account.team_id, *lent_by])  # another team's may be displaced: both at once, in one order
        for lent in others.exclude(pk=key.pk):
            if lent.account.team_id != key.account.team_id and lent.is_usable:
                raise KeyRefused("Another team's key reads the books already.")
            _set_feed(actor, lent, is_feed=False)
        _set_feed(actor, key, is_feed=True)


def take_back(actor: AbstractBaseUser, *, key: ApiKey) -> None:
    """Read the desk's books with this key no longer. Raises KeyRefused where it does not."""
    permissions.require(actor, key.account.team, Permission.LEND_FEED)
    with transaction.atomic():
        teams.locked(key.account.team)
        if not ApiKey.objects.filter(pk=key.pk, is_feed=True).exists():
            raise KeyRefused("This key does not read the books: look at the page again.")
        _set_feed(actor, key, is_feed=False)


def check_name(name: str) -> str:
    """Return a name as it is stored. Raises KeyRefused."""
    name = " ".join(name.split())
    if not name or len(name) > NAME_LENGTH or not name.isprintable() or "PRIVATE KEY" in name:
        raise KeyRefused(f"Give the key a name of 1 to {NAME_LENGTH} characters, such as its purpose.")
    return name


def check_key_id(key_id: str) -> str:
    """Return a key id as the exchange writes it. Raises KeyRefused, which does not repeat it: it may be the key."""
    try:
        return str(uuid.UUID(key_id.strip()))
    except ValueError:
        raise KeyRefused("The key id is the line of 36 letters, digits and dashes that the exchange shows.") from None


# --- storing -----------------------------------------------------------------------------------------


@sensitive_variables()
def _keep_generated(
    actor: AbstractBaseUser, *, account: Account, name: str, made: GeneratedKey, scopes: Sequence[str]
) -> ApiKey:
    """Seal what the exchange has just made, before anything else is done with it; nobody has tried it yet."""
    try:
        load_private_key(made.private_key)
    except BadKey:
        raise KeyRefused("The exchange made a key that cannot be read: delete it at the exchange.") from None
    found = clients.describe(account.environment, made.api_key_id, made.private_key, scopes=tuple(scopes))
    return _store(actor, account=account, name=name, found=found, pem=made.private_key, is_tried=False)


@sensitive_variables()
def _store(
    actor: AbstractBaseUser, *, account: Account, name: str, found: Probe, pem: str | bytes, is_tried: bool
) -> ApiKey:
    key = ApiKey(
        account=account,
        environment=account.environment,
        key_id=found.key_id,
        key_type=found.key_type,
        name=name,
        fingerprint=found.fingerprint,
        state=_State.ACTIVE if is_tried else _State.UNCHECKED,
        scopes=list(found.scopes or ()),
        probed_at=timezone.now() if is_tried else None,
        added_by_id=actor.pk,
    )
    sealed = seal(pem_of(load_checked_pem(pem)), clients.binding(key))
    key.version, key.kid = sealed.version, sealed.kid
    key.wrapped_key, key.ciphertext = sealed.wrapped_key, sealed.ciphertext
    try:
        with transaction.atomic():
            teams.locked(account.team)
            key.save(force_insert=True)
            facts = {"scopes": key.scopes, "fingerprint": key.fingerprint}
            _record(actor, key, "key.added" if is_tried else "key.generated", facts)
    except IntegrityError:
        raise KeyRefused("This key is stored already.") from None
    if found.limits is not None:
        clients.account_budget(key).store_limits(found.limits)
    return key


def _found(found: Probe) -> dict[str, Any]:
    """Return the columns that a trial fills; scopes that the exchange does not tell stay as they are known."""
    columns: dict[str, Any] = {"probed_at": timezone.now(), "reason": ""}
    return columns if found.scopes is None else columns | {"scopes": list(found.scopes)}


def _check_new(account: Account, key_id: str) -> None:
    stored = ApiKey.objects.filter(environment=account.environment, key_id=key_id).exclude(state=_State.REMOVED)
    if stored.exists():
        raise KeyRefused("This key is stored already.")


def _check_vault() -> None:
    """Find out that nothing can be sealed before the exchange is asked for anything."""
    try:
        seal(b"", Binding("trial", team="", row="", key_id=""))
    except CannotOpen as exc:
        raise KeyRefused(f"The desk cannot keep keys now. {exc}") from None


# --- changing ----------------------------------------------------------------------------------------


def _change(
    actor: AbstractBaseUser | None,
    key: ApiKey,
    action: str,
    *,
    allowed: set[ApiKey.State],
    facts: dict[str, Any] | None = None,
    **columns: Any,
) -> None:
    """Change a key that is in one of the allowed states now, with its audit row, or raise KeyRefused."""
    with transaction.atomic():
        teams.locked(key.account.team)
        if not ApiKey.objects.filter(pk=key.pk, state__in=allowed).update(**columns):
            raise KeyRefused("The key was changed by somebody else meanwhile: look at the page again.")
        _record(actor, key, action, facts)
    key.refresh_from_db()


def _accept(key: ApiKey, found: Probe) -> ApiKey:
    """Note that the exchange accepts a key; a state or scopes that were others before are a change, with its entry."""
    columns = _found(found)
    with transaction.atomic():
        teams.locked(key.account.team)
        standing = ApiKey.objects.filter(pk=key.pk, state__in=[_State.ACTIVE, _State.UNCHECKED])
        before = standing.values("state", "scopes").first()
        if before is not None:
            now = {"state": _State.ACTIVE.value, "scopes": columns.get("scopes", before["scopes"])}
            standing.update(**columns, state=_State.ACTIVE)
            if before != now:
                _record(None, key, "key.probed", {"from": before, "to": now})
    key.refresh_from_db()
    return key


def _why_not_used(key: ApiKey, what_stays: str) -> str:
    said = "gave no answer about" if key.state == _State.UNCHECKED else "does not accept"
    return f"The exchange {said} the key that it made: {what_stays}."


def _refuse(key: ApiKey, reason: str) -> ApiKey:
    try:
        allowed = {_State.ACTIVE, _State.UNCHECKED}
        _change(None, key, "key.refused", allowed=allowed, state=_State.REFUSED, reason=reason[:200])
    except KeyRefused:
        key.refresh_from_db()
    return key


def _set_feed(actor: AbstractBaseUser, key: ApiKey, *, is_feed: bool) -> None:
    allowed = {_State.ACTIVE} if is_feed else set(_State)
    _change(actor, key, "key.lent" if is_feed else "key.taken_back", allowed=allowed, is_feed=is_feed)


def _record(actor: AbstractBaseUser | None, key: ApiKey, action: str, facts: dict[str, Any] | None) -> None:
    facts = {"name": key.name, "key_id": key.key_id, **(facts or {})}
    audit.record(action, actor, team=key.account.team, subject=key, environment=key.environment, facts=facts)


# --- at the exchange ---------------------------------------------------------------------------------


def _delete_there(client: Any, key_id: str) -> None:
    """Delete a key at the exchange; one that it no longer knows is deleted."""
    try:
        client.delete_api_key(key_id)
    except Rejected as exc:
        if exc.status != 404 and exc.details != "NOT_FOUND":
            raise


def _remove_leftovers(client: Any, account: Account, name: str) -> None:
    """Delete keys that an earlier attempt had made and did not live to seal."""
    stored = ApiKey.objects.filter(environment=account.environment).exclude(state=_State.REMOVED)
    known = set(stored.values_list("key_id", flat=True))
    for found in client.api_keys():
        if found.name == name and found.api_key_id not in known:
            _delete_there(client, found.api_key_id)


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn the exchange's errors into one sentence that begins with what did not happen."""
    try:
        yield
    except BadKey as exc:
        raise KeyRefused(str(exc)) from None
    except CannotUse as exc:
        raise KeyRefused(f"{what}. {exc}") from None
    except Rejected as exc:
        raise KeyRefused(f"{what}: the exchange does not allow it to this key (HTTP {exc.status}).") from None
    except RateLimited:
        raise KeyRefused(f"{what}: too many requests at once. Try again in a few seconds.") from None
    except OutcomeUnknown:
        raise KeyRefused(f"No answer came: look at the exchange's list of keys. {what} here.") from None
    except Unavailable:
        raise KeyRefused(f"{what}: the exchange could not be reached. Try again.") from None
    except KalshiError:
        raise KeyRefused(f"{what}: the exchange gave an answer that is not understood.") from None
