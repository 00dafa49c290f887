"""A stored key becomes a client of the exchange here, and nowhere else.

Each client is made for one purpose, and its signer refuses whatever that purpose does not name. The key is opened for
each signature and let go again: no client holds one. What stays between requests is the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from markets.kalshi.errors import BadKey, KalshiError, RateLimited, RefusedByUs, Rejected, Unavailable
from markets.kalshi.feed import FeedClient
from markets.kalshi.feed.client import MARKET_CHANNELS
from markets.kalshi.limits import Budget, LocalBudget
from markets.kalshi.messages import AccountLimits, Channel
from markets.kalshi.rest import RestClient
from markets.kalshi.signing import Signer, fingerprint, key_type, load_checked_pem, load_private_key
from trading.budgets import AccountBudget
from trading.models import ApiKey
from trading.vault import Binding, CannotOpen, Sealed, open_sealed

Purpose = Literal["feed", "read", "trade", "keys", "transfer"]

SEAL_PURPOSE = "api key"
WRONG_KEY = frozenset({"NOT_FOUND", "INCORRECT_API_KEY_SIGNATURE"})
MOST_CLIENTS = 128  # kept with their connections, one for each key and purpose
USE_NOTED_SECONDS = 60

_READ = ("GET /portfolio", "GET /account", "GET /exchange", "GET /markets", "GET /events", "GET /series")
_ALLOWED: Mapping[Purpose, tuple[str, ...]] = MappingProxyType(
    {
        "feed": (),  # the handshake of the socket alone
        "read": _READ,
        "trade": (*_READ, "POST /portfolio/events/orders", "DELETE /portfolio/events/orders"),
        "keys": (
            *("GET /api_keys", "POST /api_keys", "DELETE /api_keys"),
            *("GET /portfolio/balance", "GET /account/limits"),
        ),
        "transfer": (
            *("GET /portfolio/balance", "GET /portfolio/subaccounts", "POST /portfolio/subaccounts/transfer"),
            "POST /portfolio/intra_exchange_instance_transfer",
        ),
    }
)


class CannotUse(RefusedByUs):
    """A stored key cannot be used; the text is one sentence for a person and says nothing of the key."""


class ProbeFailed(Exception):
    """A key did not pass its trial; the text is one sentence with the next step and repeats nothing of the input.

    `is_final` tells a key that does not work from an exchange that did not answer.
    """

    def __init__(self, sentence: str, *, is_final: bool = True) -> None:
        super().__init__(sentence)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Probe:
    """What a trial of a key found. `scopes` and `limits` are None where the exchange does not tell this key."""

    environment: str
    key_id: str
    key_type: str
    fingerprint: str
    scopes: tuple[str, ...] | None
    limits: AccountLimits | None


class PurposeSigner(Signer):
    """Signs the requests of one purpose; holds no key but opens it for each. Safe to use from several threads."""

    __slots__ = ("_environment", "_open", "_purpose")

    def __init__(self, purpose: Purpose, *, environment: str, key_id: str, opener: Callable[[], Signer]) -> None:
        self.key_id = key_id
        self._purpose = purpose
        self._environment = environment
        self._open = opener

    def __repr__(self) -> str:
        return f"PurposeSigner({self._purpose})"

    def headers(self, method: str, path: str, *, now_ms: int | None = None) -> dict[str, str]:
        """Return the three headers of a request. Raises CannotUse, or RefusedByUs outside the purpose."""
        if not is_allowed(self._purpose, method, path, environment=self._environment):
            raise RefusedByUs(f"A request outside its purpose ({self._purpose}) was not signed.")
        return self._open().headers(method, path, now_ms=now_ms)


def is_allowed(purpose: Purpose, method: str, path: str, *, environment: str) -> bool:
    """Say whether a purpose names this request; `path` begins at the host's root."""
    exchange = settings.EXCHANGES[environment]
    path = path.partition("?")[0]
    if method.upper() == "GET" and path == urlsplit(exchange.ws_url).path:
        return purpose == "feed"
    base = urlsplit(exchange.rest_url).path
    if not path.startswith(base + "/") or {"..", "."} & set(path.split("/")):
        return False
    asked = f"{method.upper()} {path.removeprefix(base)}"
    return any(asked == rule or asked.startswith(rule + "/") for rule in _ALLOWED[purpose])


