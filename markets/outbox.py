"""What one browser has been sent and has taken: nobody waits for it, and nothing queues for it without bound.

Daphne has no back-pressure, so what a browser can take is known from its own acknowledgements, in bytes. Above the
limit its frames are left out and their markets noted; once it has caught up, it gets whole books and the newest tops
instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from markets.events import join

LIMIT_BYTES = 512 * 1024
HARD_LIMIT_BYTES = 2 * 1024 * 1024
GRACE_MS = 30_000

Key = tuple[str, str]  # (environment, ticker)


class Outbox:
    """One browser's outgoing frames. `send` is driven at once and only becomes a task where it has to wait."""

    def __init__(self, send: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        self._send = send
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self.sent = 0
        self.acked = 0
        self.slow_since: int | None = None
        self.missed: set[Key] = set()
        self.is_closed = False

    @property
    def outstanding(self) -> int:
        """Bytes the browser has not acknowledged, those not yet sent included."""
        return self.sent - self.acked + self._waiting_bytes

    def put(self, key: Key, encoded: str, *, is_whole: bool, now: int) -> bool:
        """Add a market's frame; return False if it is left out because the browser is behind.

        A market of which something was left out gets nothing more until a whole book.
        """
        if self.slow_since is not None or (not is_whole and key in self.missed):
            self.missed.add(key)
            return False
        if self.outstanding + len(encoded) > LIMIT_BYTES:
            self.slow_since = now
            self.missed.add(key)
            return False
        if is_whole:
            self.missed.discard(key)
        self._add(encoded)
        return True

    def put_top(self, encoded: str, *, now: int) -> bool:
        """Add a market's best prices; return False if they are left out because the browser is behind.

        Nothing is noted of them: once it has caught up, the newest of every market are told again.
        """
        if self.slow_since is not None:
            return False
        if self.outstanding + len(encoded) > LIMIT_BYTES:
            self.slow_since = now
            return False
        self._add(encoded)
        return True

    def put_word(self, encoded: str) -> None:
        """Add a frame that is small and rare (beats, refusals): it goes out even to a slow browser.

        The one that crosses the hard limit is the last: such a browser is hopeless.
        """
        if self.outstanding <= HARD_LIMIT_BYTES:
            self._add(encoded)

    def ack(self, total: int) -> bool:
        """Note how many bytes have arrived; return True when a slow browser has caught up.

        More than was sent cannot have arrived, and counts for nothing: otherwise nothing would bound what is sent.
        """
        if total > self.sent:
            return False
        self.acked = max(self.acked, total)
        if self.slow_since is None or self.outstanding > LIMIT_BYTES // 2:
            return False
        self.slow_since = None
        return True

    def is_hopeless(self, now: int) -> bool:
        """Say whether to give the browser up: too much outstanding, or behind for too long."""
        if self.outstanding > HARD_LIMIT_BYTES:
            return True
        return self.slow_since is not None and now - self.slow_since > GRACE_MS

    def flush(self) -> None:
        """Send what is waiting as one text message, unless an earlier one is still on its way."""
        if not self._waiting or self._sending is not None or self.is_closed:
            return
        text = join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        self.sent += len(text)
        self._sending = drive(self._send(text))
        if self._sending is not None:
            self._sending.add_done_callback(self._sent)

    def close(self) -> None:
        """Send nothing more."""
        self.is_closed = True
        self._waiting, self._waiting_bytes = [], 0
        if self._sending is not None:
            self._sending.cancel()

    def _add(self, encoded: str) -> None:
        self._waiting.append(encoded)
        self._waiting_bytes += len(encoded)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        if task.cancelled() or task.exception() is not None:
            self.is_closed = True
            return
        self.flush()


class _Rest:
    """A coroutine that has already run up to its first wait, as something to await."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        waiting_for = self._first
        while True:
            try:
                answer = yield waiting_for
            except BaseException as exc:
                step = partial(self._coroutine.throw, exc)
            else:
                step = partial(self._coroutine.send, answer)
            try:
                waiting_for = step()
            except StopIteration:
                return


async def _finish(rest: _Rest) -> None:
    await rest


def drive(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run a send up to its first wait, now; return a task for the rest where there is one.

    Under Daphne a send never waits: a task for each would cost more than the send itself. An error of the send means
    that the connection is gone; its consumer hears of that by itself.
    """
    try:
        waiting_for = coroutine.send(None)
    except StopIteration:
        return None
    except Exception:
        return None
    return asyncio.create_task(_finish(_Rest(coroutine, waiting_for)))
