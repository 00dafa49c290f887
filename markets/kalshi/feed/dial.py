"""Opens the socket: signed at each dial, only to where it may go, bounded in what it takes.

websocket-client would follow redirects with our signature, and it takes proxies from the environment whatever it is
told; so it is given an open socket and may follow nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import websocket
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from websocket._abnf import continuous_frame, frame_buffer

from markets.kalshi.clock import ExchangeClock
from markets.kalshi.signing import Signer, check_destination

MESSAGE_MOST_BYTES = 16 * 1024 * 1024  # a book of every price is far below a megabyte
READ_AHEAD_BYTES = 64 * 1024

_PORTS = {"wss": 443, "ws": 80}
Socket = Any  # a websocket.WebSocket; the library is typed by halves


class DialFailed(Exception):
    """There is no connection; `code` is the HTTP status that refused it, if one did."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TooLong(websocket.WebSocketException):
    """A message is longer than any the exchange sends."""


class Dialer:
    """Dials one exchange's WebSocket."""

    def __init__(
        self,
        url: str,
        *,
        signer: Signer,
        hosts: Collection[str] | None,
        now_ms: Callable[[], int],
        timeout: float,
    ) -> None:
        self._url = check_destination(url, hosts=hosts, scheme="wss")
        parts = urlsplit(self._url)
        self._path = parts.path
        self._signer = signer
        self.clock = ExchangeClock(now_ms)
        self._timeout = timeout
        # Reading every authority's certificate takes 30 ms; this machine's own exchange is reached without TLS.
        self._tls = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH) if parts.scheme == "wss" else None

    def dial(self) -> Socket:
        """Return an open socket. Raises DialFailed."""
        sock: Socket = websocket.WebSocket(enable_multithread=True, skip_utf8_validation=True)
        sock.frame_buffer = _BoundedFrames(sock._recv, True)
        sock.cont_frame = _BoundedContinuation(False, True)
        failure: DialFailed
        try:
            sock.connect(
                self._url,
                header=self._headers(),
                timeout=self._timeout,
                redirect_limit=0,
                suppress_origin=True,
                socket=self._reach(),
            )
            self._note_clock(sock.getheaders())
            return sock
        except websocket.WebSocketBadStatusException as exc:
            self._note_clock(exc.resp_headers)
            failure = DialFailed(f"the exchange refused the connection with HTTP {exc.status_code}", exc.status_code)
        except ssl.SSLCertVerificationError:
            failure = DialFailed("the exchange's certificate cannot be verified")
        except Exception as exc:
            failure = DialFailed(f"no connection to the exchange ({type(exc).__name__})")
        # Raised here, not above: the library's errors may hold what was sent.
        sock.shutdown()
        raise failure

    def _reach(self) -> socket.socket:
        """Return a connected socket, over TLS but for this machine's own exchange."""
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        reached = socket.create_connection((host, parts.port or _PORTS[parts.scheme]), timeout=self._timeout)
        try:
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return reached if self._tls is None else self._tls.wrap_socket(reached, server_hostname=host)
        except BaseException:
            reached.close()
            raise

    def _headers(self) -> list[str]:
        signed = self._signer.headers("GET", self._path, now_ms=self.clock.now_ms())
        return [f"{name}: {value}" for name, value in signed.items()]

    def _note_clock(self, headers: dict[str, Any] | None) -> None:
        self.clock.note((headers or {}).get("date", ""))


class _BoundedFrames(frame_buffer):
    """Reads ahead, and looks at a frame's length before it makes room for it.

    The library asks the system three times for each frame; under load one question brings hundreds.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._held = b""
        self._at = 0

    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > MESSAGE_MOST_BYTES:
            raise TooLong("a message longer than any the exchange sends")

    def recv_strict(self, bufsize: int) -> bytes:
        at = self._at
        if len(self._held) - at < bufsize:
            self._fill(bufsize)
            at = 0
        self._at = at + bufsize
        return self._held[at : at + bufsize]

    def _fill(self, size: int) -> None:
        """Hold at least `size` bytes. A time-out loses nothing of what came before it."""
        pieces: list[Any] = [self._held[self._at :]]
        held = len(pieces[0])
        try:
            while held < size:
                pieces.append(self.recv(READ_AHEAD_BYTES))
                held += len(pieces[-1])
        finally:
            self._held, self._at = b"".join(pieces), 0


class _BoundedContinuation(continuous_frame):
    """Bounds a message that comes in pieces."""

    def add(self, frame: Any) -> None:
        super().add(frame)
        if self.cont_data and len(self.cont_data[1]) > MESSAGE_MOST_BYTES:
            raise TooLong("a message longer than any the exchange sends")