def rest_client(key: ApiKey, *, purpose: Purpose) -> RestClient:
    """Return a client that signs with a stored key, for `with`: on leaving, its warm connection waits for the next.

    Raises CannotUse where the key is not to be used; each request raises it as soon as that changes.
    """
    _check_usable(key)
    _note_use(key)
    return _shared_client(settings.EXCHANGES[key.environment].rest_url, key.pk, purpose)


def feed_client(
    key: ApiKey, *, on_event: Callable[[Any], None], channels: Sequence[Channel] = MARKET_CHANNELS
) -> FeedClient:
    """Return an unstarted client of the exchange's socket on a stored key. Raises CannotUse, a damaged key included."""
    _check_usable(key)
    _open_stored(key.pk)
    exchange = settings.EXCHANGES[key.environment]
    opener = partial(_open_in_thread, key.pk)
    signer = PurposeSigner("feed", environment=key.environment, key_id=key.key_id, opener=opener)
    return FeedClient(exchange.ws_url, signer=signer, on_event=on_event, channels=tuple(channels), hosts=exchange.hosts)


def public_client(environment: str) -> RestClient:
    """Return a client without a key, for what the exchange shows to everybody; within the public budget."""
    exchange = settings.EXCHANGES[environment]
    return RestClient(exchange.rest_url, budget=_public_budget(environment), hosts=exchange.hosts)


def account_budget(key: ApiKey) -> AccountBudget:
    """Return the budget of the key's account, one for all its keys and all processes."""
    return _budget(key.environment, key.account_id)


@sensitive_variables()
def probe(environment: str, key_id: str, pem: str | bytes) -> Probe:
    """Try a key that is not stored: check it fully, read with it once, and find out what it may do.

    Blocks for two requests. Raises ProbeFailed.
    """
    try:
        load_private_key(pem)
        found = describe(environment, key_id, pem)
        client = unstored_client(environment, key_id, pem)
    except BadKey as exc:
        raise ProbeFailed(str(exc)) from None
    return _try(client, found)


def probe_stored(key: ApiKey) -> Probe:
    """Try a stored key, whatever its state; blocks as `probe` does. Raises ProbeFailed, or CannotUse if damaged."""
    found = Probe(key.environment, key.key_id, key.key_type, key.fingerprint, None, None)
    return _try(_client(key.environment, key.key_id, "keys", opener=partial(_open_row, key)), found)


@sensitive_variables()
def describe(environment: str, key_id: str, pem: str | bytes, *, scopes: tuple[str, ...] | None = None) -> Probe:
    """Return what can be said of a checked key without asking the exchange. Raises BadKey."""
    key = load_checked_pem(pem)
    return Probe(environment, key_id, key_type(key), fingerprint(key), scopes, None)


@sensitive_variables()
def unstored_client(environment: str, key_id: str, pem: str | bytes) -> RestClient:
    """Return a client on a key that is not stored: for its trial, and to exchange a first key. Raises BadKey."""
    signer = Signer(key_id, load_private_key(pem))
    return _client(environment, key_id, "keys", opener=lambda: signer)


def binding(key: ApiKey) -> Binding:
    """Return what a row's sealed key is bound to."""
    return Binding(SEAL_PURPOSE, team=str(key.account.team_id), row=str(key.pk), key_id=key.key_id)


# --- opening -----------------------------------------------------------------------------------------


def _open_stored(pk: UUID) -> Signer:
    """Open a key as its row stands now, so that a key that was paused or removed signs nothing more."""
    try:
        key = ApiKey.objects.select_related("account").filter(pk=pk).first()
    except DatabaseError:
        raise CannotUse("The key could not be read from the database: try again.") from None
    if key is None:
        raise CannotUse("The key no longer exists.")
    _check_usable(key)
    return _open_row(key)


@sensitive_variables()
def _open_row(key: ApiKey) -> Signer:
    sealed = Sealed(key.version, key.kid, bytes(key.wrapped_key), bytes(key.ciphertext))
    try:
        return Signer(key.key_id, load_checked_pem(open_sealed(sealed, binding(key))))
    except (CannotOpen, BadKey) as exc:
        raise CannotUse(str(exc)) from None


