"""A real embedded Valkey that a test may stop and start again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from kalshiweb import data_dir, valkey


class RunningValkey:
    """A server on a private socket, which a test may stop and start again."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        """Start it, empty, and return when it answers."""
        self.process = subprocess.Popen(valkey.command(self.socket), stdout=subprocess.DEVNULL)
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.01), 300)
        errors = [redis.ConnectionError, FileNotFoundError]
        with redis.Redis(unix_socket_path=str(self.socket), retry=retry, retry_on_error=errors) as client:
            client.ping()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def flush(self) -> None:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()


@contextmanager
def valkey_in(folder: Path) -> Iterator[RunningValkey]:
    server = RunningValkey(data_dir.runtime_dir(folder) / "valkey.sock")
    server.start()
    try:
        yield server
    finally:
        server.kill()
