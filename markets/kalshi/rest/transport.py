"""One request and its answer: signed as it is sent, to where it may go, and bounded in every direction.

Nothing here is repeated. A failure says whether the request can have left: that is what decides between *safe to
repeat* and *outcome unknown*. No redirects, no proxies or passwords from the environment, no cookies, TLS verified.
"""

from __future__ import annotations

import http.cookiejar
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from markets.kalshi.clock import ExchangeClock
from markets.kalshi.errors import RefusedByUs
from markets.kalshi.limits import RETRY_AFTER_MOST_SECONDS
from markets.kalshi.signing import Signer, check_destination

IDLE_MOST_SECONDS = 10.0  # a connection that rested longer may be dead at its other end: an order must not find out
ANSWER_MOST_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
ANSWER_MOST_SECONDS = 60.0

Params = Iterable[tuple[str, str]]


class NeverLeft(Exception):
    """No connection came about: the exchange cannot have heard of the request."""


class Lost(Exception):
    """The request may have arrived; its answer did not, or not whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after_seconds: float | None


class Transport:
    """A session with one exchange. Safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        signer: Signer | None,
        hosts: Collection[str] | None,
        timeout: tuple[float, float],
        now_ms: Callable[[], int],
    ) -> None:
        self.base_url = check_destination(base_url, hosts=hosts, scheme="https")
        self.clock = ExchangeClock(now_ms)
        self._signer = signer
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update({"Accept": "application/json", "Accept-Language": "en"})
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _FreshAdapter())

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def send(self, method: str, path: str, *, params: Params = (), body: dict[str, Any] | None = None) -> Answer:
        """Send once and return the answer, whatever its status. Raises NeverLeft or Lost."""
        prepared = self._prepare(method, path, list(params), body)
        failure: Exception
        try:
            with self._session.send(prepared, timeout=self._timeout, allow_redirects=False, stream=True) as response:
                self.clock.note(response.headers.get("Date", ""))
                return Answer(response.status_code, _read_bounded(response), _retry_after(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            failure = _failure(exc)
        # Raised here, not above: the library's error holds the request with its signature.
        raise failure

    def _prepare(
        self, method: str, path: str, params: list[tuple[str, str]], body: dict[str, Any] | None
    ) -> requests.PreparedRequest:
        headers = {} if body is None else {"Content-Type": "application/json"}
        encoded = None if body is None else msgspec.json.encode(body)
        request = requests.Request(method, self.base_url + path, params=params, data=encoded, headers=headers)
        prepared = self._session.prepare_request(request)
        if self._signer is not None:
            # The prepared path is what goes over the wire; what is signed must be the same to the last escape.
            signed = self._signer.headers(method, urlsplit(prepared.url or "").path, now_ms=self.clock.now_ms())
            prepared.headers.update(signed)
        return prepared


def _read_bounded(response: requests.Response) -> bytes:
    """Read the body; a bomb, an endless answer and a truncated one are no answers."""
    raw: Any = response.raw
    until = time.monotonic() + ANSWER_MOST_SECONDS
    chunks: list[bytes] = []
    size = 0
    while chunk := raw.read1(CHUNK_BYTES, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_MOST_BYTES or time.monotonic() > until:
            raise urllib3.exceptions.HTTPError("an answer without end")
    return b"".join(chunks)


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds the exchange asks us to wait, capped; a date is taken too, nonsense is not."""
    text = response.headers.get("Retry-After")
    if not text:
        return None
    try:
        seconds = float(text) if text.strip().isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(RETRY_AFTER_MOST_SECONDS, max(0.0, seconds))


def _failure(exc: Exception) -> Exception:
    """Say, from what the library reports, whether anything can have left; without its texts."""
    if isinstance(exc, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return RefusedByUs("The request's address is not valid.")
    cause: Any = exc.args[0] if exc.args else exc
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, NewConnectionError | ConnectTimeoutError) or isinstance(exc, requests.ConnectTimeout):
        return NeverLeft("no connection to the exchange")
    if isinstance(reason, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return NeverLeft("the exchange's certificate cannot be verified")
    if isinstance(exc, requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return Lost("no answer in time")
    return Lost("the connection broke before the answer was whole")


class _FreshHTTP(urllib3.HTTPConnectionPool):
    """Opens connections anew that rested too long."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        conn: Any = super()._get_conn(timeout)
        if time.monotonic() - getattr(conn, "rested_since", time.monotonic()) > IDLE_MOST_SECONDS:
            conn.close()
        return conn

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.rested_since = time.monotonic()
        super()._put_conn(conn)


class _FreshHTTPS(_FreshHTTP, urllib3.HTTPSConnectionPool):
    """The same over TLS."""


class _FreshAdapter(HTTPAdapter):
    """Never repeats a request, and keeps no connection that rested too long."""

    def __init__(self) -> None:
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our own pools."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _FreshHTTP, "https": _FreshHTTPS}