def _open_in_thread(pk: UUID) -> Signer:
    """Open from a thread that lives for days: its connection to the database may be gone, and is not kept."""
    close_old_connections()
    try:
        return _open_stored(pk)
    finally:
        close_old_connections()


def _check_usable(key: ApiKey) -> None:
    if not key.is_usable:
        raise CannotUse(f"The key {key.name} cannot be used: {key.reason or key.get_state_display().lower()}.")


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or (now - key.last_used_at).total_seconds() > USE_NOTED_SECONDS:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        key.last_used_at = now


# --- the trial ---------------------------------------------------------------------------------------


def _try(client: RestClient, known: Probe) -> Probe:
    with client:
        limits = _try_read(client, known.environment)
        return replace(known, scopes=_scopes(client, known.key_id), limits=limits)


def _try_read(client: RestClient, environment: str) -> AccountLimits | None:
    """Read what every key may read and we need anyway; the balance has a bucket of one call a second."""
    try:
        return client.account_limits()
    except Rejected as exc:
        if exc.status == 403:  # the signature was accepted, the key only may not see this
            return None
        raise ProbeFailed(_why_rejected(exc, environment), is_final=exc.details in WRONG_KEY) from None
    except RateLimited:
        raise ProbeFailed("Too many requests at once: try again in a few seconds.", is_final=False) from None
    except Unavailable:
        raise ProbeFailed("The exchange could not be reached: try again.", is_final=False) from None
    except CannotUse:
        raise
    except KalshiError:
        raise ProbeFailed("The exchange gave an answer that is not understood.", is_final=False) from None


def _why_rejected(exc: Rejected, environment: str) -> str:
    if exc.details == "NOT_FOUND":
        return (
            f"The exchange ({environment}) does not know this key id: check that it is complete, that the key was not "
            f"deleted, and that it was made for {environment}."
        )
    if exc.details == "INCORRECT_API_KEY_SIGNATURE":
        return "The private key does not belong to this key id: choose the file that was saved with it."
    if exc.is_code("header_timestamp_expired"):
        return "This computer's clock differs from the exchange's: correct it and try again."
    if exc.is_code("signature_is_missing"):
        return "The request reached the exchange without its signature: something between removes headers."
    return f"The exchange refused to read with this key (HTTP {exc.status}): check the key at the exchange."


def _scopes(client: RestClient, key_id: str) -> tuple[str, ...] | None:
    try:
        return next((tuple(found.scopes) for found in client.api_keys() if found.api_key_id == key_id), None)
    except KalshiError:
        return None


# --- budgets and connections -------------------------------------------------------------------------


class _SharedClient(RestClient):
    """A client that stays open for the next request, and with it its connections of a few seconds' age."""

    def close(self) -> None:
        """Stay open."""


@lru_cache(maxsize=MOST_CLIENTS)
def _shared_client(rest_url: str, pk: UUID, purpose: Purpose) -> RestClient:
    key = ApiKey.objects.get(pk=pk)
    opener = partial(_open_stored, pk)
    return _client(key.environment, key.key_id, purpose, opener=opener, kind=_SharedClient, budget=account_budget(key))


def _client(
    environment: str,
    key_id: str,
    purpose: Purpose,
    *,
    opener: Callable[[], Signer],
    kind: type[RestClient] = RestClient,
    budget: Budget | None = None,
) -> RestClient:
    exchange = settings.EXCHANGES[environment]
    signer = PurposeSigner(purpose, environment=environment, key_id=key_id, opener=opener)
    return kind(exchange.rest_url, signer=signer, budget=budget, hosts=exchange.hosts)


@lru_cache(maxsize=MOST_CLIENTS)
def _budget(environment: str, account: int) -> AccountBudget:
    return AccountBudget(f"{environment}:{account}", learn=partial(_learn_limits, account))


@cache
def _public_budget(environment: str) -> LocalBudget:
    return LocalBudget()


def _learn_limits(account: int) -> AccountLimits:
    key = ApiKey.objects.filter(account=account, state=ApiKey.State.ACTIVE).order_by("added_at")[0]
    with _client(key.environment, key.key_id, "read", opener=partial(_open_stored, key.pk)) as client:
        return client.account_limits()
